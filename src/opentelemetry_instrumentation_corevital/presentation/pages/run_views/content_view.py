"""What a run was asked and answered, for its page, where content was stored; and what was retrieved for it."""

import json
from typing import Any, Final

from .... import semconv
from ....catalogue import rag_names
from ...shapes import RunShape

_MOST_MESSAGES: Final = 200


def content_view(run: RunShape) -> dict[str, Any]:
    """Return the messages of prompt and answer, each None where it is not stored, and what was retrieved."""
    get = run.attributes.get
    return {
        "prompt": messages_of(get(semconv.GEN_AI_INPUT_MESSAGES)),
        "answer": messages_of(get(semconv.GEN_AI_OUTPUT_MESSAGES)),
        "retrieved": _retrieved(run),
    }


def messages_of(attribute: Any) -> list[dict[str, str]] | None:
    """Return role and text of each message; None where there are none, or they were cut off."""
    try:
        found = json.loads(attribute)[:_MOST_MESSAGES]
        return [{"role": str(each.get("role", "")), "text": _text_of(each["parts"])} for each in found] or None
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
        return None


def _text_of(parts: Any) -> str:
    return "\n".join(str(part["content"]) for part in parts if "content" in part)


def _retrieved(run: RunShape) -> dict[str, Any] | None:
    """Return what was retrieved: counts, and ids and titles where they are stored; None where nothing was told."""
    get = run.attributes.get
    tokens, count = get(rag_names.CONTEXT_TOKEN_COUNT), get(rag_names.DOCUMENT_COUNT)
    ids, titles = get(rag_names.DOC_IDS), get(rag_names.DOC_TITLES)
    if tokens is None and count is None and not ids and not titles:
        return None
    ids, titles = list(ids or ()), list(titles or ())
    prompt = get(semconv.SEQUENCE_INPUT_TOKENS, get(semconv.GEN_AI_USAGE_INPUT_TOKENS))
    return {
        "tokens": tokens,
        "fraction": tokens / prompt if tokens is not None and prompt and tokens <= prompt else None,
        "count": count,
        "documents": [
            (ids[at] if at < len(ids) else "", titles[at] if at < len(titles) else "")
            for at in range(max(len(ids), len(titles)))
        ],
        "metadata": get(rag_names.METADATA),
    }
