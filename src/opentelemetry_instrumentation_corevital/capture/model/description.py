"""What a model is: name, class, dtype, device and shape, read from the module and its config."""

import os
import re
from typing import Any

from torch import nn

from ..._internal.safety import report_internal_error
from ..._internal.values import clean, whole
from ...run import ModelInfo
from .adapters import active_adapters

_SNAPSHOT = re.compile(r"models--(?P<org>[^/\\]+?)--(?P<name>[^/\\]+)[/\\]snapshots[/\\]")


def describe_model(model: nn.Module) -> ModelInfo:
    """Describe a model; what its config does not say is None."""
    config: Any = getattr(model, "config", None)
    text = text_config(config)
    weights = next(iter(model.parameters()), None)
    return ModelInfo(
        name=clean(public_name(str(getattr(config, "_name_or_path", "") or ""))) or type(model).__name__,
        architecture=type(model).__name__,
        dtype=None if weights is None else str(weights.dtype).removeprefix("torch."),
        device=None if weights is None else str(weights.device),
        layer_count=next(iter(layer_counts(text)), None),
        head_count=_first_int(text, "decoder_attention_heads", "num_attention_heads", "n_head", "num_heads"),
        attention_implementation=_text(getattr(config, "_attn_implementation", None)),
        quantization=_quantization(config),
        revision=_text(getattr(config, "_commit_hash", None)),
        vocabulary_size=_first_int(text, "vocab_size"),
        adapters=_adapters(model),
    )


def _adapters(model: nn.Module) -> tuple[str, ...]:
    try:
        return active_adapters(model)
    except Exception as error:  # what another library leaves on a model may be anything
        report_internal_error("capture.adapters", error)
        return ()


def public_name(name_or_path: str) -> str:
    """Return a hub id as it is and a local path's last part only: a path tells about the machine."""
    if snapshot := _SNAPSHOT.search(name_or_path):
        return f"{snapshot['org']}/{snapshot['name']}"
    hub_id = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name_or_path)
    if hub_id and not name_or_path.startswith(".") and not os.path.isdir(name_or_path):
        return name_or_path
    return re.split(r"[/\\]", name_or_path.rstrip("/\\"))[-1]


_LAYER_COUNTS = ("decoder_layers", "num_decoder_layers", "num_hidden_layers", "n_layer", "num_layers")


def layer_counts(text: Any) -> list[int]:
    """Return what a text config says of the number of decoder layers, the most telling first."""
    return [value for name in _LAYER_COUNTS if (value := whole(getattr(text, name, None))) is not None]


def text_config(config: Any) -> Any:
    """Return the part of a config that is about the decoder of text: a config inside it, or it itself.

    transformers 5 makes a new config for the decoder of a flat encoder-decoder, in which defaults stand for what the
    model has, and which costs more than all else at a call's start: only a part that the config really holds counts.
    """
    get = getattr(config, "get_text_config", None)
    if get is None or not any(hasattr(value, "get_text_config") for value in vars(config).values()):
        return config
    try:
        found = get(decoder=True)
    except (TypeError, ValueError):  # several text configs: there is no single answer
        return config
    return found if any(value is found for value in vars(config).values()) else config


def _first_int(config: Any, *names: str) -> int | None:
    return next((value for name in names if (value := whole(getattr(config, name, None))) is not None), None)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _quantization(config: Any) -> str | None:
    quantization = getattr(config, "quantization_config", None)
    if quantization is None:
        return None
    method = quantization.get("quant_method") if isinstance(quantization, dict) else None
    method = method or getattr(quantization, "quant_method", None) or type(quantization).__name__
    return _text(getattr(method, "value", method))
