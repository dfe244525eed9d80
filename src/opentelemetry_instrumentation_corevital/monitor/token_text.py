"""The text of tokens, as they come: a character may take several tokens, and a word's text depends on those before."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

_INCOMPLETE: Final = "\N{REPLACEMENT CHARACTER}"
_MOST_PARTS: Final = 8
"""Tokens that a character may take; more are no character."""


@dataclass(slots=True)
class _Said:
    """What one sequence has said so far."""

    tokens: list[int] = field(default_factory=list)
    context: int = 0
    """Tokens from this one on are decoded again, so that the next one is decoded behind what came before it."""
    told: int = 0
    """Tokens whose text has been returned."""


class TokenDecoder:
    """Decodes the sequences of one call token by token.

    Joined, the texts of a sequence are what the tokenizer decodes from all its tokens without special ones, but for a
    character at the end of which bytes are missing.

    Args:
        tokenizer: of the model.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._sequences: defaultdict[int, _Said] = defaultdict(_Said)

    def __call__(self, sequence: int, token: int) -> str:
        """Return what a sequence's next token adds to its text; nothing while it is a part of a character."""
        said = self._sequences[sequence]
        said.tokens.append(token)
        before = self._decoded(said.tokens[said.context : said.told])
        text = self._decoded(said.tokens[said.context :])
        partial = text.endswith(_INCOMPLETE) and len(said.tokens) - said.told < _MOST_PARTS
        if len(text) <= len(before) or partial:
            return ""
        said.context, said.told = said.told, len(said.tokens)
        return text[len(before) :]

    def go_back(self, sequence: int, to_step: int) -> None:
        """Forget a sequence's tokens from a step on."""
        kept = self._sequences.pop(sequence, _Said()).tokens[:to_step]
        for token in kept:
            self(sequence, token)

    def _decoded(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def text_of(tokenizer: Any, tokens: list[int]) -> str:
    """Return the text of all tokens of a sequence."""
    text: str = tokenizer.decode(tokens, skip_special_tokens=True)
    return text
