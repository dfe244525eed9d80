"""Early warning: what a run's numbers say while it goes on.

One object takes a step at a time from bounded state; a finished run is judged by the same code, step by step, so
that what a live stream was told and what the span says cannot differ.

`risk_so_far` is the `rules` risk (`risk.py`) of the run if it were cut off at the step, from the flags that bounded
state can tell: NaN, infinity, repetition loop and attention collapse, and the share of high-entropy steps. Not in it:
the anomaly of a middle layer, which is measured against the layer's median over the whole run, and -Inf logits, which
are a mask or a fault by whether their number stays the same to the end.

`failure_risk` is a documented starting rule, not yet a calibrated probability: 1 - prod(1 - w) over the signals that
warned within the last window, with w = 0.9 for a loop, 0.6 for `repetition_risk`, 0.25 for `entropy_rising` and 0.15
for `margin_collapsing` and for `confidence_drop`; 1 once a logit was NaN or +Inf, or a layer's output NaN or infinite.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..run import EarlyWarning, Run
from .collapse import CollapseDetector
from .layers import collapsed_shares
from .repetition import Repetition, RepetitionDetector
from .risk import ENTROPY_SHARE_WEIGHT, FLAG_RISK
from .thresholds import DEFAULT, Thresholds

SIGNALS: Final = ("repetition_risk", "entropy_rising", "margin_collapsing", "confidence_drop")

_WEIGHT: Final = {
    "repetition_risk": 0.6,
    "entropy_rising": 0.25,
    "margin_collapsing": 0.15,
    "confidence_drop": 0.15,
}
_LOOP_WEIGHT: Final = 0.9


@dataclass(frozen=True, slots=True)
class Step:
    """One step's numbers; NaN where a signal was not measured."""

    token: int
    entropy: float = math.nan
    margin: float = math.nan
    top1_prob: float = math.nan
    nonfinite: bool = False
    collapsed: float = math.nan
    """Share of collapsed heads over the layers."""


@dataclass(frozen=True, slots=True)
class Warned:
    """What holds at a step."""

    signals: tuple[str, ...]
    failure_risk: float
    risk_so_far: float
    repetition: Repetition | None


class _Window:
    """Mean over the last steps, and mean and deviation of those before them."""

    def __init__(self, size: int) -> None:
        self._recent: deque[float] = deque(maxlen=size)
        self.base_count = 0
        self.base_mean = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        if not math.isfinite(value):
            return
        if len(self._recent) == self._recent.maxlen:  # Welford's update with the value that leaves the window
            old = self._recent[0]
            self.base_count += 1
            delta = old - self.base_mean
            self.base_mean += delta / self.base_count
            self._squares += delta * (old - self.base_mean)
        self._recent.append(value)

    @property
    def full(self) -> bool:
        return len(self._recent) == self._recent.maxlen

    @property
    def mean(self) -> float:
        return math.fsum(self._recent) / len(self._recent)

    @property
    def base_deviation(self) -> float:
        return math.sqrt(self._squares / self.base_count) if self.base_count else 0.0


