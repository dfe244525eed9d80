"""Health flags: what is definitely wrong with a run, each with the numbers that say so."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..baselines.profile import Profile
from ..baselines.profiled_signals import WINDOW, collapsed_fractions, windows
from ..catalogue.verdicts import FLAG, HIGH_ENTROPY_STEPS
from ..run import Deviation, Health, Run, middle_third
from .deviation import OUTPUT_SIGNALS, deviations, first_nonfinite, where_it_began
from .ending import ended_itself
from .layer_findings import not_finite
from .repetition import Repetition, RepetitionDetector
from .thresholds import DEFAULT, Thresholds
from .usual import high_entropy_steps


class FlagFinding(NamedTuple):
    """What a judge has found of its flag."""

    evidence: Mapping[str, Any] = {}
    """The numbers that raise it; empty: it is not raised."""
    absent: Mapping[str, str] = {}
    """What could not be looked at -> the reason. With the flag's own name in it, the flag was not judged."""


NO_BASELINE: Final = "no_baseline"
"""Why a flag is absent that rests on what is usual for the model, where too little is known of that."""
TOO_SHORT: Final = "too few steps to compare"
"""Why it is absent in a run that has no whole window."""
_NOT_FINITE: Final = "not finite"

FlagJudge = Callable[[Run, Thresholds, Sequence[Deviation] | None], FlagFinding]
"""Judges a run for one flag; the last argument is where its layers leave what is usual, None where nobody knows."""


def judge_health(run: Run, thresholds: Thresholds = DEFAULT) -> Health:
    """Judge the flags that what was measured allows."""
    deviating = deviations(run, thresholds)
    found = {name: judge(run, thresholds, deviating) for name, judge in JUDGES.items()}
    absent = {name: reason for each in found.values() for name, reason in each.absent.items()}
    high = high_entropy_steps(run, thresholds)
    if high is None:
        absent[HIGH_ENTROPY_STEPS] = run.absent.get("entropy", "logits were not measured")
    evidence = {name: found[name].evidence for name in FLAG if found[name].evidence}
    if high and (high["steps"] or high.get("warning_steps")):
        evidence[HIGH_ENTROPY_STEPS] = high
    return Health.of(
        {name: None if name in absent else bool(found[name].evidence) for name in FLAG},
        high_entropy_steps=None if high is None else high["steps"],
        evidence=evidence,
        absent=absent,
        deviations=deviating,
    )


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
    name = "attention_collapse_detected"
    fractions = collapsed_fractions(run)
    if fractions is None:
        return FlagFinding(absent={name: _reason(name, run, "attention was not measured")})
    if thresholds.profile is None or "collapsed_share" not in thresholds.profile.signals or thresholds.limit is None:
        return FlagFinding(absent={name: NO_BASELINE})
    fractions = fractions[: first_nonfinite(run)]
    if np.isfinite(fractions[1:]).sum() < WINDOW:
        return FlagFinding(absent={name: "too few steps with enough visible keys"})
    if deviating is None:
        return FlagFinding(absent={name: TOO_SHORT})
    return FlagFinding(_unusual_collapse(fractions, thresholds.profile, thresholds) if deviating else {})


def _layer_anomaly(run: Run, thresholds: Thresholds, deviating: Sequence[Deviation] | None) -> FlagFinding:
    name = "layer_anomaly_detected"
    counts = run.counts("hidden_nan")
    if counts is not None and (bad := _nonfinite_layer(run, range(counts.shape[1]))):
        return FlagFinding(bad)
    if counts is None and run.column("attention_entropy") is None:
        return FlagFinding(absent={name: _reason(name, run, "no layer was measured")})
    if deviating is None:
        return FlagFinding(absent={name: NO_BASELINE if thresholds.limit is None else TOO_SHORT})
    first = next(iter(where_it_began(deviating)), None)
    if first is None:
        return FlagFinding()
    return FlagFinding({"layer": first.layer, **first.evidence(), "layers": len({each.layer for each in deviating})})


def _mid_layer_anomaly(run: Run, thresholds: Thresholds, deviating: Sequence[Deviation] | None) -> FlagFinding:
    name = "mid_layer_anomaly_detected"
    norms = run.column("hidden_l2_norm")
    if norms is None or not len(norms):
        return FlagFinding(absent={name: _reason(name, run, "the layers were not measured")})
    middle = middle_third(norms.shape[1])
    if np.isnan(norms[:, middle.start : middle.stop]).all() and not _nonfinite_layer(run, middle):
        return FlagFinding(absent={name: "no layer of the middle third was looked at"})
    if bad := _nonfinite_layer(run, middle):
        return FlagFinding(bad)
    if deviating is None:
        return FlagFinding(absent={name: NO_BASELINE if thresholds.limit is None else TOO_SHORT})
    there = where_it_began([each for each in deviating if each.layer in middle and each.signal in OUTPUT_SIGNALS])
    return FlagFinding({} if not there else {"layer": there[0].layer, **there[0].evidence()})


def _nonfinite_layer(run: Run, layers: range) -> dict[str, Any]:
    """Return the first step and layer, of some, with a value that was not finite; empty where there is none."""
    bad = not_finite(run)
    if bad is None or not (here := bad[:, layers.start : layers.stop]).any():
        return {}
    step = int(here.any(1).argmax())
    return {"step": step, "layer": layers[int(here[step].argmax())], "norm": _NOT_FINITE}


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


def _unusual_collapse(fractions: NDArray[np.float64], profile: Profile, thresholds: Thresholds) -> dict[str, Any]:
    """Return the numbers of the first window whose fraction is unusual for the model; empty where there is none."""
    known = profile.signals["collapsed_share"].windows
    starts, medians = windows(fractions)
    usual = float(known.centre[0])
    far = known.beyond(medians[:, None], 1.0)[:, 0] & (medians > usual + thresholds.collapse_rise)
    if not far.any():
        return {}
    first = int(far.argmax())
    return {
        "step": int(starts[first]),
        "rate": round(float(medians[first]), 4),
        "usual": round(usual, 4),
        "threshold": round(usual + thresholds.collapse_rise, 4),
    }


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
    "layer_anomaly_detected": _layer_anomaly,
    "repetition_loop_detected": _repetition_loop,
}
"""Flag of the catalogue -> its definition, in the order in which `absent` names what could not be judged."""
