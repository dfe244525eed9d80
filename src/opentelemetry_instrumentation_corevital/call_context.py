"""What a caller tells about the generate() calls below it, carried in the OpenTelemetry context.

The context follows the call through attach and detach, through asyncio, and into whatever thread it is attached in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import context as otel_context

_DISABLED_KEY: Final = otel_context.create_key("corevital-disabled")
_PROMPT_KEY: Final = otel_context.create_key("corevital-prompt")


@dataclass(frozen=True, slots=True)
class PromptHint:
    """What a caller knows of its prompt that generate() does not see."""

    text: str | None = None
    """The prompt before a chat template."""
    chat: bool = False
    """Whether a chat template made the prompt's tokens."""
    tokenizer: Any = None
    """What decodes token ids."""
    seed: int | None = None
    """The seed that the caller set."""


@contextmanager
def disabled() -> Iterator[None]:
    """Switch CoreVital off for the generate() calls in the block: no span, no measurement, no metric."""
    with _value(_DISABLED_KEY, True):
        yield


def is_disabled() -> bool:
    """Whether the current context is inside `disabled()`."""
    return bool(otel_context.get_value(_DISABLED_KEY))


@contextmanager
def prompt_hint(hint: PromptHint) -> Iterator[None]:
    """Tell what is known of the prompt of the generate() calls in the block."""
    with _value(_PROMPT_KEY, hint):
        yield


def current_hint() -> PromptHint:
    """Return what the caller told about its prompt."""
    hint = otel_context.get_value(_PROMPT_KEY)
    return hint if isinstance(hint, PromptHint) else PromptHint()


@contextmanager
def _value(key: str, value: object) -> Iterator[None]:
    token = otel_context.attach(otel_context.set_value(key, value))
    try:
        yield
    finally:
        otel_context.detach(token)
