"""Names of what the caller told of the documents in a prompt, on the span of its call."""

from typing import Final

from .definitions import attribute

CONTEXT_TOKEN_COUNT: Final = attribute(
    "corevital.rag.context_token_count",
    "int",
    "{token}",
    "tokens of the prompt that were retrieved, as the caller told it",
)
DOCUMENT_COUNT: Final = attribute(
    "corevital.rag.document_count", "int", "{document}", "documents that were retrieved, as the caller told it"
)
DOC_IDS: Final = attribute(
    "corevital.rag.retrieved_doc_ids", "string[]", "", "their ids; only with content on", content=True
)
DOC_TITLES: Final = attribute(
    "corevital.rag.retrieved_doc_titles", "string[]", "", "their titles; only with content on", content=True
)
METADATA: Final = attribute(
    "corevital.rag.metadata", "string", "", "what else the caller told, as JSON; only with content on", content=True
)
