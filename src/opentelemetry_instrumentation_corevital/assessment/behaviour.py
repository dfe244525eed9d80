"""The fingerprint's vector: how a run behaved, as few numbers that can be compared between runs, models and prompts.

Every number lies in [0, 1]. What has no bounds of its own is squashed by a fixed scale, x / (x + scale): half is at the
scale. The number of tokens, the risk and the flags are not in it: they are on the span, and would count twice. Tokens
count only by which of them are equal, so that nothing can be decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..run import Run
from .thresholds import DEFAULT

VERSION: Final = "1"
"""Of the components below. A change of one, of its scale or of the order is another version."""

OUTSIDE: Final = "1-outside"
"""The version of a vector that ends before the first component of the layers."""

FEWEST_STEPS: Final = 8

_BITS, _TURN, _DOUBLINGS = 2.0, 0.1, 4.0
_RECENT, _LATE = 32, 64

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Component:
    """A number of the vector."""

    name: str
    meaning: str
    internals: bool = False
    """Whether it needs hidden states and attention."""


COMPONENTS: Final = (
    Component("entropy_low", "10 % quantile of the entropy over steps, squashed by 2 bit"),
    Component("entropy_median", "its median, squashed alike"),
    Component("entropy_high", "its 90 % quantile, squashed alike"),
    Component("entropy_drift", "0.5 + d / (2 (abs(d) + 2 bit)), d: mean entropy of the second half less the first's"),
    Component("entropy_persistence", "(1 + r) / 2, r: correlation of the entropy with the next step's; 0 if constant"),
    Component("surprisal_median", "median of the surprisal, squashed by 2 bit"),
    Component("surprisal_high", "its 90 % quantile, squashed alike"),
    Component("margin_low", "10 % quantile of the margin"),
    Component("margin_median", "its median"),
    Component("margin_high", "its 90 % quantile"),
    Component("topk_mass", "mean of the summed probability of the 10 most probable tokens"),
    Component("first_choice", "fraction of the steps at which the most probable token was chosen, or one within 1 %"),
    Component("repeated_grams", "fraction of the groups of 4 tokens that stood in the run before"),
    Component("late_repeated_grams", "the same among the last 64 groups"),
    Component("recent_tokens", "fraction of the tokens that stood among the 32 before them"),
    Component("hidden_cosine", "(1 + c) / 2, c: median cosine of the last layer's output with the step before's", True),
    Component("norm_growth", "log2 of the last layer's mean norm over the first's, squashed by 4; below 0: 0", True),
    Component("turn_early", "mean `layer_transformation` of the first third of the layers, squashed by 0.1", True),
    Component("turn_middle", "the same, middle third", True),
    Component("turn_late", "the same, last third", True),
    Component("attention_early", "mean attention entropy of the first third of the layers", True),
    Component("attention_middle", "the same, middle third", True),
    Component("attention_late", "the same, last third", True),
    Component("attention_sink", "mean attention on the first 4 keys", True),
)

_SCALES: Final = {"entropy_median": _BITS, "surprisal_median": _BITS, "norm_growth": _DOUBLINGS, "turn_middle": _TURN}
"""Of components that are read back in their own unit."""

_PLACES: Final = {component.name: place for place, component in enumerate(COMPONENTS)}

_NEEDED: Final = ("entropy", "surprisal", "margin", "top1_prob", "topk_mass")


def vector(run: Run) -> tuple[Vector, str] | str:
    """Return the run's vector and its version, or why there is none."""
    if any(name not in run.columns for name in _NEEDED):
        return run.absent.get("entropy", "logits were not measured")
    columns = [run.columns[name].astype(np.float64) for name in _NEEDED]
    finite = np.isfinite(columns).all(0)
    if finite.sum() < FEWEST_STEPS:
        return f"a fingerprint needs {FEWEST_STEPS} steps with a distribution, the run has {finite.sum()}"
    logits = [*_logits(*(column[finite] for column in columns)), *_tokens(run.tokens)]
    internals = _internals(run)
    if internals is None:
        return np.array(logits), OUTSIDE
    return np.array([*logits, *internals]), VERSION


