"""What the callers of generate() know and do not tell it: pipelines, streamers, chat templates, `transformers serve`.

Wrappers of their methods. Each calls the method as it was called and returns what it returns.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context

from .._internal.safety import report_internal_error, shielded
from .call_context import PromptHint, current_hint, keep_context, prompt_hint
from .chats import conversations, last_user_text
from .prompt_memory import recent_prompts
from .tokenizer_calls import cut_at, given_prompts


class _TokenizerThread(threading.local):
    busy = False
    """Whether this thread is inside of a tokenizer's method: what one calls of another is not looked at again."""


_thread = _TokenizerThread()


def pipeline_forward(wrapped: Callable[..., Any], pipeline: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `Pipeline.forward`: its tokenizer and the prompt's text become known to generate()."""
    hint = None
    with shielded("callers.pipeline"):
        if current_hint() == PromptHint():
            hint = _pipeline_hint(pipeline, args[0] if args else kwargs.get("model_inputs"))
    if hint is None:
        return wrapped(*args, **kwargs)
    with prompt_hint(hint):
        return wrapped(*args, **kwargs)


def _pipeline_hint(pipeline: Any, inputs: Any) -> PromptHint:
    tokenizer = getattr(pipeline, "tokenizer", None)
    prompts = inputs.get("prompt_text") if hasattr(inputs, "get") else None
    if isinstance(prompts, str):
        return PromptHint(text=prompts, tokenizer=tokenizer)
    if isinstance(prompts, list | tuple) and prompts and all(isinstance(prompt, str) for prompt in prompts):
        return PromptHint(text=tuple(prompts), tokenizer=tokenizer)
    if prompts is None:
        return PromptHint(tokenizer=tokenizer)
    found = [last_user_text(messages) for messages in conversations(prompts)]
    known = tuple(text for text in found if text is not None)
    return PromptHint(text=known if len(known) == len(found) else None, chat=True, tokenizer=tokenizer)


def streamer_made(wrapped: Callable[..., Any], streamer: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `TextStreamer.__init__`: generate() is often called in a thread of its own, where no span is."""
    result = wrapped(*args, **kwargs)
    with shielded("callers.streamer"):
        keep_context(streamer)
    return result


def template_applied(wrapped: Callable[..., Any], tokenizer: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `apply_chat_template` of a tokenizer or processor."""
    result = _outermost(wrapped, args, kwargs)
    with shielded("callers.template"):
        conversation = args[0] if args else kwargs.get("conversation")
        recent_prompts.rendered(tokenizer, conversation, result, cut_at(tokenizer, {"truncation": False, **kwargs}))
    return result


def tokenized(wrapped: Callable[..., Any], tokenizer: Any, args: Any, kwargs: Any) -> Any:
    """Wrap a tokenizer's methods that make token ids of text."""
    if _thread.busy:
        return wrapped(*args, **kwargs)
    result = _outermost(wrapped, args, kwargs)
    try:  # data sets are tokenized text by text: `shielded` would take as long as all else here
        prompts = given_prompts(args, kwargs)
        if prompts is not None:
            recent_prompts.tokenized(tokenizer, prompts, result, cut_at(tokenizer, kwargs))
    except Exception as error:
        report_internal_error("callers.tokenizer", error)
    return result


def _outermost(wrapped: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    before, _thread.busy = _thread.busy, True
    try:
        return wrapped(*args, **kwargs)
    finally:
        _thread.busy = before


def work_submitted(wrapped: Callable[..., Any], _thread: Any, args: Any, kwargs: Any) -> Any:
    """Wrap a method that hands work to the thread of `transformers serve`; its request is the parent."""
    with shielded("callers.submit"):
        if args:
            args = (_in_context(args[0]), *args[1:])
    return wrapped(*args, **kwargs)


def _in_context(work: Callable[..., Any]) -> Callable[..., Any]:
    context = otel_context.get_current()

    @functools.wraps(work)
    def in_context(*args: Any, **kwargs: Any) -> Any:
        token = otel_context.attach(context)
        try:
            return work(*args, **kwargs)
        finally:
            otel_context.detach(token)

    return in_context
