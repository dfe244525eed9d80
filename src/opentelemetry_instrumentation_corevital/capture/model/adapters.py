"""Which PEFT adapters a model generates with, read from what the `peft` package leaves on it, without that package.

A wrapper (`PeftModel`) and transformers' own `add_adapter` both leave `peft_config` on the model that generates, and
layers that say which adapters are active. Adapters that learn a prompt have no layers: while it generates, the wrapper
prepares the model's inputs. An adapter that was merged into the weights and unloaded leaves no trace.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from torch import nn

_BASE: Final = "__base__"
"""PEFT's name for no adapter, where each sequence of a batch has one of its own."""


def active_adapters(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the adapters that take part in a generation, sorted; nothing where there is none."""
    configs = getattr(model, "peft_config", None)
    if isinstance(configs, Mapping) and configs:
        layer = next((module for module in model.modules() if _is_tuned(module)), None)
        return () if layer is None else _names(_of_layer(layer))
    wrapper = getattr(vars(model).get("prepare_inputs_for_generation"), "__self__", None)
    if wrapper is None or wrapper is model or not isinstance(getattr(wrapper, "peft_config", None), Mapping):
        return ()
    return _names(getattr(wrapper, "active_adapters", None) or getattr(wrapper, "active_adapter", None))


def _is_tuned(module: nn.Module) -> bool:
    return hasattr(module, "active_adapters") and hasattr(module, "merged_adapters")


def _of_layer(layer: Any) -> Any:
    """Return what a layer of an adapter says: names for each sequence, what is in its weights, what is added to it."""
    for hook in layer._forward_pre_hooks.values():
        names = getattr(hook, "keywords", {}).get("adapter_names")
        if names is not None:
            return names
    if layer.disable_adapters:
        return ()
    return layer.merged_adapters or layer.active_adapters


def _names(found: Any) -> tuple[str, ...]:
    names: Iterable[Any] = (found,) if isinstance(found, str) else found or ()
    return tuple(sorted({str(name) for name in names} - {_BASE}))