def component(vector: Sequence[float] | Vector, version: str, name: str) -> float | None:
    """Return a component of a vector in its own unit, without the scale; None where the vector does not have it.

    Args:
        vector: of a fingerprint.
        version: of the vector.
        name: of the component: one of those whose scale is undone here, or one without.
    """
    place = _PLACES[name]
    if version not in (VERSION, OUTSIDE) or place >= len(vector):
        return None
    value, scale = float(vector[place]), _SCALES.get(name)
    if scale is None:
        return value
    return scale * value / (1 - value) if 0 <= value < 1 else None


def _logits(entropy: Vector, surprisal: Vector, margin: Vector, top1: Vector, topk: Vector) -> list[float]:
    half = len(entropy) // 2
    drift = float(entropy[-half:].mean() - entropy[:half].mean())
    varies = entropy[1:].std() > 0 and entropy[:-1].std() > 0
    persistence = float(np.corrcoef(entropy[1:], entropy[:-1])[0, 1]) if varies else 0.0
    # One in a hundred less is the most probable token all the same: rounding, or one that ties with it.
    first = np.exp2(-surprisal) >= 0.99 * top1
    return [
        *_squashed(np.quantile(entropy, (0.1, 0.5, 0.9)), _BITS),
        0.5 + 0.5 * drift / (abs(drift) + _BITS),
        0.5 * (1 + persistence),
        *_squashed(np.quantile(surprisal, (0.5, 0.9)), _BITS),
        *np.quantile(margin, (0.1, 0.5, 0.9)).tolist(),
        float(topk.mean()),
        float(first.mean()),
    ]


def _tokens(tokens: NDArray[np.int32]) -> list[float]:
    distinct, kinds = np.unique(tokens, return_inverse=True)
    ngrams = kinds[: len(kinds) - DEFAULT.gram + 1].astype(np.uint64)
    for offset in range(1, DEFAULT.gram):  # one number for each group; no two alike below 2^16 distinct tokens
        ngrams = ngrams * np.uint64(len(distinct)) + kinds[offset : offset + len(ngrams)].astype(np.uint64)
    stood = np.ones(len(ngrams), bool)
    stood[np.unique(ngrams, return_index=True)[1]] = False
    before = np.lib.stride_tricks.sliding_window_view(np.concatenate((np.full(_RECENT, -1), tokens)), _RECENT)[:-1]
    recent = (before == tokens[:, None]).any(1)
    return [float(stood.mean()), float(stood[-_LATE:].mean()), float(recent.mean())]


def _internals(run: Run) -> list[float] | None:
    """Return what the layers did; None where it was not measured, or the model has too few layers for thirds."""
    names = ("hidden_cosine", "hidden_l2_norm", "layer_transformation", "attention_entropy", "attention_mass_sink")
    if any(name not in run.columns for name in names):
        return None
    cosine, norms, turns, attention, sink = (_finite(run.columns[name]) for name in names)
    if not np.isfinite(cosine).any():
        return None
    norm, turn, spread = _of_layers(norms), _of_layers(turns), _of_layers(attention)
    if min(len(norm), len(turn), len(spread)) < 3 or not norm[0] > 0 or not norm[-1] > 0:
        return None
    return [
        float(0.5 * (1 + np.nanmedian(cosine))),
        *_squashed(np.maximum(0.0, np.log2([norm[-1] / norm[0]])), _DOUBLINGS),
        *_squashed(_thirds(turn), _TURN),
        *_thirds(spread).tolist(),
        float(np.nanmean(sink)),
    ]


def _finite(values: NDArray[np.float32]) -> Vector:
    return np.asarray(np.where(np.isfinite(values), values, np.nan), np.float64)


def _of_layers(values: Vector) -> Vector:
    """Return the mean over steps of each layer that has any number."""
    return np.asarray(np.nanmean(values[:, np.isfinite(values).any(0)], axis=0))


def _thirds(layers: Vector) -> Vector:
    return np.array([part.mean() for part in np.array_split(layers, 3)])


def _squashed(values: Vector, scale: float) -> list[float]:
    return [float(value / (value + scale)) for value in np.maximum(values, 0.0)]
