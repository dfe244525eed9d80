"""What goes on in a store right now, as a page shows it: calls with steps but no span yet, and runs that just came."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .. import semconv
from .._internal.printable import one_line, printable
from ..assessment.risk import risk_level
from ..catalogue.spelling import for_people
from ..store import RunSource, RunSummary
from ..store.arriving_steps import LiveStep, RunningCall
from ..store.checked_attributes import is_id
from ..store.filters import LEVELS

RECENT_NS: Final = 600 * 10**9
"""A call of which no step has come for so long is not among those that go on: its process may have been killed."""
MOST_CALLS: Final = 50
MOST_FINISHED: Final = 20
_MOST_STEPS: Final = 2000
_FIRST_STEPS: Final = 200
"""So many of the newest steps are read of a call that is met in its middle: enough for how it stands."""
_MOST_ENTROPIES: Final = 60
_MOST_NAME: Final = 80
_MOST_WARNINGS: Final = 8

STEP_SIGNALS: Final = {
    "entropy": semconv.STEP_ENTROPY,
    "surprisal": semconv.STEP_SURPRISAL,
    "margin": semconv.STEP_MARGIN,
    "top1_prob": semconv.STEP_TOP1_PROB,
    "risk_so_far": semconv.STEP_RISK_SO_FAR,
    "answer_so_far": semconv.STEP_ANSWER_SO_FAR,
}
"""Name -> attribute of the step's event: what an open run's page draws."""
STEP_FIELDS: Final = ("sequence", "step", *STEP_SIGNALS, "warnings", "text")


@dataclass(slots=True)
class CallSoFar:
    """What the steps of a call have said so far, as far as a line of a list needs it."""

    call: RunningCall
    behind: int
    steps: dict[int, int] = field(default_factory=dict)
    """Sequence -> its steps."""
    risk: dict[int, float] = field(default_factory=dict)
    warnings: dict[int, tuple[str, ...]] = field(default_factory=dict)
    entropies: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_ENTROPIES))
    """Of the first sequence, in bit: the newest ones."""

    def read(self, source: RunSource) -> None:
        """Read the steps that came since."""
        while steps := source.live_steps(self.call, self.behind, limit=_MOST_STEPS):
            self.behind = steps[-1].key
            for step in sorted(steps, key=lambda step: step.step_index):  # a Collector may send them out of order
                self._take(step)
            if len(steps) < _MOST_STEPS:
                break

    def _take(self, step: LiveStep) -> None:
        sequence = step.sequence_index
        if step.step_index < self.steps.get(sequence, 0):
            return  # a second delivery
        self.steps[sequence] = step.step_index + 1
        if step.risk_so_far is not None:
            self.risk[sequence] = step.risk_so_far
        self.warnings[sequence] = tuple(step.warning_signals or ())
        if step.entropy is not None and sequence == min(self.steps):
            self.entropies.append(step.entropy)

    def shown(self) -> dict[str, Any]:
        """Return what a page shows of it, as JSON takes it."""
        risk = max(self.risk.values(), default=None)
        names = dict.fromkeys(name for found in self.warnings.values() for name in found)
        return {
            "id": f"{self.call.trace_id}/{self.call.span_id}",
            "name": self.call.trace_id[:12],
            "service": one_line(self.call.service_name, _MOST_NAME),
            "steps": max(self.steps.values(), default=0),
            "sequences": max(1, len(self.steps)),
            "risk": rounded(risk),
            "level": None if risk is None else risk_level(risk),
            "spark": spark_points(list(self.entropies)),
            "warnings": [one_line(for_people(name), _MOST_NAME) for name in names][:_MOST_WARNINGS],
        }


@dataclass(slots=True)
class LiveBoard:
    """All that goes on. `update` reads what is new; between two updates nothing is asked."""

    calls: dict[tuple[str, str], CallSoFar] = field(default_factory=dict)
    finished: list[RunSummary] = field(default_factory=list)
    _behind: int = 0
    _steps_come: bool = False

    def update(self, source: RunSource, now_ns: int) -> None:
        """Read what came since the last update.

        Args:
            source: where the steps come.
            now_ns: Unix time.

        Raises:
            StoreError: if the source cannot be read.
        """
        self._steps_come = self._steps_come or source.has_live_steps()
        for call in source.live_calls(self._behind, now_ns - RECENT_NS) if self._steps_come else ():
            self._behind = max(self._behind, call.last_key)
            key = (call.trace_id, call.span_id)
            known = self.calls.pop(key, None) or CallSoFar(call, max(0, call.last_key - _FIRST_STEPS))
            known.call = call
            known.read(source)
            self.calls[key] = known  # the newest is the last
        for key in [key for key, each in self.calls.items() if _over(source, each, now_ns)]:
            del self.calls[key]
        for key in list(self.calls)[:-MOST_CALLS]:
            del self.calls[key]
        self.finished = list(source.arrived(now_ns - RECENT_NS, limit=MOST_FINISHED))

    def shown(self) -> dict[str, Any]:
        """Return what a page shows, as JSON takes it: the newest first."""
        return {
            "running": [each.shown() for each in reversed(self.calls.values())],
            "finished": [
                finished_run(run) for run in self.finished if is_id(run.trace_id, 32) and is_id(run.span_id, 16)
            ],
        }


def _over(source: RunSource, call: CallSoFar, now_ns: int) -> bool:
    """Return whether a call's span has come, or no step for so long that none is expected."""
    return now_ns - call.call.arrived_ns > RECENT_NS or source.runs_of(call.call) is not None


def finished_run(run: RunSummary) -> dict[str, Any]:
    """Return what a page shows of a run that has just come."""
    return {
        "id": f"{run.trace_id}/{run.span_id}",
        "name": one_line(run.trace_id[:12], _MOST_NAME),
        "model": one_line(run.model or "model unknown", _MOST_NAME),
        "steps": run.output_tokens,
        "risk": rounded(run.risk_score),
        "level": run.risk_level if run.risk_level in LEVELS else None,
        "flags": [for_people(flag) for flag in run.flags],
        "started_ns": run.start_ns,
        "started_ms": run.start_ns // 10**6,
    }


def step_rows(steps: Sequence[LiveStep]) -> list[list[Any]]:
    """Return steps as rows for a page, in the order of `STEP_FIELDS`."""
    return [
        [
            step.sequence_index,
            step.step_index,
            *(rounded(step.attributes.get(name)) for name in STEP_SIGNALS.values()),
            [one_line(for_people(name), _MOST_NAME) for name in step.warning_signals or ()][:_MOST_WARNINGS],
            None if step.token_text is None else printable(step.token_text[:_MOST_NAME]),
        ]
        for step in steps
    ]


def spark_points(values: Sequence[float]) -> str:
    """Return the points of a line through values, in a box of 100 by 24."""
    highest, across = max(1e-9, *values, 0.0), 100 / max(1, len(values) - 1)
    return " ".join(f"{at * across:.1f},{23 - 22 * value / highest:.1f}" for at, value in enumerate(values))


def rounded(value: Any) -> float | None:
    """Return a number with four decimals; None for what is none, which JSON could not carry either."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(float(value), 4)


EMPTY_CALL: Final = CallSoFar(RunningCall("", "", "", 0, 0), 0).shown()
"""What scripts fill for a call that the page did not have when it was made."""
EMPTY_RUN: Final[dict[str, Any]] = {
    "id": "", "name": "", "model": "", "steps": None, "risk": None, "level": None, "flags": [], "started_ns": None
}  # fmt: skip
"""The same for a run that comes."""
