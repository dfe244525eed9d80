"""The text of each token of a stored prompt, where it is stored and its tokenizer is here."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import semconv
from .._internal.printable import printable
from .._internal.user_error import UserError

if TYPE_CHECKING:
    from ..store.stored_run import StoredRun


def prompt_pieces(run: "StoredRun", tokenizer: str | None) -> Sequence[str] | None:
    """Return the text of every token of the prompt, made anew of its stored text.

    None where that is not stored, nobody here can read it, or it does not have as many tokens as the run's prompt: then
    the tokens are others, as with another chat template.

    Args:
        run: the run.
        tokenizer: whose tokenizer reads it; None: the run's own model's, if it is here.

    Raises:
        UserError: if there is no such tokenizer.
    """
    messages = _messages(run.attributes.get(semconv.GEN_AI_INPUT_MESSAGES))
    if not messages or run.summary.input_tokens is None:
        return None
    from ..loading.models import load_tokenizer

    try:
        # The stored name is what some service said: it has nothing loaded from elsewhere.
        known: Any = load_tokenizer(tokenizer) if tokenizer else load_tokenizer(run.summary.model or "", local=True)
    except UserError:
        if tokenizer is not None:
            raise
        return None
    for ids in _readings(known, messages):
        if len(ids) == run.summary.input_tokens:
            return [printable(str(known.decode([token]))) for token in ids]
    return None


def _readings(tokenizer: Any, messages: list[dict[str, str]]) -> Sequence[Sequence[int]]:
    """Return the ids of the prompt, plain and by the chat template."""
    found: list[Sequence[int]] = []
    if len(messages) == 1:
        found.append(tokenizer(messages[0]["content"]).input_ids)
    if getattr(tokenizer, "chat_template", None):
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception:  # templates raise what they like, such as for roles that they do not know
            return found
        found.append(tokenizer(text, add_special_tokens=False).input_ids)
    return found


def _messages(attribute: Any) -> list[dict[str, str]]:
    """Return the messages of a GenAI attribute; empty where it cannot be read, or one is no text."""
    try:
        return [
            {"role": str(each["role"]), "content": "".join(part["content"] for part in each["parts"])}
            for each in json.loads(attribute)
        ]
    except (TypeError, ValueError, LookupError, RecursionError):
        return []
