"""How a model makes logits of its last hidden state: its output head, and what it does to what the head returns.

Nothing is known of single architectures. A head that is one plain matrix can be applied to any position without
calling the module, so that no hook of anybody sees it. Scale and soft-cap are read from the config, under the names
that transformers' models have for them. Whether the logits so made are the model's own is for who makes them to check.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from .description import text_config

_FACTORS: Final = ("logit_scale", "lm_head_multiplier", "output_multiplier")
"""What logits are multiplied by."""
_DIVISORS: Final = ("logits_scaling",)
"""What they are divided by."""
_SOFTCAP: Final = "final_logit_softcapping"


@dataclass(frozen=True, slots=True)
class OutputHead:
    """Makes logits of last hidden states."""

    weight: Tensor
    """[V, D]."""
    bias: Tensor | None
    """[V]."""
    scale: float
    softcap: float | None
    """c, where logits are c tanh(logit / c)."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the raw logits [..., V] of last hidden states [..., D], in the model's own type."""
        found = nn.functional.linear(hidden.to(self.weight.device), self.weight, self.bias)
        if self.scale != 1.0:
            found.mul_(self.scale)
        if self.softcap is not None:
            found.div_(self.softcap).tanh_().mul_(self.softcap)
        return found


def output_head(model: nn.Module) -> OutputHead | str:
    """Return a model's output head, or why its logits cannot be made of a hidden state."""
    get: Any = getattr(model, "get_output_embeddings", None)
    head = None if get is None else get()
    if not isinstance(head, nn.Module):
        return "the model has no output head"
    plain = type(head) is nn.Linear and set(head._parameters) == {"weight", "bias"}
    if not plain or not all(
        type(each) in (Tensor, nn.Parameter) for each in head._parameters.values() if each is not None
    ):
        return "the model's output head is not one plain matrix"
    weight, bias = head.weight, head.bias
    assert isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)
    if weight.is_meta or not weight.is_floating_point():
        return "the weights of the model's output head are not where they can be read"
    config = text_config(getattr(model, "config", None))
    scale = 1.0
    for name in _FACTORS:
        scale *= _number(config, name) or 1.0
    for name in _DIVISORS:
        scale /= _number(config, name) or 1.0
    return OutputHead(weight, bias, scale, _number(config, _SOFTCAP))


def _number(config: Any, name: str) -> float | None:
    value = getattr(config, name, None)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value else None


def base_of(model: nn.Module) -> nn.Module | None:
    """Return the module below the output head, whose first output is the last hidden state of every position."""
    named = getattr(model, str(getattr(model, "base_model_prefix", "") or ""), None)
    if isinstance(named, nn.Module) and named is not model:
        return named
    get: Any = getattr(model, "get_decoder", None)  # a prefix may name a part that another class of the family has
    try:
        found = None if get is None else get()
    except Exception:  # a model's own code
        return None
    return found if isinstance(found, nn.Module) and found is not model else None


def is_same(made: Tensor, own: Tensor) -> Tensor:
    """Return whether logits [..., V] are the model's own [..., V] but for rounding, as a bool on their device.

    Rounding is four units in the last place of the largest logit in the model's own type, or what the order of a
    float32 sum makes of it.
    """
    own = own.to(made.device).float()
    finite = own.isfinite()
    largest = own.where(finite, 0.0).abs().amax()
    slack = max(4.0 * torch.finfo(made.dtype).eps, 1e-4) * largest
    apart = (made.float() - own).abs()
    return ((apart <= slack) | (~finite & ((made == own) | (made.isnan() & own.isnan())))).all()
