"""Hooks on a model's modules: its layers, measured modules inside them, attention that computes its own weights.

All of them are gated: they do nothing on a thread without a collector, and nothing while a graph is being
compiled. There a hook would have to write into buffers of the graph; `is_compiling()` is a constant to the compiler, so
it leaves neither a guard nor a break, and the graph is the one of a model without hooks.

A hook object is pickled and copied as a function of the standard library that does nothing: a model that was pickled
or deep-copied needs nothing of CoreVital, but keeps that function as one more hook of each of its layers.
"""

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from torch import Tensor, nn
from torch.compiler import is_compiling

from ..._internal.forks import held_by_forks
from ..attention.scores import from_projections, from_weights, tells_visible
from ..collector.collector import ScoresTaker, attention_here, failed, thread
from ..isolation.dispatch_modes import unseen
from ..model.caches import holds_keys
from ..model.description import text_config
from ..model.output_head import base_of
from ..model.structure import Anatomy, examine


class _ModuleHook:
    """A hook that pickles and copies as one that does nothing."""

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")


class LayerHook(_ModuleHook):
    """Forward hook of a decoder layer. It runs for every layer at every step: it only hands over."""

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> None:
        """Report the layer's output."""
        if is_compiling():
            return
        collector = thread.collector
        if collector is not None:
            try:
                collector.on_layer(module, output)
            except Exception as error:
                failed(error)


class OutputHook(_ModuleHook):
    """Forward hook of a module inside a layer whose output is measured: it only hands over."""

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> None:
        """Report the module's output."""
        if is_compiling():
            return
        collector = thread.collector
        if collector is not None and collector.on_output is not None:
            try:
                collector.on_output(module, output)
            except Exception as error:
                failed(error)


class LastStatesHook(_ModuleHook):
    """Forward hook of the module below the output head, which returns the last hidden states of every position."""

    def __call__(self, _module: nn.Module, _args: Any, output: Any) -> None:
        """Report what it has returned."""
        if is_compiling():
            return
        collector = thread.collector
        if collector is not None and collector.on_last is not None:
            try:
                collector.on_last(output)
            except Exception as error:
                failed(error)


