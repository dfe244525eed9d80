"""What a caller tells about the generate() calls below it, carried in the OpenTelemetry context.

The context follows the call through attach and detach, through asyncio, and into whatever thread it is attached in.
Into a thread that somebody starts it does not go by itself; a streamer takes it along.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span, set_span_in_context

from ..catalogue import rag_names
from .rag import RAGContext

_DISABLED_KEY: Final = otel_context.create_key("corevital-disabled")
_PROMPT_KEY: Final = otel_context.create_key("corevital-prompt")
_COUNT_DIGITS: Final = 18
_RAG_KEY: Final = otel_context.create_key("corevital-rag")

STREAMER_POSITION: Final = 7
"""Of the streamer among the positional arguments of generate()."""

# On the streamer itself a context would break its pickling and copying. By identity: it may equal others, or, as a
# dataclass does, have no hash.
_made_in: dict[int, tuple[weakref.ref[Any], Context]] = {}


@dataclass(frozen=True, slots=True)
class PromptHint:
    """What a caller knows of its prompt that generate() does not see."""

    text: str | tuple[str | None, ...] | None = None
    """The prompt before a chat template; of a batch one for each prompt, None where it is not known."""
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


def is_disabled(context: Context | None = None) -> bool:
    """Whether a context, by default the current one, is inside `disabled()`."""
    return bool(otel_context.get_value(_DISABLED_KEY, context))


@contextmanager
def prompt_hint(hint: PromptHint) -> Iterator[None]:
    """Tell what is known of the prompt of the generate() calls in the block."""
    with _value(_PROMPT_KEY, hint):
        yield


@contextmanager
def prompt_text(text: str | Sequence[str]) -> Iterator[None]:
    """Tell the text of the prompts of the generate() calls in the block, where generate() gets no tokens of it.

    Args:
        text: the prompt; of a batch one for each prompt.

    Raises:
        TypeError: for what is no text.
    """
    prompts = (text,) if isinstance(text, str) else tuple(text)
    if not all(isinstance(each, str) for each in prompts):
        raise TypeError("prompt_text: give the prompt's text, or of a batch a list of texts")
    with prompt_hint(replace(current_hint(), text=text if isinstance(text, str) else prompts)):
        yield


def current_hint(context: Context | None = None) -> PromptHint:
    """Return what the caller told about its prompt in a context, by default the current one."""
    hint = otel_context.get_value(_PROMPT_KEY, context)
    return hint if isinstance(hint, PromptHint) else PromptHint()


def lasting(context: Context) -> Context:
    """Return a context's span and baggage, for what outlives the call, as log records do.

    What else a context has, the hint's tokenizer or an application's objects, would be kept alive by them.
    """
    kept = Context()
    for name, value in baggage.get_all(context).items():
        kept = baggage.set_baggage(name, value, kept)
    return set_span_in_context(get_current_span(context), kept)


@contextmanager
def rag_context(retrieved: RAGContext) -> Iterator[None]:
    """Tell what was retrieved for the prompts of the generate() calls in the block."""
    with _value(_RAG_KEY, retrieved):
        yield


def current_rag(context: Context | None = None) -> RAGContext | None:
    """Return what was told of retrieval in a context, by default the current one.

    Where nobody in this process has told it, the counts that an earlier service put into the baggage.
    """
    told = otel_context.get_value(_RAG_KEY, context)
    if isinstance(told, RAGContext):
        return told

    tokens, documents = (
        _count(baggage.get_baggage(name, context)) for name in (rag_names.CONTEXT_TOKEN_COUNT, rag_names.DOCUMENT_COUNT)
    )
    return None if tokens is None and documents is None else RAGContext(tokens, document_count=documents)


def _count(told: object) -> int | None:
    """Return a count from the baggage, which anybody on the way may have written."""
    return int(told) if isinstance(told, str) and told.isdecimal() and len(told) <= _COUNT_DIGITS else None


def keep_context(streamer: Any) -> None:
    """Let the generate() call that gets this streamer know the context it was made in."""
    key, forget = id(streamer), _made_in.pop
    _made_in[key] = weakref.ref(streamer, lambda _: forget(key, None)), otel_context.get_current()
    if is_disabled():
        forget_values(streamer)


def forget_contexts() -> None:
    """Forget where streamers were made."""
    _made_in.clear()


def forget_values(streamer: Any) -> None:
    """Keep of the context that a streamer was made in only where a further call belongs.

    What other libraries and the application have put there may refer to the streamer, which would then live for good.
    """
    known = _made_in.get(id(streamer))
    if known is not None:
        reference, context = known
        told = {key: context[key] for key in (_DISABLED_KEY, _PROMPT_KEY, _RAG_KEY) if key in context}
        _made_in[id(streamer)] = reference, Context({**lasting(context), **told})


def calling_context(streamer: Any) -> Context:
    """Return the context that a call belongs to.

    It is the thread's own; in a thread without a span, the usual one for streaming, its span and whatever else the
    thread lacks come from where the streamer was made.
    """
    current = otel_context.get_current()
    if streamer is None or get_current_span(current).get_span_context().is_valid:
        return current
    alive, context = _made_in.get(id(streamer), (None, None))
    if context is None or alive is None or alive() is not streamer:
        return current
    return set_span_in_context(get_current_span(context), Context({**context, **current}))


@contextmanager
def _value(key: str, value: object) -> Iterator[None]:
    token = otel_context.attach(otel_context.set_value(key, value))
    try:
        yield
    finally:
        otel_context.detach(token)
