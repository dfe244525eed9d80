"""What was retrieved for a prompt, as attributes of the call's span."""

import json
from typing import Any, Final

from .. import semconv
from ..catalogue.fitting import fitting
from ..emission.budget import attribute_bytes
from .rag import RAGContext

RETRIEVED_BYTES: Final = 2048
"""Most bytes of each attribute about retrieved documents: a list of a thousand leaves no room for the verdict."""


def rag_attributes(rag: RAGContext, *, content: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what was retrieved, on the call's span, and what of it is left out with the reason."""
    counts = fitting(
        {
            semconv.RAG_CONTEXT_TOKEN_COUNT: rag.context_token_count,
            semconv.RAG_DOCUMENT_COUNT: rag.document_count,
        }
    )
    if not content:
        return counts, {}
    said: dict[str, Any] = {
        semconv.RAG_DOC_IDS: list(rag.retrieved_doc_ids),
        semconv.RAG_DOC_TITLES: list(rag.retrieved_doc_titles),
        semconv.RAG_METADATA: json.dumps(dict(rag.metadata), ensure_ascii=False) if rag.metadata else None,
    }
    said = {name: value for name, value in said.items() if value}
    cut = [name for name, value in said.items() if attribute_bytes(name, value) > RETRIEVED_BYTES]
    kept = {name: value for name, value in said.items() if name not in cut}
    return counts | kept, dict.fromkeys(cut, f"cut: larger than {RETRIEVED_BYTES} bytes")