class WeightsHook(_ModuleHook):
    """Forward hook of an attention module that computes its weights itself (`eager`)."""

    def __call__(self, module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Report the weights in the module's output, the last of its four-dimensional tensors."""
        if is_compiling():
            return
        try:
            takers = attention_here()
            if takers and isinstance(output, tuple | list):
                with unseen():
                    for attention in takers:
                        self._report(attention, module, kwargs.get("attention_mask", kwargs.get("mask")), output)
        except Exception as error:
            failed(error)

    def _report(self, attention: ScoresTaker, module: nn.Module, mask: Any, output: Iterable[Any]) -> None:
        weights = next((item for item in reversed(tuple(output)) if isinstance(item, Tensor) and item.ndim == 4), None)
        if weights is None:
            return
        certain = uses_registry(module)
        if tells_visible(weights, mask, certain=certain):
            attention.on_scores(module, lambda: from_weights(module, weights, mask, certain=certain))
        else:
            attention.on_unknown("float16 weights do not tell which keys are visible")


class ProjectionHook(_ModuleHook):
    """Forward hook of the projections `q` and `k` of an attention module that keeps its weights to itself."""

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> None:
        """Keep the projection until the attention module is through."""
        if is_compiling():
            return
        try:
            for attention in attention_here():
                attention.projections[id(module)] = output
        except Exception as error:
            failed(error)


class ProjectedAttentionHook(_ModuleHook):
    """Forward hook of an attention module that keeps its weights to itself but returns its bias (T5 before 5.0)."""

    def __call__(self, module: Any, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Report what its scores are made of."""
        if is_compiling():
            return
        try:
            for attention in attention_here():
                self._report(attention, module, kwargs, output)
        except Exception as error:
            failed(error)

    def _report(self, attention: ScoresTaker, module: Any, kwargs: dict[str, Any], output: Any) -> None:
        query, key = (attention.projections.pop(id(each), None) for each in (module.q, module.k))
        cache = kwargs.get("past_key_values")
        if cache is not None:
            crosses = kwargs.get("key_value_states") is not None
            cache = getattr(cache, "cross_attention_cache" if crosses else "self_attention_cache", cache)
            if not holds_keys(cache):
                attention.on_unknown(f"the keys of cache {type(cache).__name__} cannot be told")
                return
            key = cache.layers[module.layer_idx].keys
        if query is not None and key is not None:
            with unseen():
                attention.on_scores(module, lambda: from_projections(module, query, key, output[1]))


# One object of each for all models: so a module's hook is found again, whoever has put it there.
_LAYER_HOOK: Final = LayerHook()
_OUTPUT_HOOK: Final = OutputHook()
_LAST_STATES_HOOK: Final = LastStatesHook()
_WEIGHTS_HOOK: Final = WeightsHook()
_PROJECTION_HOOK: Final = ProjectionHook()
_PROJECTED_ATTENTION_HOOK: Final = ProjectedAttentionHook()


class _Attached:
    """What the hooks of one model need. Models may share modules, as shallow copies and wrappers do."""

    def __init__(self, model: nn.Module) -> None:
        self.anatomy: Anatomy = examine(model)
        self._mine: set[int] = set()  # ids of modules in `_users` with this object

    def prepare(self, model: nn.Module, *, prompts: bool) -> None:
        """Put in what a run needs: outputs are seen after other hooks, weights where the model computes them itself."""
        base = base_of(model) if prompts else None
        if base is not None:
            self._hook_last(base, _LAST_STATES_HOOK)
        for layer in _living(self.anatomy.layers):
            self._hook_last(layer, _LAYER_HOOK)
        for module in _living(self.anatomy.output_modules):
            self._hook_last(module, _OUTPUT_HOOK)
        eager = _is_eager(model)
        for attention in _living(self.anatomy.attentions):
            if _keeps_to_itself(attention):
                for projection in (attention.q, attention.k):
                    self._hook(projection, _PROJECTION_HOOK)
                self._hook(attention, _PROJECTED_ATTENTION_HOOK, with_kwargs=True)
            elif eager:
                self._hook(attention, _WEIGHTS_HOOK, with_kwargs=True)

    def _hook_last(self, module: nn.Module, hook: Callable[..., None]) -> None:
        """Put in a hook that sees what the module's other hooks have made of its output."""
        self._hook(module, hook)
        hooks: Any = module._forward_hooks  # an OrderedDict, whatever its annotation says
        if next(reversed(hooks.values())) is not hook:
            hooks.move_to_end(next(key for key, other in hooks.items() if other is hook))

    def _hook(self, module: nn.Module, hook: Callable[..., None], *, with_kwargs: bool = False) -> None:
        there = any(other is hook for other in module._forward_hooks.values())
        if not there:
            module.register_forward_hook(hook, with_kwargs=with_kwargs)
        if not there or id(module) not in self._mine:
            self._mine.add(id(module))
            _users.setdefault(module, weakref.WeakSet()).add(self)

    def remove(self) -> None:
        """Take the hooks off where no other model needs them."""
        for module, users in list(_users.items()):
            users.discard(self)
            if not users:
                _unhook(module)


def _unhook(module: nn.Module) -> None:
    for key, hook in list(module._forward_hooks.items()):
        if isinstance(hook, _ModuleHook):
            del module._forward_hooks[key]
            module._forward_hooks_with_kwargs.pop(key, None)
    _users.pop(module, None)


def _living(modules: "Iterable[weakref.ref[nn.Module]]") -> Iterator[Any]:
    return (module for reference in modules if (module := reference()) is not None)


_lock = held_by_forks(threading.Lock())
_attached: "weakref.WeakKeyDictionary[nn.Module, _Attached]" = weakref.WeakKeyDictionary()
_users: "weakref.WeakKeyDictionary[nn.Module, weakref.WeakSet[_Attached]]" = weakref.WeakKeyDictionary()
"""Module with hooks -> who needs them. Without a user a module's hooks do nothing, until all are detached."""


def attach(model: nn.Module, *, prompts: bool = False) -> Anatomy:
    """Put hooks into a model, unless they are there, and return where its layers are.

    Args:
        model: the model.
        prompts: whether prompts are analysed, which needs one more hook.
    """
    with _lock:
        attached = _attached.get(model)
        if attached is not None and not attached.anatomy.is_of(model):
            attached.remove()
            attached = None
        if attached is None:
            attached = _attached[model] = _Attached(model)
        attached.prepare(model, prompts=prompts)
        return attached.anatomy


def detach_all() -> None:
    """Take the hooks out of every living module."""
    with _lock:
        for module in list(_users):
            _unhook(module)
        _attached.clear()


def _is_eager(model: nn.Module) -> bool:
    return getattr(text_config(getattr(model, "config", None)), "_attn_implementation", None) == "eager"


def uses_registry(attention: nn.Module) -> bool:
    """Whether a module looks its attention function up by name: then its weights are what it returns."""
    kind = type(attention)
    known = _uses_registry.get(kind)
    if known is None:
        known = _uses_registry[kind] = _class_uses_registry(kind)
    return known


_uses_registry: "weakref.WeakKeyDictionary[type, bool]" = weakref.WeakKeyDictionary()
"""Weak, since a class made inside a function can refer to a model."""


def _class_uses_registry(kind: type) -> bool:
    forward: Any = getattr(kind, "forward", None)
    while forward is not None:
        if "ALL_ATTENTION_FUNCTIONS" in getattr(forward, "__globals__", {}):
            return True
        forward = getattr(forward, "__wrapped__", None)
    return False


_OF_T5: Final = ("T5", "MT5", "LongT5", "Switch", "Udop", "Pop2Piano")


def _keeps_to_itself(attention: nn.Module) -> bool:
    """Whether a module is of T5's kind before transformers 5: it has its own code and returns its bias."""
    if not type(attention).__name__.startswith(_OF_T5) or uses_registry(attention):
        return False
    return all(isinstance(getattr(attention, name, None), nn.Module) for name in ("q", "k", "v", "o"))
