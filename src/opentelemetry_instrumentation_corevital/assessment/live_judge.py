"""Judges a run's steps as they arrive."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..run import Run
from .early_warning import EarlyWarningMonitor, Warned
from .repetition import Repetition
from .settled_loop import SettledLoop
from .step_event import StepEvent
from .thresholds import DEFAULT, Thresholds


class Judged(NamedTuple):
    """A step's event, and what policies need beside it."""

    event: StepEvent
    warned: Warned
    evidence: Mapping[str, Mapping[str, Any]]
    """Flag or warning -> the numbers that raised it; of a threshold the value that it is compared with."""

    @property
    def repetition(self) -> Repetition | None:
        """Return the repetition that is going on."""
        return self.warned.repetition


class LiveJudge:
    """Judges one sequence: constant time and state per step.

    Args:
        thresholds: of the judgements.
        early_warning: whether events have early warnings.
        prompt: returns the prompt's tokens; asked when a loop goes on.
    """

    def __init__(
        self,
        thresholds: Thresholds = DEFAULT,
        *,
        early_warning: bool = True,
        prompt: Callable[[], Sequence[int]] | None = None,
    ) -> None:
        self._monitor = EarlyWarningMonitor(thresholds)
        self._settled = SettledLoop(thresholds, prompt)
        self._early_warning = early_warning
        self._flags: dict[str, Mapping[str, Any]] = {}

    def judge(self, step: int, part: Run, token_text: str | None = None) -> Judged:
        """Take the next step, given as a Run of its own."""
        (warned,) = self._monitor.follow(part)
        self._raise(step, part, warned)
        values: dict[str, Any] = {
            "step_index": step,
            "token_id": int(part.tokens[0]),
            "token_text": token_text,
            "entropy": _number(part, "entropy"),
            "surprisal": _number(part, "surprisal"),
            "risk_so_far": warned.risk_so_far,
            "warning_signals": warned.signals,
            "margin": _number(part, "margin"),
            "failure_risk": warned.failure_risk,
            "flags": tuple(self._flags),
            "sequence_index": part.sequence_index,
            "time": int(part.time_ns[0]) / 1e9,
            "answer_so_far": warned.answer_so_far,
        }
        if not self._early_warning:
            del values["warning_signals"], values["failure_risk"]
        thresholds = {"risk": {"value": warned.risk_so_far}, "failure_risk": {"value": round(warned.failure_risk, 4)}}
        if warned.answer_so_far is not None:
            thresholds["answer"] = {"value": warned.answer_so_far}
        return Judged(StepEvent(values), warned, {**self._monitor.evidence, **self._flags, **thresholds})

    def _raise(self, step: int, part: Run, warned: Warned) -> None:
        """Raise the flags of this step. They stay raised, but for that of a loop, which holds while it is settled."""
        for flag, names in (("nan_detected", _NAN), ("inf_detected", _INF)):
            found = {name: int(np.nansum(part.columns[name])) for name in names if name in part.columns}
            if flag not in self._flags and any(found.values()):
                self._flags[flag] = {"step": step, **{name: count for name, count in found.items() if count}}
        surprisal = _number(part, "surprisal")
        settled = self._settled.update(
            step, int(part.tokens[0]), math.nan if surprisal is None else surprisal, warned.repetition
        )
        if settled and warned.repetition is not None:
            self._flags["repetition_loop_detected"] = warned.repetition.evidence()
        else:
            self._flags.pop("repetition_loop_detected", None)


_NAN = ("logits_nan", "hidden_nan")
_INF = ("logits_posinf", "hidden_inf")


def _number(part: Run, name: str) -> float | None:
    column = part.column(name)
    value = math.nan if column is None else float(np.asarray(column)[0])
    return value if math.isfinite(value) else None
