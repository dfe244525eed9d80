"""What is known of a run's prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

PromptHashSource = Literal["text", "decoded", "tokens"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is known of the prompt.

    `source` says what tells it apart from others: its text as it was given, the text that its tokens decode to, or,
    where no text is known, `identity`: which tokenizer it is, and the token ids. All of it is content.
    """

    text: str | None = field(default=None, repr=False)
    source: PromptHashSource | None = None
    chat: bool = False
    identity: bytes | None = field(default=None, repr=False)

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Take what a pickle or a copy holds; one of an earlier version has no identity."""
        for each, value in zip(fields(self), [*state, None], strict=False):
            object.__setattr__(self, each.name, value)
