"""Compound signals: several numbers that mean more together than each alone.

- `confident_confusion`: at `confusion_steps` of 8 steps in a row the entropy is high while the margin is above
  `confusion_margin`: the model favours one token although everything else seems possible, too. Both at the same step,
  since the means over 8 steps of ordinary text, sure of some tokens and unsure of others, look so in most runs. High is
  what is above the usual for the model; without a baseline what is above a rough number and the run's own mean.
- `degenerating_generation`: over the last 16 steps, against all before them (32 at least), the mean entropy and the
  mean surprisal have risen beyond what is usual for the model (without a baseline by a rough number of bits), and the
  mean margin has fallen.
- `context_loss`: in a window of steps the attention to the prompt is further below what the model's healthy runs give
  it than `context_excess` allows, while the entropy is above their 95 % quantile. Needs the model's baseline profile.

The severities, in the catalogue, are an order, not a probability.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ..baselines.profile import Profile
from ..baselines.profiled_signals import prompt_focus, windows
from ..catalogue.verdicts import COMPOUND
from ..run import CompoundSignal, Run
from .deviation import cut_off, first_nonfinite
from .thresholds import DEFAULT, Thresholds
from .usual import RISEN, ThresholdSource, WarningBounds

_WINDOW: Final = 8
_LAST, _BEFORE = 16, 32


CompoundJudge = Callable[[Run, Thresholds], Mapping[str, Any] | str]
"""Returns the numbers of a signal that holds, nothing of one that does not, or why it could not be judged."""


def judge_compound(run: Run, thresholds: Thresholds = DEFAULT) -> tuple[tuple[CompoundSignal, ...], dict[str, str]]:
    """Return the signals that hold, the gravest first, and which could not be judged, with the reason."""
    if any(run.column(name) is None for name in ("entropy", "margin", "surprisal")):
        reason = run.absent.get("entropy", "logits were not measured")
        return (), {signal.name: reason for signal in reversed(COMPOUND)}
    end = first_nonfinite(run)
    if end < run.steps:  # what follows is its consequence
        run = cut_off(run, end)
    found: list[CompoundSignal] = []
    absent: dict[str, str] = {}
    for signal in COMPOUND:
        numbers = JUDGES[signal.name](run, thresholds)
        if isinstance(numbers, str):
            absent[signal.name] = numbers
        elif numbers:
            found.append(CompoundSignal(signal.name, signal.severity, numbers))
    return tuple(sorted(found, key=lambda signal: -signal.severity)), absent


def _confident_confusion(run: Run, thresholds: Thresholds) -> dict[str, Any]:
    entropy, margin = run.columns["entropy"], run.columns["margin"]
    high = WarningBounds.of(thresholds).high_entropy
    least = high.value
    if high.source == "rough" and np.isfinite(entropy).any():  # in many runs most steps are above a rough number
        least = max(least, float(np.nanmean(entropy)))
    both = (entropy > least) & (margin > thresholds.confusion_margin)
    if len(both) < _WINDOW:
        return {}
    counts = np.convolve(both, np.ones(_WINDOW, np.int64), "valid")
    if not (counts >= thresholds.confusion_steps).any():
        return {}
    first = int((counts >= thresholds.confusion_steps).argmax())
    return {
        "step": first + _WINDOW - 1,
        "steps": int(counts[first]),
        "threshold": thresholds.confusion_steps,
        "entropy_threshold": round(least, 4),
        "threshold_source": high.source,
    }


def _degenerating_generation(run: Run, thresholds: Thresholds) -> dict[str, Any]:
    entropy, margin, surprisal = (run.columns[name] for name in ("entropy", "margin", "surprisal"))
    if len(entropy) < _LAST + _BEFORE:
        return {}
    with np.errstate(invalid="ignore"):
        now = [float(np.mean(values[-_LAST:])) for values in (entropy, surprisal, margin)]
        before = [float(np.mean(values[1:-_LAST])) for values in (entropy, surprisal, margin)]
    least, source = _risen(before[:2], thresholds)
    if not (now[0] > least[0] and now[1] > least[1] and now[2] < thresholds.degenerating_margin_share * before[2]):
        return {}
    rounded = [round(value, 4) for pair in zip(now, before, strict=True) for value in pair]
    names = [f"{name}{when}" for name in ("entropy", "surprisal", "margin") for when in ("", "_before")]
    return {"step": len(entropy) - _LAST, **dict(zip(names, rounded, strict=True)), "threshold_source": source}


def _risen(before: Sequence[float], thresholds: Thresholds) -> tuple[Sequence[float], ThresholdSource]:
    """Return above what the mean entropy and the mean surprisal at the end of a run are, given those before."""
    known = [
        None if thresholds.profile is None else thresholds.profile.signals.get(name)
        for name in ("entropy", "surprisal")
    ]
    limits = [math.nan if each is None else float(each.windows.quantile(RISEN)[0]) for each in known]
    if all(map(math.isfinite, limits)):
        return [max(pair) for pair in zip(limits, before, strict=True)], "baseline"
    rises = thresholds.degenerating_entropy_bits, thresholds.degenerating_surprisal_bits
    return [value + rise for value, rise in zip(before, rises, strict=True)], "rough"


def _context_loss(run: Run, thresholds: Thresholds) -> dict[str, Any] | str:
    profile = thresholds.profile
    if profile is None:
        return "the model has no baseline profile"
    return _lost_prompt(run, profile, thresholds)


def _lost_prompt(run: Run, profile: Profile, thresholds: Thresholds) -> dict[str, Any] | str:
    """Return the numbers of the first window that lost the prompt; empty: none did; a text: why it cannot be told."""
    focus, known, usual = prompt_focus(run), profile.signals.get("prompt_focus"), profile.signals.get("entropy")
    if focus is None:
        measured = run.input_tokens is not None and run.column("attention_mass_prompt") is not None
        return "the prompt is too short" if measured else "attention to the prompt was not measured"
    if known is None or usual is None:
        return "the profile does not know attention to the prompt"
    starts, medians = windows(focus)
    # The windows of attention that is sampled now and then are wider: entropy is taken over the same steps.
    _, entropies = windows(np.where(np.isfinite(focus), run.columns["entropy"].astype(np.float64), np.nan))
    if not len(starts) or len(entropies) != len(medians):
        return "too few steps to compare"
    excess = known.windows.excess(medians[:, None])[:, 0]
    lost = (medians < known.windows.centre[0]) & (excess > thresholds.context_excess)
    lost &= entropies > usual.windows.quantile(0.95)[0]
    if not lost.any():
        return {}
    at = int(lost.argmax())
    return {
        "step": int(starts[at]),
        "prompt_focus": round(float(medians[at]), 4),
        "usual": known.windows.location[0],
        "excess": round(float(excess[at]), 2),
        "threshold": thresholds.context_excess,
        "entropy": round(float(entropies[at]), 4),
        "threshold_source": "baseline",
    }


JUDGES: Final[dict[str, CompoundJudge]] = {
    "context_loss": _context_loss,
    "degenerating_generation": _degenerating_generation,
    "confident_confusion": _confident_confusion,
}
"""Compound signal of the catalogue -> its definition."""
