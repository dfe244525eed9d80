"""Which text a tokenizer, or a chat template, has made tokens of: generate() gets token ids and cannot tell.

The last texts are kept in memory, found by their exact tokens. That works for whatever lies between the tokenizer and
generate(): another device, another thread, a server's queue, a batch that is padded later.
"""

import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from .._internal.forks import held_by_forks
from .._internal.recent import Recent
from .call_context import PromptHint
from .chats import conversations, last_user_text
from .tokenizer_calls import packed, token_rows

PROMPTS_KEPT: Final = 4096
"""Prompts that may lie between their tokenizer and their generate() call."""
CHATS_KEPT: Final = 256
"""Chats that may lie between the text that a template made of them and the tokens of that text."""
BYTES_KEPT: Final = 8 * 1024**2
"""Memory that texts may take, of each kind; a text that takes more is not kept."""
ROWS_OF_A_CALL: Final = 256
"""A tokenizer's call with more texts than these prepares a data set: of it nothing is remembered."""
TOKENIZERS_OF_A_ROW: Final = 4
"""Tokenizers that have made the same tokens, each of a text of its own."""
TOKENIZERS_KEPT: Final = 16
"""Tokenizers that are known by name, held weakly."""

_ENTRY_BYTES: Final = 64


class _Made(NamedTuple):
    """What tokens were made of."""

    text: str | None
    """None: not of exactly one text."""
    chat: bool
    tokenizer: "weakref.ref[Any]"


class PromptMemory:
    """The last prompts of a process, by the tokens that were made of them, and chats by their template's text."""

    def __init__(self) -> None:
        self._lock = held_by_forks(threading.Lock())
        self._chats: Recent[str, _Made] = Recent(CHATS_KEPT, BYTES_KEPT)
        self._prompts: Recent[bytes, tuple[_Made, ...]] = Recent(PROMPTS_KEPT, BYTES_KEPT)
        self._tokenizers: deque[weakref.ref[Any]] = deque(maxlen=TOKENIZERS_KEPT)

    def __len__(self) -> int:
        return len(self._prompts)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._chats.clear()
            self._prompts.clear()
            self._tokenizers.clear()

    def rendered(self, tokenizer: Any, conversation: Any, result: Any, limit: int | None = None) -> None:
        """Remember what `apply_chat_template` made.

        Args:
            tokenizer: or processor, whose method it is.
            conversation: one chat or several.
            result: text, token ids, or a mapping with `input_ids`.
            limit: of tokens, at which it cuts; None where it does not.
        """
        held = weakref.ref(tokenizer)
        chats = [_Made(last_user_text(messages), True, held) for messages in conversations(conversation)]
        made = [result] if isinstance(result, str) else result
        if isinstance(made, list) and made and isinstance(made[0], str):
            with self._lock:
                for text, chat in zip(made, chats, strict=False):
                    self._chats.put(text, chat, sys.getsizeof(text) + _size(chat))
        elif len(chats) <= ROWS_OF_A_CALL:
            self._add(held, token_rows(result), chats, limit)

    def tokenized(self, tokenizer: Any, prompts: Sequence[str | None], result: Any, limit: int | None = None) -> None:
        """Remember which tokens a tokenizer made of texts.

        Args:
            tokenizer: that was called.
            prompts: one for each row of the result; None for a row that is not of exactly one.
            result: token ids, or a mapping with `input_ids`.
            limit: of tokens, at which it cuts; None where it does not.
        """
        if len(prompts) > ROWS_OF_A_CALL:
            return
        rows = token_rows(result)
        if len(rows) != len(prompts):  # of a long text several rows were made
            prompts = [None] * len(rows)
        held = weakref.ref(tokenizer)
        made = [_Made(None if text is None else str(text), False, held) for text in prompts]
        if len(self._chats):
            made = [(each.text is not None and self._chats.get(each.text)) or each for each in made]
        self._add(held, rows, made, limit)

    def find(
        self, prompts: Sequence[Sequence[int]], *, model: str, tokenizer: Any = None, pad: int | None = None
    ) -> PromptHint:
        """Return what is known of the prompts of a call.

        Args:
            prompts: token ids of each, without what the call's mask leaves out.
            model: the name or path that the model was loaded by.
            tokenizer: that the caller has told; None where it has told none.
            pad: the padding token, which may still be at the prompts' ends.
        """
        with self._lock:
            found = [self._row(tokens, pad) for tokens in prompts]
            last = [held() for held in reversed(self._tokenizers)]
        made = [_chosen(each, model, tokenizer) for each in found]
        told = tuple(None if each is None else each.text for each in made)
        makers = [each.tokenizer() for each in made if each is not None]
        makers += [each for each in last if model and _name(each) == model]
        return PromptHint(
            text=told if any(text is not None for text in told) else None,
            chat=bool(made) and all(each is not None and each.chat for each in made),
            tokenizer=next((each for each in makers if each is not None), None),
        )

    def _row(self, tokens: Sequence[int], pad: int | None) -> tuple[_Made, ...]:
        found = self._prompts.get(_digest(packed(tokens)))
        if found is None and pad is not None and tokens and pad in (tokens[0], tokens[-1]):
            found = self._prompts.get(_digest(packed(_stripped(tokens, pad))))
        return found or ()

    def _add(self, held: "weakref.ref[Any]", rows: Iterable[bytes], made: Iterable[_Made], limit: int | None) -> None:
        with self._lock:
            if not self._tokenizers or self._tokenizers[-1] is not held:
                self._tokenizers.append(held)
            for row, what in zip(rows, made, strict=False):
                whole = limit is None or len(row) < 8 * limit
                self._keep(_digest(row), what if whole else what._replace(text=None))

    def _keep(self, key: bytes, made: _Made) -> None:
        """Keep what tokens were made of, beside what other tokenizers have made into the same tokens."""
        found = self._prompts.get(key) or ()
        same = (each for each in found if each.tokenizer is made.tokenizer and each.chat == made.chat)
        if any(each.text != made.text for each in same):
            made = made._replace(text=None)  # of two texts, which differ in words that it does not know: either
        others = [each for each in found if each.tokenizer is not made.tokenizer][1 - TOKENIZERS_OF_A_ROW :]
        self._prompts.put(key, (*others, made), sum(map(_size, others), _size(made)))


recent_prompts = PromptMemory()


def _chosen(made: Sequence[_Made], model: str, tokenizer: Any) -> _Made | None:
    """Return what tokens were made of, where several tokenizers have made them; None where that cannot be told."""
    if tokenizer is not None:
        told = [each for each in made if each.tokenizer() is tokenizer]
        made = told or made
    if len({(each.text, each.chat) for each in made}) > 1:
        names = [_name(each.tokenizer()) for each in made]
        if len({*names}) > 1 or not names[0]:
            made = [each for each, name in zip(made, names, strict=True) if model and name == model]
    return made[-1] if made else None


def _name(tokenizer: Any) -> str:
    """Return the name or path that a tokenizer, or a processor's, was loaded by; empty where there is none."""
    return str(getattr(getattr(tokenizer, "tokenizer", tokenizer), "name_or_path", None) or "")


def _stripped(tokens: Sequence[int], pad: int) -> Sequence[int]:
    begin, end = 0, len(tokens)
    while begin < end and tokens[begin] == pad:
        begin += 1
    while end > begin and tokens[end - 1] == pad:
        end -= 1
    return tokens[begin:end]


def _size(made: _Made) -> int:
    return _ENTRY_BYTES + (0 if made.text is None else sys.getsizeof(made.text))


def _digest(row: bytes) -> bytes:
    return blake2b(row, digest_size=16).digest()
