"""A mixture's experts in training: each works on every token, and the router's weights say what counts.

That is `num_local_experts / num_experts_per_tok` times the arithmetic, but three large products instead of many small
ones of as many tokens as an expert got, for which the host waits for the device; and it gives the same bits again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from torch import Tensor
from torch.nn import functional
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

_NAME: Final = "zoo_all_on_all"


def routed(model: Any) -> bool:
    """Tell whether a model has experts."""
    return hasattr(model.config, "num_local_experts")


@contextmanager
def all_on_all(model: Any) -> Iterator[None]:
    """Let the experts of a model, if it has any, work this way for a block."""
    if not routed(model):
        yield
        return
    before = model.config._experts_implementation
    model.set_experts_implementation(_NAME)
    try:
        yield
    finally:
        model.set_experts_implementation(before)


def outputs(module: Any, states: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """Return what the experts put out.

    Args:
        module: the experts: `gate_up_proj` [E, 2I, H] and `down_proj` [E, H, I].
        states: [N, H].
        chosen: the numbers of each token's experts, [N, K].
        weights: of these, [N, K].

    Returns:
        [N, H].
    """
    count, _, size = module.down_proj.shape
    share = (functional.one_hot(chosen, count) * weights[..., None]).sum(1)
    both = functional.linear(states, module.gate_up_proj.flatten(0, 1)).unflatten(-1, (count, -1))
    gate, up = both.chunk(2, dim=-1)
    inner = module.act_fn(gate) * up * share[..., None].to(up.dtype)
    down: Tensor = module.down_proj.transpose(0, 1).reshape(-1, count * size)
    return functional.linear(inner.flatten(1), down)


ALL_EXPERTS_FUNCTIONS.register(_NAME, outputs)
