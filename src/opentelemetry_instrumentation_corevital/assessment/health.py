"""Health flags: what is definitely wrong with a run, each with the numbers that say so."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..baselines.profiled_signals import collapsed_fractions, windows
from ..catalogue.verdicts import FLAG, NORM_OUTLIER
from ..run import Deviation, Health, Run, middle_third
from .collapse import CollapseDetector
from .deviation import OUTPUT_SIGNALS, deviations, first_nonfinite, where_it_began
from .ending import ended_itself
from .layer_findings import anomaly
from .repetition import Repetition, RepetitionDetector
from .thresholds import DEFAULT, Thresholds


class FlagFinding(NamedTuple):
    """What a judge has found of its flag."""

    evidence: Mapping[str, Any] = {}
    """The numbers that raise it; empty: it is not raised."""
    absent: Mapping[str, str] = {}
    """What could not be looked at -> the reason. With the flag's own name in it, the flag was not judged."""


NO_BASELINE: Final = "no_baseline"
"""Why a flag is absent that rests on what is usual for the model, where too little is known of that."""
_NOT_FINITE: Final = "not finite"

FlagJudge = Callable[[Run, Thresholds, Sequence[Deviation] | None], FlagFinding]
"""Judges a run for one flag; the last argument is what its layers leave of the model's profile, None without one."""


def judge_health(run: Run, thresholds: Thresholds = DEFAULT) -> Health:
    """Judge the flags that what was measured allows."""
    deviating = deviations(run, thresholds)
    found = {name: judge(run, thresholds, deviating) for name, judge in JUDGES.items()}
    absent = {name: reason for each in found.values() for name, reason in each.absent.items()}
    entropy = run.column("entropy")
    if entropy is None:
        absent["high_entropy_steps"] = run.absent.get("entropy", "logits were not measured")
    return Health.of(
        {name: None if name in absent else bool(found[name].evidence) for name in FLAG},
        high_entropy_steps=None if entropy is None else int(np.sum(entropy > thresholds.high_entropy_bits)),
        evidence={name: found[name].evidence for name in FLAG if found[name].evidence},
        absent=absent,
        deviations=deviating,
    )


def own_history_warnings(run: Run, thresholds: Thresholds) -> list[str]:
    """Return what only the run's own steps show, where that raises no flag: a middle layer's norm far from the rest.

    A rise of the collapsed heads is an early warning already.
    """
    outlier = _outlying_middle(run, thresholds) if thresholds.needs_baseline else None
    return [NORM_OUTLIER] if outlier and outlier["norm"] != _NOT_FINITE else []


def _nan(run: Run, thresholds: Thresholds, deviating: Sequence[Deviation] | None) -> FlagFinding:
    del thresholds, deviating
    return FlagFinding(_seen(run, "logits_nan", "hidden_nan"), _unseen("nan_detected", run))


def _inf(run: Run, thresholds: Thresholds, deviating: Sequence[Deviation] | None) -> FlagFinding:
    del thresholds, deviating
    absent = _unseen("inf_detected", run)
    if run.counts("hidden_nan") is None:  # NaN and infinity then speak of the logits alone
        absent["hidden_states"] = run.absent.get("hidden_states", "the layers were not measured")
    return FlagFinding(_infinity(run), absent)


def _unseen(flag: str, run: Run) -> dict[str, str]:
    measured = run.counts("logits_nan") is not None
    return {} if measured else {flag: _reason(flag, run, "logits were not measured")}


def _reason(flag: str, run: Run, otherwise: str) -> str:
    """Return why something that a flag needs is absent."""
    return next((run.absent[need] for need in FLAG[flag].needs if need in run.absent), otherwise)


def _repetition_loop(run: Run, thresholds: Thresholds, deviating: Sequence[Deviation] | None) -> FlagFinding:
    del deviating
    if run.output_tokens is None:
        name = "repetition_loop_detected"
        return FlagFinding(absent={name: _reason(name, run, "the tokens could not be read")})
    loop = _loop(run, thresholds)
    return FlagFinding({} if loop is None else loop.evidence())


