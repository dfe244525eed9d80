"""Wrappers around the attention functions that transformers' models look up by name.

A model's query and full key pass through them, after rotary embedding and the cache's update; neither the model's
config nor its choice of attention is touched. A wrapper stays as long as CoreVital is instrumented.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

from torch.compiler import is_compiling

from ..._internal.forks import held_by_forks
from ..attention.scores import implementation_of
from ..collector.collector import failed, thread

_lock = held_by_forks(threading.Lock())
_wrapped: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}  # name -> (wrapper, original)


def wrap_attention_functions() -> None:
    """Wrap every registered attention function that is not wrapped yet: more may be registered at any time."""
    mapping = _mapping()
    for name in list(mapping):
        if _is_wrapped(name, mapping[name]):
            continue
        with _lock:
            function = mapping[name]
            if _is_wrapped(name, function):  # by another thread; a wrapper is never wrapped again
                continue
            wrapper = _wrap(name, function)
            _wrapped[name] = wrapper, function
            mapping[name] = wrapper


def _is_wrapped(name: str, function: Callable[..., Any]) -> bool:
    return _wrapped.get(name, (None, None))[0] is function


def unwrap_attention_functions() -> None:
    """Put the originals back; a function that somebody else has put in their place stays."""
    if not _wrapped:
        return
    mapping = _mapping()
    with _lock:
        for name, (wrapper, original) in _wrapped.items():
            if mapping.get(name) is wrapper:
                mapping[name] = original
        _wrapped.clear()


def _mapping() -> dict[str, Callable[..., Any]]:
    from transformers.modeling_utils import AttentionInterface

    mapping: dict[str, Callable[..., Any]] = AttentionInterface._global_mapping
    return mapping


def _wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    implementation = implementation_of(name)

    # A plain function: it is traced like the original, and looks like it to whoever inspects it.
    @functools.wraps(original)
    def attention(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        if not is_compiling():
            collector = thread.collector
            if collector is not None and collector.on_attention is not None:
                try:
                    collector.on_attention((module, query, key, attention_mask, kwargs, implementation))
                except Exception as error:
                    failed(error)
        return original(module, query, key, value, attention_mask, *args, **kwargs)

    return attention
