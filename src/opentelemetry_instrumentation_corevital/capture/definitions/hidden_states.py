"""Statistics of hidden states, as pure functions on tensors.

Hidden states are the last position of each decoder layer's output, before the final norm.

All in float32, reduced over the last dimension, on the tensor's own device, without waiting for it. A number that is
not defined for a row is NaN.
"""

import torch
from torch import Tensor


def hidden_statistics(hidden: Tensor) -> dict[str, Tensor]:
    """Reduce hidden states to statistics.

    Args:
        hidden: float32 [..., D].

    Returns:
        each float32 [...]: mean, population standard deviation, L2 norm, largest absolute value, count of NaN, count of
        infinities. With an infinity the mean is infinite, or NaN where both signs meet, and the deviation NaN. Norm and
        deviation leave float32 with the squares: values above about 1e18 make them infinite, those below about 1e-19
        count as 0.
    """
    # Not std_mean and not the infinity norm: on the CPU they take several times as long.
    mean = hidden.mean(-1, keepdim=True)
    deviation, norm = (hidden - mean).square().mean(-1).sqrt(), torch.linalg.vector_norm(hidden, dim=-1)
    if hidden.device.type == "cpu" and bool(norm.isfinite().all()):  # where to look at a value costs no wait
        nan = inf = torch.zeros_like(norm)
    else:
        nan, inf = hidden.isnan().sum(-1).float(), hidden.isinf().sum(-1).float()
    return {
        "hidden_mean": mean.squeeze(-1),
        "hidden_std": deviation,
        "hidden_l2_norm": norm,
        "hidden_max_abs": hidden.abs().amax(-1),
        "hidden_nan": nan,
        "hidden_inf": inf,
    }


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """Return the cosine of vectors [..., D] as float32 [...]; NaN where one of them is zero or not finite."""
    # Dividing first keeps the product in range; a norm of zero gives 0 / 0.
    left = left / torch.linalg.vector_norm(left, dim=-1, keepdim=True)
    right = right / torch.linalg.vector_norm(right, dim=-1, keepdim=True)
    return (left * right).sum(-1)
