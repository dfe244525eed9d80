"""Which caches hold the keys that they hand out, so that a reference to these stays true until the step is over.

A cache may hand out one buffer for all layers (decompressing, dequantising), move its keys to the host, or edit them in
place. So only the exact classes of transformers' cache module are trusted, and only while their `update` is their own.
"""

import re
from typing import Any, Final

_MODULE: Final = "transformers.cache_utils"
_REMAKES: Final = re.compile("Quant|Offload")
"""Caches that make the keys anew for every layer, or fetch them from the host."""


def holds_keys(cache: Any) -> bool:
    """Whether every layer's keys stay as attention gets them until the step is over, at no cost of memory."""
    if _is_own(cache) and type(cache).__name__ == "EncoderDecoderCache":
        return holds_keys(cache.self_attention_cache) and holds_keys(cache.cross_attention_cache)
    if not _is_own(cache) or not hasattr(cache, "layers") or getattr(cache, "offloading", False):
        return False
    to_come = getattr(cache, "layer_class_to_replicate", None)
    return (to_come is None or _is_own_kind(to_come)) and all(map(_is_own, cache.layers))


def _is_own(cache: Any) -> bool:
    """Whether a cache or a layer of one is of an exact class of transformers, and nobody has changed how it updates."""
    return "update" not in getattr(cache, "__dict__", ()) and _is_own_kind(type(cache))


def _is_own_kind(kind: Any) -> bool:
    if getattr(kind, "__module__", None) != _MODULE or any(_REMAKES.search(base.__name__) for base in kind.__mro__):
        return False
    update: Any = getattr(kind, "update", None)  # a layer of linear attention has none
    return update is None or getattr(update, "__globals__", {}).get("__name__") == _MODULE