def _attention_collapse(run: Run, thresholds: Thresholds, deviating: Sequence[Deviation] | None) -> FlagFinding:
    del deviating
    collapsed = _collapse(run, thresholds)
    if collapsed is None:
        return FlagFinding(absent={"attention_collapse_detected": _why_no_collapse(run)})
    if thresholds.needs_baseline and not _knows(thresholds, "collapsed_share"):
        return FlagFinding(absent={"attention_collapse_detected": NO_BASELINE})
    return FlagFinding(collapsed)


def _mid_layer_anomaly(run: Run, thresholds: Thresholds, deviating: Sequence[Deviation] | None) -> FlagFinding:
    outlier = _outlying_middle(run, thresholds)
    own_history = outlier is None or outlier.get("norm") != _NOT_FINITE
    if not outlier or (own_history and thresholds.needs_baseline):
        usual = _unusual_middle(run, deviating)
        if usual is None and thresholds.needs_baseline and run.column("hidden_l2_norm") is not None:
            return FlagFinding(absent={"mid_layer_anomaly_detected": NO_BASELINE})
        outlier = outlier if usual is None else usual
    if outlier is None:
        return FlagFinding(absent={"mid_layer_anomaly_detected": _why_no_middle(run)})
    return FlagFinding(outlier)


def _seen(run: Run, logits: str, hidden: str | None) -> dict[str, int]:
    """Return where counts of logits or of layers first were not zero; `steps` is the number of such steps."""
    in_logits = run.counts(logits)
    in_layers = None if hidden is None else run.counts(hidden)
    steps = np.zeros(run.steps + bool(run.failed_step), bool)
    if in_logits is not None:
        steps |= in_logits > 0
    if in_layers is not None:
        steps |= (in_layers > 0).any(1)
    if not steps.any():
        return {}
    step = int(np.flatnonzero(steps)[0])
    evidence = {"step": step, "steps": int(steps.sum())}
    if in_logits is not None and in_logits[step]:
        evidence["logits"] = int(in_logits[step])
    if in_layers is not None and (layers := np.flatnonzero(in_layers[step] > 0)).size:
        first = int(layers[0])
        evidence |= {"layer": first, "values": int(in_layers[step, first]), "layers": len(layers)}
    return evidence


def _collapse(run: Run, thresholds: Thresholds) -> dict[str, Any] | None:
    """Return the numbers of an attention collapse, empty where there is none, None where it cannot be told."""
    fractions = collapsed_fractions(run)
    if fractions is None:
        return None
    fractions = fractions[: first_nonfinite(run)]
    detector = CollapseDetector(thresholds)
    for step, fraction in enumerate(fractions.tolist()):
        detector.update(step, fraction)
    if not detector.judged:
        return None
    own = {} if thresholds.needs_baseline else detector.evidence()
    return own or _unusual_collapse(run, fractions, thresholds)


def _knows(thresholds: Thresholds, signal: str) -> bool:
    return thresholds.profile is not None and signal in thresholds.profile.signals


def _unusual_collapse(run: Run, fractions: NDArray[np.float64], thresholds: Thresholds) -> dict[str, Any]:
    """Return the numbers of the first window whose fraction is unusual for the model; empty where there is none."""
    known = None if thresholds.profile is None else thresholds.profile.signals.get("collapsed_share")
    if known is None:
        return {}
    starts, medians = windows(fractions)
    usual = float(known.windows.centre[0])
    far = known.windows.beyond(medians[:, None], thresholds.window_excess)[:, 0]
    far &= medians > usual + thresholds.collapse_rise
    if not far.any() or (thresholds.limit is not None and not thresholds.limit.is_exceeded_by(run)):
        return {}
    first = int(far.argmax())
    return {
        "step": int(starts[first]),
        "rate": round(float(medians[first]), 4),
        "usual": round(usual, 4),
        "excess": round(min(float(known.windows.excess(medians[first : first + 1, None])[0, 0]), 1e6), 2),
        "threshold": round(usual + thresholds.collapse_rise, 4),
    }


