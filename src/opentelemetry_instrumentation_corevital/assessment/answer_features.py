"""What the answer risk is made from: a few numbers of a run's distributions that length cannot blow up.

A sum of surprisal grows with every token, so an ordinary long answer looks wrong; a mean hides the one or two tokens
that are the answer among those around them. So sums are divided by the root of the length, windows and extremes stand
beside means, and bits enter by their logarithm. All are computed from the columns of the logits, in float64.

Sources: summed log-probability (perplexity's numerator), its mean, and entropies as in Malinin & Gales (2021),
"Uncertainty Estimation in Autoregressive Structured Prediction"; the worst window as in self-certainty's and DeepConf's
group confidence (Fu et al. 2025, arXiv 2508.15260); the margin as in Scheffer et al. (2001).
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..run import Run

WINDOW: Final = 4
"""Steps of a window: about what one short answer has."""
COLUMNS: Final = ("surprisal", "entropy", "margin", "top1_prob")
"""Signals that it needs."""

NAMES: Final[Mapping[str, str]] = {
    "surprisal_scaled": "log2(1 + sum of the surprisal / root of the number of tokens)",
    "surprisal_mean": "log2(1 + mean surprisal)",
    "surprisal_window": f"log2(1 + largest mean surprisal of {WINDOW} tokens in a row)",
    "surprisal_largest": "log2(1 + largest surprisal)",
    "surprisal_head": f"log2(1 + mean surprisal of the first {WINDOW} tokens)",
    "surprisal_first": "log2(1 + surprisal of the first token)",
    "entropy_mean": "log2(1 + mean entropy)",
    "entropy_window": f"log2(1 + largest mean entropy of {WINDOW} tokens in a row)",
    "entropy_head": f"log2(1 + mean entropy of the first {WINDOW} tokens)",
    "entropy_first": "log2(1 + entropy before the first token)",
    "margin_mean": "mean margin",
    "margin_head": f"mean margin of the first {WINDOW} tokens",
    "margin_lowest": "lowest margin",
    "top1_lowest": "lowest probability of the most probable token",
    "length": "log2 of the number of tokens",
}
"""Feature -> its definition; surprisal and entropy in bit."""


def answer_features(run: Run, steps: int | None = None) -> dict[str, float] | str:
    """Return the features of a run, or of its first steps, by name; or why there are none.

    Args:
        run: with the columns `surprisal`, `entropy`, `margin`, `top1_prob` [T].
        steps: how many of its steps count; None: all.
    """
    if missing := [name for name in COLUMNS if name not in run.columns]:
        return run.absent.get(missing[0], "logits were not measured")
    return features_of({name: run.columns[name][:steps] for name in COLUMNS})


def features_of(columns: Mapping[str, NDArray[Any]]) -> dict[str, float] | str:
    """Return the features of these columns [T], or why there are none."""
    table = np.array([columns[name] for name in COLUMNS], np.float64)
    if not table.shape[1]:
        return "nothing was generated"
    if not np.isfinite(table).all():
        return "a step has no distribution"
    surprisal, entropy, margin, top1 = table
    tokens = table.shape[1]
    return {
        "surprisal_scaled": _log(surprisal.sum() / np.sqrt(tokens)),
        "surprisal_mean": _log(surprisal.mean()),
        "surprisal_window": _log(_largest_window(surprisal)),
        "surprisal_largest": _log(surprisal.max()),
        "surprisal_head": _log(surprisal[:WINDOW].mean()),
        "surprisal_first": _log(surprisal[0]),
        "entropy_mean": _log(entropy.mean()),
        "entropy_window": _log(_largest_window(entropy)),
        "entropy_head": _log(entropy[:WINDOW].mean()),
        "entropy_first": _log(entropy[0]),
        "margin_mean": float(margin.mean()),
        "margin_head": float(margin[:WINDOW].mean()),
        "margin_lowest": float(margin.min()),
        "top1_lowest": float(top1.min()),
        "length": float(np.log2(tokens)),
    }


def _log(bits: float) -> float:
    return float(np.log2(1.0 + max(0.0, bits)))


def _largest_window(values: NDArray[np.float64]) -> float:
    width = min(WINDOW, len(values))
    sums = np.cumsum(np.concatenate(([0.0], values)))
    return float((sums[width:] - sums[:-width]).max() / width)
