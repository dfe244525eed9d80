"""Wrappers around the attention functions that transformers' models look up by name.

A model's query and full key pass through them, after rotary embedding and the cache's update; neither the model's
config nor its choice of attention is touched. A wrapper stays as long as CoreVital is instrumented.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch

from ..forks import held_by_forks
from .hooks import collecting, failed
from .inside import Inside
from .scores import Semantics, semantics_of, unread

_lock = held_by_forks(threading.Lock())
_wrapped: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}  # name -> (wrapper, original)


def wrap_attention_functions() -> None:
    """Wrap every registered attention function that is not wrapped yet: more may be registered at any time."""
    mapping = _mapping()
    for name in list(mapping):
        function = mapping[name]
        if _wrapped.get(name, (None, None))[0] is function:
            continue
        with _lock:
            wrapper = _wrap(name, function, semantics_of(name))
            _wrapped[name] = wrapper, function
            mapping[name] = wrapper


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


def _wrap(name: str, original: Callable[..., Any], semantics: Semantics | None) -> Callable[..., Any]:
    plain = semantics == "sdpa"

    def report(inside: Inside, module: Any, query: Any, key: Any, mask: Any, arguments: dict[str, Any]) -> None:
        special = unread(arguments) if semantics == "flash" else None
        if semantics is None or type(arguments.get("cache")).__name__ == "PagedAttentionCache":
            inside.attention.on_unknown(f"the scores of attention implementation {name} cannot be told")
        elif special is not None:
            inside.attention.on_unknown(f"the scores of attention with {special} cannot be told")
        else:
            inside.attention.on_attention(module, query, key, mask, arguments, semantics)

    # A plain function: it is traced like the original, and looks like it to whoever inspects it.
    @functools.wraps(original)
    def attention(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        if not torch.compiler.is_compiling():
            try:
                inside = collecting()
                if inside is not None and inside.attending:
                    if plain and "cache" not in kwargs:
                        inside.attention.on_attention(module, query, key, attention_mask, kwargs, "sdpa")
                    else:
                        report(inside, module, query, key, attention_mask, kwargs)
            except Exception as error:
                failed(error)
        return original(module, query, key, value, attention_mask, *args, **kwargs)

    return attention
