"""Signals of next-token distributions, as pure functions on tensors.

Logits are **raw** next-token logits, before temperature, top-k, top-p or any processor. Base-2 logarithms: bits. A
row that holds NaN or +Inf, or nothing but -Inf, is no distribution: its signals are NaN. A -Inf is a legal logit
(probability 0). Subtracting the row's maximum first keeps every finite input in range, also at the edge of float32.

All in float32, reduced over the last dimension, on the tensor's own device, without waiting for it. A number that is
not defined for a row is NaN.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from .likeliest_tokens import block_maxima, largest, likeliest

TOPK_MASS_TOKENS: Final = 10
"""Tokens whose probability `topk_mass` sums."""

_LN2: Final = 0.6931471805599453
_LOWEST: Final = -3.0e38  # finite, so that 0 * z is 0 where a probability is 0


class LogitSignals(NamedTuple):
    """Signals of N next-token distributions, each a float32 tensor [N], and what surprisal still needs."""

    entropy: Tensor
    """[N] bit: -sum p log2 p over the whole vocabulary (Shannon 1948)."""
    margin: Tensor
    """[N] 1: p(1st) - p(2nd); 1 for a vocabulary of one token."""
    top1_prob: Tensor
    """[N] 1: p(1st)."""
    topk_mass: Tensor
    """[N] 1: sum of the 10 largest p."""
    nan: Tensor
    """[N] count of NaN logits."""
    posinf: Tensor
    """[N] count of +Inf logits."""
    neginf: Tensor
    """[N] count of -Inf logits."""
    shifted: Tensor
    """[N, V] nat: logits less their row's maximum; a private tensor, safe from what later edits the logits."""
    log_normalizer: Tensor
    """[N] nat: log sum exp of `shifted`."""
    alternatives: Tensor | None = None
    """[N, 2 ranks], see `likeliest_tokens.likeliest`; None where they were not asked for."""


def logit_signals(logits: Tensor, alternatives: int = 0) -> LogitSignals:
    """Compute what one decoding step's logits tell before a token is chosen.

    Args:
        logits: [N, V] raw logits; anything but float32 is converted.
        alternatives: how many of the likeliest tokens are told.

    Returns:
        the signals of each of the N rows.
    """
    logits = logits.float()
    count = min(TOPK_MASS_TOKENS, logits.shape[-1])
    # Elsewhere a `topk` over whole rows is one operation more, and block by block it is three.
    maxima = block_maxima(logits, count) if alternatives or logits.device.type == "cpu" else None
    top = largest(logits, count, maxima)
    # topk orders NaN first, so the maximum of a row with a NaN is NaN, and with it all that follows.
    shifted = (logits - top[:, :1]).clamp_(min=_LOWEST)
    weights = shifted.exp()
    total = weights.sum(-1)
    log_normalizer = total.log()
    # Not vecdot: a matrix product would be rounded to TF32 or, under autocast, to half precision.
    entropy = (log_normalizer - weights.mul_(shifted).sum(-1) / total) / _LN2
    top_shifted = top - top[:, :1]
    top1_prob = total.reciprocal()
    margin = top1_prob if top.shape[-1] == 1 else torch.expm1(top_shifted[:, 1]).abs() * top1_prob
    return LogitSignals(
        # Rounding can leave a one-hot row a hair below zero.
        entropy=entropy.clamp(min=0.0),
        margin=margin,
        top1_prob=top1_prob,
        topk_mass=(top_shifted.exp().sum(-1) * top1_prob).clamp(max=1.0),
        **_nonfinite(logits, top[:, 0]),
        shifted=shifted,
        log_normalizer=log_normalizer,
        alternatives=likeliest(logits, alternatives, maxima) if alternatives else None,
    )


def _nonfinite(logits: Tensor, top: Tensor) -> dict[str, Tensor]:
    """Return the counts of what is not finite, given each row's largest logit (NaN where there is one)."""
    if logits.device.type == "cpu":  # where to look at a value costs no wait
        bounded = (logits.amin(-1) > -torch.inf) & (top < torch.inf)  # false for NaN, too
        if bool(bounded.all()):
            return dict.fromkeys(("nan", "posinf", "neginf"), torch.zeros_like(top))
    return {
        "nan": logits.isnan().sum(-1).float(),
        "posinf": logits.isposinf().sum(-1).float(),
        "neginf": logits.isneginf().sum(-1).float(),
    }


def surprisal(signals: LogitSignals, tokens: Tensor) -> Tensor:
    """Compute -log2 p(chosen token).

    Args:
        signals: of the step's raw logits, N rows.
        tokens: [N] int64, the chosen token of each row.

    Returns:
        [N] float32 in bit; +Inf for a token whose raw probability is 0, NaN where there is no distribution.
    """
    # A sequence that is over is padded with whatever its caller likes; nobody reads its signals.
    within = tokens.clamp(0, signals.shifted.shape[-1] - 1)
    chosen = signals.shifted.gather(-1, within[:, None]).squeeze(-1)
    chosen = chosen.masked_fill(chosen <= _LOWEST, -torch.inf)
    return (signals.log_normalizer - chosen) / _LN2


def numbers_of(signals: LogitSignals, tokens: Tensor) -> dict[str, Tensor]:
    """Return what a row holds of a step's logits, each float32 [N]."""
    return {
        "entropy": signals.entropy,
        "surprisal": surprisal(signals, tokens),
        "margin": signals.margin,
        "top1_prob": signals.top1_prob,
        "topk_mass": signals.topk_mass,
        "logits_nan": signals.nan,
        "logits_posinf": signals.posinf,
        "logits_neginf": signals.neginf,
    }
