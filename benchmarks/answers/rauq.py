"""RAUQ (arXiv 2505.20045): how unsure a model is, carried on along the attention to the previous token."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ALPHA: Final = 0.2
"""Weight of a token's own probability against what is carried on."""
_LEAST: Final = 1e-12


def rauq(surprisal: NDArray[Any], previous: NDArray[Any]) -> float:
    """Return the largest of the middle layers' uncertainties, nat; NaN of no tokens.

    In each layer the head with the largest mean attention to the previous token counts; c_1 = p_1 and
    c_i = a p_i + (1 - a) w_i c_(i-1); the layer's uncertainty is the mean of -log c_i.

    Args:
        surprisal: [T] bit.
        previous: [T, layers, heads] attention to the previous token; NaN counts as 0.
    """
    if not len(surprisal):
        return float("nan")
    own = np.exp2(-np.asarray(surprisal, np.float64))
    weights = np.nan_to_num(np.asarray(previous, np.float64))
    head = (weights[1:] if len(own) > 1 else weights).mean(0).argmax(-1)
    chosen = np.take_along_axis(weights, head[None, :, None], 2)[..., 0]
    carried = np.empty_like(chosen)
    carried[0] = own[0]
    for step in range(1, len(own)):
        carried[step] = ALPHA * own[step] + (1 - ALPHA) * chosen[step] * carried[step - 1]
    return float((-np.log(np.maximum(carried, _LEAST))).mean(0).max())
