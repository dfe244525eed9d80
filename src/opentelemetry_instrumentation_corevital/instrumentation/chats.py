"""The messages of a chat: which of them is the prompt."""

from collections.abc import Mapping, Sequence
from typing import Any


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
