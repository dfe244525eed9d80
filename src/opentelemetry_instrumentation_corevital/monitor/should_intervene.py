"""Whether somebody should intervene in a run: what `intervene_on_risk_above` and `intervene_on_signals` come to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._internal.short_repr import call_like
from ..assessment.step_event import StepEvent
from ..policies import Condition, PolicyError, Trigger, condition, conditions
from ..run import Run

OnIntervene = Callable[[int, str], object]


class Advice(NamedTuple):
    """Why somebody should intervene in a run."""

    step: int
    """At which that became clear, counted from 0; the last one where only the finished run shows it."""
    reason: str
    """A flag or warning by its name in the catalogue, a threshold such as `risk>=0.8`, or a function's name."""
    evidence: Mapping[str, Any]
    """The numbers behind it."""

    def __repr__(self) -> str:
        """Return it bounded: evidence may be long."""
        return call_like(type(self).__name__, self._asdict())


def intervene_on(risk: float | None, signals: Trigger | Sequence[Trigger]) -> tuple[Condition, ...]:
    """Return when somebody should intervene.

    Args:
        risk: from which risk on; None: whatever the risk is.
        signals: the names of early warnings and flags, or whatever else a policy may act on.

    Raises:
        PolicyError: if one of them is none; the message names the keyword.
    """
    found: tuple[Condition, ...] = ()
    if risk is not None:
        if isinstance(risk, bool) or not isinstance(risk, int | float) or not 0 <= risk <= 1:
            raise PolicyError(f"intervene_on_risk_above is {risk!r}, but has to be a number from 0 to 1, or None")
        found = (condition(f"risk>={float(risk):g}"),)
    try:
        return found + (conditions(signals) if signals else ())
    except PolicyError as error:
        raise PolicyError(f"intervene_on_signals: {error}") from None


def first_true(found: Sequence[Condition], event: StepEvent) -> Condition | None:
    """Return the first condition that is true at a step."""
    return next((each for each in found if each.holds(event)), None)


def as_event(run: Run, *, early_warning: bool) -> StepEvent:
    """Return a finished run as a step's event: what conditions of a step say of the whole run.

    Its `risk_so_far` is the run's risk, 0 where that was not judged, and its `answer_so_far` the answer risk; its flags
    and warnings are those of the run.
    """
    last, warning = run.steps - 1, run.early_warning
    values: dict[str, Any] = {
        "step_index": max(0, last),
        "token_id": int(run.tokens[last]) if last >= 0 else None,
        "token_text": None,
        **{name: _last(run, name) for name in ("entropy", "surprisal")},
        "risk_so_far": 0.0 if run.risk is None else run.risk.score,
        "warning_signals": () if warning is None else tuple(warning.signals),
        "margin": _last(run, "margin"),
        "failure_risk": (None if warning is None else warning.failure_risk_at_end) or 0.0,
        "flags": tuple(run.health.raised()) if run.health is not None else (),
        "sequence_index": run.sequence_index,
        "time": run.end_ns / 1e9,
        "answer_so_far": None if run.answer is None else run.answer.probability,
    }
    if not early_warning:
        del values["warning_signals"], values["failure_risk"]
    return StepEvent(values)


def evidence_of(run: Run, name: str) -> dict[str, Any]:
    """Return the numbers that made a condition true of a finished run."""
    for found in (run.health, run.early_warning):
        if found is not None and name in found.evidence:
            return dict(found.evidence[name])
    if name.startswith("risk>") and run.risk is not None:
        return {"value": run.risk.score}
    if name.startswith("answer>") and run.answer is not None:
        return {"value": run.answer.probability}
    return {}


def _last(run: Run, name: str) -> float | None:
    values = run.column(name)
    if values is None or not len(values) or not np.isfinite(values[-1]):
        return None
    return float(values[-1])