def _why_no_collapse(run: Run) -> str:
    """Return why an attention collapse cannot be told."""
    if run.column("collapsed_head_rate") is None:
        return _reason("attention_collapse_detected", run, "attention was not measured")
    return "too few steps with enough visible keys"


def _outlying_middle(run: Run, thresholds: Thresholds) -> dict[str, Any] | None:
    """Return the numbers of a middle layer's anomaly, empty where there is none, None where it cannot be told."""
    norms = run.column("hidden_l2_norm")
    if norms is None or not len(norms):
        return None
    middle = middle_third(norms.shape[1])
    bad = ~np.isfinite(norms[:, middle.start : middle.stop]) & ~_unmeasured(run)[:, middle.start : middle.stop]
    if bad.any():
        step = int(np.flatnonzero(bad.any(1))[0])
        return {"step": step, "layer": middle[int(np.flatnonzero(bad[step])[0])], "norm": _NOT_FINITE}
    found = anomaly(run, thresholds)
    if found is None:
        return None
    worst, _ = found
    return {} if worst is None else {"layer": worst.layer, **worst.evidence(), "threshold": thresholds.norm_outlier}


def _unusual_middle(run: Run, found: Sequence[Deviation] | None) -> dict[str, Any] | None:
    """Return the numbers of the middle layer furthest from what the model's profile says; None without a profile."""
    norms = run.column("hidden_l2_norm")
    if found is None or norms is None:
        return None
    middle = middle_third(norms.shape[1])
    there = where_it_began([each for each in found if each.layer in middle and each.signal in OUTPUT_SIGNALS])
    worst = max(there, key=lambda each: each.strength, default=None)
    return {} if worst is None else {"layer": worst.layer, **worst.evidence()}


def _why_no_middle(run: Run) -> str:
    """Return why a middle layer's anomaly cannot be told."""
    norms = run.column("hidden_l2_norm")
    if norms is None or not len(norms):
        return _reason("mid_layer_anomaly_detected", run, "the layers were not measured")
    middle = middle_third(norms.shape[1])
    if np.isnan(norms[:, middle.start : middle.stop]).all():
        return "no layer of the middle third was looked at"
    return "too few steps to compare"


def _unmeasured(run: Run) -> Any:
    """Return which layers were not measured at a step [steps, layers]: their counts are NaN, too."""
    return np.isnan(run.columns["hidden_nan"])


def _infinity(run: Run) -> dict[str, int]:
    """Return the first step with an infinity that is a fault.

    Models mask vocabulary entries with -Inf: the same number of them at every step, and never all, is such a mask.
    """
    found = _seen(run, "logits_posinf", "hidden_inf")
    negative = run.counts("logits_neginf")
    if found or negative is None or not negative.any():
        return found
    vocabulary = run.model.vocabulary_size
    whole = vocabulary is not None and int(negative.max()) >= vocabulary
    if int(negative.min()) == int(negative.max()) and not whole:
        return {}
    return _seen(run, "logits_neginf", None)


def _loop(run: Run, thresholds: Thresholds) -> Repetition | None:
    """Return the loop that was still going on when the run ended; one that it left or ended itself is no failure."""
    if ended_itself(run):
        return None
    last = RepetitionDetector(thresholds).last(run.tokens.tolist())
    return last if last is not None and last.loop else None


JUDGES: Final[dict[str, FlagJudge]] = {
    "nan_detected": _nan,
    "inf_detected": _inf,
    "attention_collapse_detected": _attention_collapse,
    "mid_layer_anomaly_detected": _mid_layer_anomaly,
    "repetition_loop_detected": _repetition_loop,
}
"""Flag of the catalogue -> its definition, in the order in which `absent` names what could not be judged."""
