"""What was retrieved for a prompt, as attributes of the call's span."""

import json
from typing import Any, Final

from ..catalogue import rag_names
from ..catalogue.fitting import fitting
from ..emission.budget import attribute_bytes
from .rag import RAGContext

RETRIEVED_BYTES: Final = 2048
"""Most bytes of each attribute about retrieved documents: a list of a thousand leaves no room for the verdict."""


def rag_attributes(rag: RAGContext, *, content: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what was retrieved, on the call's span, and what of it is left out with the reason."""
    counts = fitting(
        {
            rag_names.CONTEXT_TOKEN_COUNT: rag.context_token_count,
            rag_names.DOCUMENT_COUNT: rag.document_count,
        }
    )
    if not content:
        return counts, {}
    said: dict[str, Any] = {
        rag_names.DOC_IDS: list(rag.retrieved_doc_ids),
        rag_names.DOC_TITLES: list(rag.retrieved_doc_titles),
        rag_names.METADATA: json.dumps(dict(rag.metadata), ensure_ascii=False) if rag.metadata else None,
    }
    said = {name: value for name, value in said.items() if value}
    cut = [name for name, value in said.items() if attribute_bytes(name, value) > RETRIEVED_BYTES]
    kept = {name: value for name, value in said.items() if name not in cut}
    return counts | kept, dict.fromkeys(cut, f"cut: larger than {RETRIEVED_BYTES} bytes")