class EarlyWarningMonitor:
    """Judges a run as it goes on: constant time and state per step."""

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._thresholds = thresholds
        self._repetition = RepetitionDetector(thresholds)
        self._collapse = CollapseDetector(thresholds)
        self._entropy = _Window(thresholds.window)
        self._margin = _Window(thresholds.window)
        self._top1 = _Window(thresholds.window)
        self._last_warned: dict[str, int] = {}
        self._step = -1
        self._high_entropy_steps = 0
        self._nonfinite = False
        self.evidence: dict[str, dict[str, Any]] = {}
        """Signal -> the numbers of its first warning."""

    def update(self, step: Step) -> Warned:
        """Take the next step and return what holds at it."""
        self._step += 1
        self._entropy.add(step.entropy)
        self._margin.add(step.margin)
        self._top1.add(step.top1_prob)
        self._high_entropy_steps += step.entropy > self._thresholds.high_entropy_bits
        self._nonfinite |= step.nonfinite
        self._collapse.update(self._step, step.collapsed)
        repetition = self._repetition.update(step.token)
        found = {
            "repetition_risk": None if repetition is None else repetition.evidence(),
            "entropy_rising": self._entropy_rising(),
            "margin_collapsing": self._margin_collapsing(),
            "confidence_drop": self._confidence_drop(),
        }
        signals = []
        for name, evidence in found.items():
            if evidence is not None:
                signals.append(name)
                self._last_warned[name] = self._step
                self.evidence.setdefault(name, {"step": self._step, **evidence})
        return Warned(tuple(signals), self._failure_risk(repetition), self._risk_so_far(repetition), repetition)

    def _entropy_rising(self) -> dict[str, float] | None:
        window, limits = self._entropy, self._thresholds
        if not window.full or window.base_count < limits.base_steps:
            return None
        threshold = window.base_mean + max(
            limits.entropy_rise_bits, limits.entropy_rise_deviations * window.base_deviation
        )
        return _numbers(window.mean, threshold) if window.mean > threshold else None

    def _margin_collapsing(self) -> dict[str, float] | None:
        window, threshold = self._margin, self._thresholds.margin_collapsed
        return _numbers(window.mean, threshold) if window.full and window.mean < threshold else None

    def _confidence_drop(self) -> dict[str, float] | None:
        window, limits = self._top1, self._thresholds
        if not window.full or window.base_count < limits.base_steps:
            return None
        threshold = limits.confidence_share * window.base_mean
        return _numbers(window.mean, threshold) if window.mean < threshold else None

    def _failure_risk(self, repetition: Repetition | None) -> float:
        if self._nonfinite:
            return 1.0
        healthy = 1.0
        for name, step in self._last_warned.items():
            if self._step - step < self._thresholds.window:
                loops = name == "repetition_risk" and repetition is not None and repetition.loop
                healthy *= 1.0 - (_LOOP_WEIGHT if loops else _WEIGHT[name])
        return 1.0 - healthy

    def _risk_so_far(self, repetition: Repetition | None) -> float:
        """Return the `rules` risk of the run if it were cut off here, from the flags that can be told online."""
        raised = {
            "nan_detected": self._nonfinite,
            "repetition_loop_detected": repetition is not None and repetition.loop,
            "attention_collapse_detected": bool(self._collapse.evidence()),
        }
        worst = max(FLAG_RISK[flag] * holds for flag, holds in raised.items())
        return min(1.0, worst + ENTROPY_SHARE_WEIGHT * self._high_entropy_steps / (self._step + 1))


def judge_early_warning(run: Run, thresholds: Thresholds = DEFAULT) -> EarlyWarning:
    """Replay a finished run through the monitor."""
    monitor = EarlyWarningMonitor(thresholds)
    failure = np.zeros(run.steps, np.float32)
    risk = np.zeros(run.steps, np.float32)
    active: dict[int, tuple[str, ...]] = {}
    order: dict[str, None] = {}
    for index, step in enumerate(_steps(run)):
        warned = monitor.update(step)
        failure[index], risk[index] = warned.failure_risk, warned.risk_so_far
        if warned.signals:
            active[index] = warned.signals
            order.update(dict.fromkeys(warned.signals))
    needs = {"entropy_rising": "entropy", "margin_collapsing": "margin", "confidence_drop": "top1_prob"}
    return EarlyWarning(
        failure_risk=failure,
        risk_so_far=risk,
        signals=tuple(order),
        first_step=min(active, default=None),
        active=active,
        failure_risk_at_end=1.0 if run.failed_step else float(failure[-1]) if run.steps else None,
        evidence=monitor.evidence,
        absent={
            name: run.absent.get(column, f"needs {column}")
            for name, column in needs.items()
            if run.column(column) is None
        },
    )


def _steps(run: Run) -> list[Step]:
    nothing = np.full(run.steps, np.nan, np.float32)
    zero = np.zeros(run.steps, np.int32)
    columns = [run.columns.get(name, nothing).tolist() for name in ("entropy", "margin", "top1_prob")]
    # A -Inf is a legal logit here, as in `signals.py`; `health.py` judges it with the whole run in view.
    nonfinite = (run.columns.get("logits_nan", zero) + run.columns.get("logits_posinf", zero)) > 0
    for name in ("hidden_nan", "hidden_inf"):
        if name in run.columns:
            nonfinite = nonfinite | (np.nan_to_num(run.columns[name]) > 0).any(1)
    shares = collapsed_shares(run)
    collapsed = nothing if shares is None else shares
    rows = zip(run.tokens.tolist(), *columns, nonfinite.tolist(), collapsed.tolist(), strict=True)
    return [Step(*row) for row in rows]


def _numbers(value: float, threshold: float) -> dict[str, float]:
    return {"value": round(value, 4), "threshold": round(threshold, 4)}
