"""Which tokens a chat template has made, and of what: generate() gets token ids and cannot tell.

The last few chats are kept in memory, found by their exact tokens. That works for whatever lies between the template
and generate(): another device, another thread, a server's queue.
"""

import threading
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, TypeVar

from .._internal.forks import held_by_forks
from .call_context import PromptHint

CHATS_KEPT: Final = 256
"""Chats that may lie between their template and their generate() call."""

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class _Chat:
    text: str | None
    tokenizer: weakref.ref[Any]


class ChatMemory:
    """The last chats of a process, by the text and by the tokens that their template made of them."""

    def __init__(self) -> None:
        self._lock = held_by_forks(threading.Lock())
        self._by_text: OrderedDict[str, _Chat] = OrderedDict()
        self._by_tokens: OrderedDict[bytes, _Chat] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_tokens)

    def clear(self) -> None:
        """Forget all chats."""
        with self._lock:
            self._by_text.clear()
            self._by_tokens.clear()

    def rendered(self, tokenizer: Any, conversation: Any, result: Any) -> None:
        """Remember what `apply_chat_template` made: text, token ids, or a mapping with `input_ids`."""
        chats = [_Chat(last_user_text(messages), weakref.ref(tokenizer)) for messages in conversations(conversation)]
        rendered = [result] if isinstance(result, str) else result
        if isinstance(rendered, list) and rendered and isinstance(rendered[0], str):
            self._add(self._by_text, zip(rendered, chats, strict=False))
        else:
            self._add(self._by_tokens, zip(map(_digest, token_rows(result)), chats, strict=False))

    def tokenized(self, text: Any, result: Any) -> None:
        """Remember the tokens of text that a template has made; of other text nothing."""
        if not self._by_text:
            return
        prompts = [text] if isinstance(text, str) else text
        if not isinstance(prompts, list | tuple) or not all(isinstance(item, str) for item in prompts):
            return
        with self._lock:
            chats = [self._by_text.get(item) for item in prompts]
        if any(chats):
            made = zip(map(_digest, token_rows(result)), chats, strict=False)
            self._add(self._by_tokens, [(key, chat) for key, chat in made if chat is not None])

    def find(self, prompts: Sequence[Sequence[int]]) -> PromptHint | None:
        """Return what is known of prompts, given as token ids without padding; None unless all of them are chats."""
        with self._lock:
            found = [self._by_tokens.get(_digest(tokens)) for tokens in prompts]
        chats = [chat for chat in found if chat is not None]
        if not chats or len(chats) < len(prompts):
            return None
        known = [chat.text for chat in chats if chat.text is not None]
        return PromptHint(
            text=tuple(known) if len(known) == len(prompts) else None, chat=True, tokenizer=chats[0].tokenizer()
        )

    def _add(self, kept: "OrderedDict[_Key, _Chat]", items: Iterable[tuple[_Key, _Chat]]) -> None:
        with self._lock:
            for key, chat in items:
                kept[key] = chat
                kept.move_to_end(key)
            while len(kept) > CHATS_KEPT:
                kept.popitem(last=False)


recent_chats = ChatMemory()


def conversations(conversation: Any) -> list[Sequence[Any]]:
    """Return the chats of a template's argument, which is one chat or several, each as its messages."""
    if isinstance(conversation, list | tuple):
        if conversation and not isinstance(conversation[0], Mapping):
            several: list[Any] = list(conversation)
            return [getattr(chat, "messages", chat) for chat in several]
        return [conversation]
    return [getattr(conversation, "messages", ())]


def last_user_text(messages: Sequence[Any]) -> str | None:
    """Return the text of a chat's last message by the user, without images and the like; None where there is none."""
    for message in reversed(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list | tuple):
                parts = [part.get("text") for part in content if isinstance(part, Mapping)]
                content = "\n".join(part for part in parts if isinstance(part, str)) or None
            return content if isinstance(content, str) else None
    return None


def token_rows(encoded: Any) -> list[list[int]]:
    """Return the token ids of a tokenizer's result, one list per text, without padding."""
    mask = None
    if isinstance(encoded, Mapping):
        encoded, mask = encoded.get("input_ids"), encoded.get("attention_mask")
    rows, keep = _nested(encoded), _nested(mask)
    if len(rows) != len(keep):
        return rows
    return [
        [token for token, kept in zip(row, flags, strict=False) if kept] for row, flags in zip(rows, keep, strict=True)
    ]


def _nested(values: Any) -> list[list[int]]:
    values = values.tolist() if hasattr(values, "tolist") else values
    if not values:
        return []
    return list(values) if isinstance(values[0], list) else [list(values)]


def _digest(tokens: Sequence[int]) -> bytes:
    return blake2b(array("q", tokens).tobytes(), digest_size=16).digest()
