"""Early warning: what a run's numbers say while it goes on.

One object takes a step at a time from bounded state; a finished run is judged by the same code, step by step, so
that what a live stream was told and what the span says cannot differ.

`risk_so_far` is the `rules` risk (`risk.py`) of the run if it were cut off at the step, from the flags that bounded
state can show: NaN, infinity, repetition loop, and the fraction of high-entropy steps. Not in it: flags of layers,
which rest on the run as a whole, and -Inf logits, which are a mask or a fault by whether their number stays the same to
the end.

`failure_risk` is an estimate of how likely the run is to end in a failure (`failure_risk.py`).

From the first step on at which a number was not finite there are no warnings: what follows is its consequence.

The signals compare the run with itself: a window of the last steps with all steps before it, a layer's norm with its
mean so far, collapsed heads with those of the earlier attention samples. Where the model has a baseline, the numbers
also have to be beyond what is usual for it (`usual.py`). What warns does so from the fourth step in a row on.

A repetition that soon passes is told to whoever watches, and stays among the finished run's `signals`, but it is no
warning of the finished run (`lasting`): ordinary text repeats a phrase now and then.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

import numpy as np

from ..baselines.profiled_signals import collapsed_fractions
from ..catalogue.verdict import WarningSignal
from ..catalogue.verdicts import EARLY_WARNINGS
from ..run import EarlyWarning, Run, middle_third
from .answer_risk import answer_model
from .answer_so_far import AnswerSoFar
from .collapse import CollapseDetector
from .ending import ended_itself, failed_by_numbers
from .failure_risk import failure_risk
from .history import NormHistory, Window
from .repetition import Repetition, RepetitionDetector
from .risk import FLAG_RISK, SCORE_DIGITS, entropy_part
from .thresholds import DEFAULT, Thresholds
from .usual import BEYOND_STEPS, ROUGH_DEVIATIONS, Bound, WarningBounds, largest_entropy

SIGNALS: Final = tuple(warning.name for warning in EARLY_WARNINGS)

NORM_DEVIATIONS: Final = 3.0
"""Standard deviations of the logarithm of a layer's norm by which a norm has to be off for `norm_jump` ..."""
NORM_STEPS: Final = (4, 8)
"""... at so many of so many last steps: a healthy layer reacts to single tokens."""
LASTING_TOKENS: Final = 32
"""Tokens for which a repetition has to go on to be a warning of the finished run, if it becomes no loop before."""


class StepNumbers(NamedTuple):
    """One step's numbers; NaN where a signal was not measured."""

    token: int
    entropy: float = math.nan
    margin: float = math.nan
    top1_prob: float = math.nan
    nonfinite: bool = False
    collapsed: float = math.nan
    """Fraction of collapsed heads over the layers."""
    log_norms: Sequence[float] = ()
    """Natural logarithms of the norms of the middle third of the layers; empty where they were not measured."""
    first_middle: int = 0
    """Index of the first of these layers."""
    most_entropy: float = largest_entropy(None)
    """That the model's vocabulary allows, bit."""
    surprisal: float = math.nan


class Warned(NamedTuple):
    """What holds at a step."""

    signals: tuple[str, ...]
    failure_risk: float
    risk_so_far: float
    repetition: Repetition | None
    answer_so_far: float | None = None
    """None outside the support of the answer risk."""


class EarlyWarningMonitor:
    """Judges a run as it goes on: constant time and state per step."""

    def __init__(self, thresholds: Thresholds = DEFAULT) -> None:
        self._thresholds = thresholds
        usual = self._usual = WarningBounds.of(thresholds)
        self._high_entropy = usual.high_entropy
        self._beyond: dict[str, tuple[int, int]] = {}  # signal -> last step beyond what is usual, and how many in a row
        self._repetition = RepetitionDetector(thresholds)
        self._collapse = CollapseDetector(thresholds)
        self._norms = NormHistory(thresholds.norm_jump, thresholds.norm_steps, NORM_DEVIATIONS)
        self._jumps = 0  # the last steps as bits, the newest lowest: 1 where a norm was off
        self._entropy = Window(thresholds.window, high=math.inf if usual.entropy is None else usual.entropy.value)
        self._margin = Window(thresholds.window, low=-math.inf if usual.margin is None else usual.margin.value)
        self._top1 = Window(thresholds.window, low=-math.inf if usual.top1_prob is None else usual.top1_prob.value)
        self._step = -1
        self._most_entropy = largest_entropy(None)
        self._high_entropy_steps = 0
        self._nonfinite = False
        self._answer = AnswerSoFar(answer_model(thresholds))
        self._repeated = 0  # steps in a row
        self.evidence: dict[str, dict[str, Any]] = {}
        """Signal -> the numbers of its first warning."""

    def update(self, step: StepNumbers) -> Warned:
        """Take the next step and return what holds at it."""
        token, entropy, margin, top1_prob, nonfinite, collapsed, log_norms, first, self._most_entropy, surprisal = step
        self._step += 1
        self._entropy.add(entropy)
        self._margin.add(margin)
        self._top1.add(top1_prob)
        self._high_entropy_steps += entropy > self._high_entropy.value
        self._nonfinite |= nonfinite
        repetition = self._repetition.update(token)
        loop = repetition is not None and repetition.loop
        if self._nonfinite:  # what follows is its consequence, no warning
            return Warned((), 1.0, self._risk_so_far(loop), repetition)
        signals: list[str] = []
        self._repeated = 0 if repetition is None else self._repeated + 1
        if repetition is not None:
            self._warn(signals, "repetition_risk", lambda: {**repetition.evidence(), "lasting": False})
            if loop or self._repeated >= LASTING_TOKENS:
                self.evidence["repetition_risk"]["lasting"] = True
        self._logits_warn(signals)
        if not math.isnan(collapsed):
            self._collapse_warns(signals, collapsed)
        if log_norms and self._step:
            self._norms_warn(signals, log_norms, first)
        return Warned(
            tuple(signals),
            failure_risk(nonfinite=False, loop=loop, recurring=self._repetition.recurring),
            self._risk_so_far(loop),
            repetition,
            self._answer.add(surprisal, entropy, margin, top1_prob),
        )

    def follow(self, part: Run) -> Iterator[Warned]:
        """Take the steps of a run, or of its next part, and yield what holds at each."""
        for step in _steps(part):
            yield self.update(step)

    def _warn(self, signals: list[str], name: str, evidence: Callable[[], Mapping[str, Any]]) -> None:
        signals.append(name)
        if name not in self.evidence:
            self.evidence[name] = {"step": self._step, **evidence()}

    def _logits_warn(self, signals: list[str]) -> None:
        """Add what the window of the last steps says of the logits; a window that is not full is NaN."""
        limits, usual = self._thresholds, self._usual
        entropy, margin, top1 = self._entropy, self._margin, self._top1
        if usual.entropy is None:
            least = entropy.base_mean + limits.rough_entropy_rise * (self._most_entropy - entropy.base_mean)
            if entropy.base_count >= limits.base_steps and entropy.mean > least:
                rise = max(limits.entropy_rise_bits, ROUGH_DEVIATIONS * entropy.base_deviation)
                least = max(least, entropy.base_mean + rise)
                self._beyond_for_long(signals, "entropy_rising", entropy.mean, Bound(least, "rough"), 1)
        elif entropy.often_outside and entropy.base_count >= limits.base_steps:
            rises = entropy.mean > entropy.base_mean + limits.entropy_rise_deviations * entropy.base_deviation
            self._beyond_for_long(signals, "entropy_rising", entropy.median, usual.entropy, 1, holds=rises)
        if usual.margin is None:
            if margin.mean < limits.margin_collapsed * top1.mean:
                fallen = Bound(limits.margin_collapsed, "rough")
                self._beyond_for_long(signals, "margin_collapsing", margin.mean / top1.mean, fallen, -1)
        elif margin.often_outside:
            self._beyond_for_long(signals, "margin_collapsing", margin.median, usual.margin, -1)
        if top1.base_count < limits.base_steps:
            return
        if usual.top1_prob is None:
            least = limits.rough_confidence * top1.base_mean
            self._beyond_for_long(signals, "confidence_drop", top1.mean, Bound(least, "rough"), -1)
        elif top1.often_outside and top1.mean < limits.confidence_share * top1.base_mean:
            self._beyond_for_long(signals, "confidence_drop", top1.median, usual.top1_prob, -1)

    def _beyond_for_long(
        self, signals: list[str], name: str, value: float, bound: Bound, side: int, *, holds: bool = True
    ) -> None:
        """Warn where a number is beyond a bound on a side (1: above) for some steps in a row."""
        if not holds or not side * value > side * bound.value:
            return
        last, count = self._beyond.get(name, (-1, 0))
        count = count + 1 if last == self._step - 1 else 1
        self._beyond[name] = self._step, count
        if count >= BEYOND_STEPS:
            self._warn(signals, name, lambda: bound.evidence(value))

    def _collapse_warns(self, signals: list[str], collapsed: float) -> None:
        self._collapse.update(collapsed)
        if not self._collapse.rises:
            return
        rising, usual = self._collapse.rising(), self._usual.collapsed
        if usual is None:
            self._warn(signals, "attention_collapsing", lambda: {**rising, "threshold_source": "rough"})
        elif rising["value"] > usual.value:
            self._warn(signals, "attention_collapsing", lambda: usual.evidence(rising["value"]))

    def _norms_warn(self, signals: list[str], log_norms: Sequence[float], first: int) -> None:
        jump = self._norms.add(log_norms)
        least, of = NORM_STEPS
        if jump is None:
            self._jumps = self._jumps << 1 & (1 << of) - 1
            return
        index, times = jump
        layer, norm = first + index, log_norms[index]
        bound = self._norm_bound(layer, above=times > 1)
        out = bound is None or (norm > bound if times > 1 else norm < bound)
        self._jumps = (self._jumps << 1 | out) & (1 << of) - 1
        if out and self._jumps.bit_count() >= least:
            self._warn(signals, "norm_jump", lambda: _jump(layer, times, norm, bound, self._thresholds))

    def _norm_bound(self, layer: int, *, above: bool) -> float | None:
        """Return the logarithm of the norm beyond which a layer is out on a side; None where that is not known."""
        known = self._usual.log_norms
        if known is None or layer >= len(known[above]):
            return None
        return known[above][layer]

    def _risk_so_far(self, loop: bool) -> float:
        """Return the `rules` risk of the run if it were cut off here, from the flags that can be told online."""
        raised = {
            "nan_detected": self._nonfinite,
            "repetition_loop_detected": loop,
        }
        worst = max((FLAG_RISK[flag] for flag, holds in raised.items() if holds), default=0.0)
        part = entropy_part(self._high_entropy_steps, self._step + 1, self._high_entropy.source)
        return round(min(1.0, worst + part), SCORE_DIGITS)


def judge_early_warning(run: Run, thresholds: Thresholds = DEFAULT) -> EarlyWarning:
    """Replay a finished run through the monitor."""
    monitor = EarlyWarningMonitor(thresholds)
    failure: list[float] = []
    risk: list[float] = []
    answer: list[float] = []
    active: dict[int, tuple[str, ...]] = {}
    order: dict[str, None] = {}
    for index, warned in enumerate(monitor.follow(run)):
        failure.append(warned.failure_risk)
        risk.append(warned.risk_so_far)
        answer.append(math.nan if warned.answer_so_far is None else warned.answer_so_far)
        if warned.signals:
            active[index] = warned.signals
            order.update(dict.fromkeys(warned.signals))
    return EarlyWarning(
        failure_risk=np.array(failure, np.float32),
        risk_so_far=np.array(risk, np.float32),
        signals=tuple(order),
        first_step=min(active, default=None),
        active=active,
        failure_risk_at_end=_at_end(run, failure),
        evidence=monitor.evidence,
        absent=_absent(run),
        answer_so_far=np.array(answer, np.float32),
    )


def lasting(warning: EarlyWarning) -> tuple[str, ...]:
    """Return the signals that are warnings of the finished run, too: those that did not soon pass."""
    return tuple(name for name in warning.signals if warning.evidence.get(name, {}).get("lasting", True))


def _at_end(run: Run, failure: Sequence[float]) -> float | None:
    """Return the failure risk of the finished run, of which the end is known; None for a run without a step.

    It failed where a number was not finite; it did not end in a loop where it ended itself.
    """
    if run.failed_step or failed_by_numbers(run):
        return 1.0
    if not run.steps:
        return None
    return 0.0 if ended_itself(run) and failure[-1] < 1 else round(float(failure[-1]), 4)


def _absent(run: Run) -> dict[str, str]:
    return {warning.name: reason for warning in EARLY_WARNINGS if (reason := _why_absent(run, warning))}


def _why_absent(run: Run, warning: WarningSignal) -> str | None:
    """Return why a warning cannot be judged; None where it can."""
    if not warning.signal:
        return None if run.output_tokens is not None else run.absent["output_tokens"]
    if run.column(warning.signal) is not None:
        return None
    return run.absent.get(warning.signal) or run.absent.get(warning.needs, f"needs {warning.signal}")


def _steps(run: Run) -> Iterator[StepNumbers]:
    nothing = np.full(run.steps, np.nan, np.float32)
    zero = np.zeros(run.steps, np.int32)
    columns = [run.columns.get(name, nothing).tolist() for name in ("entropy", "margin", "top1_prob", "surprisal")]
    # A -Inf is a legal logit here, as in `signals.py`; `health.py` judges it with the whole run in view.
    nonfinite = (run.columns.get("logits_nan", zero) + run.columns.get("logits_posinf", zero)) > 0
    for name in ("hidden_nan", "hidden_inf"):
        if name in run.columns:
            nonfinite = nonfinite | (run.columns[name] > 0).any(1)
    fractions = collapsed_fractions(run)
    collapsed = nothing if fractions is None else fractions
    first, norms = _log_norms(run)
    same = repeat(first, run.steps), repeat(largest_entropy(run.model.vocabulary_size), run.steps)
    *logits, surprisal = columns
    rows = zip(
        run.tokens.tolist(), *logits, nonfinite.tolist(), collapsed.tolist(), norms, *same, surprisal, strict=True
    )
    return map(StepNumbers._make, rows)


def _log_norms(run: Run) -> tuple[int, list[Any]]:
    """Return the middle third's first layer, and its layers' logarithms of the norm at each step."""
    norms = run.column("hidden_l2_norm")
    if norms is None or not norms.size:
        return 0, [()] * run.steps
    middle = middle_third(norms.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: list[Any] = np.log(norms[:, middle.start : middle.stop].astype(np.float64)).tolist()
    return middle.start, logs


def _jump(layer: int, times: float, log_norm: float, bound: float | None, limits: Thresholds) -> dict[str, Any]:
    """Return the numbers of a norm: how many times its mean it is; and itself, where the baseline knows its bound."""
    told = {"layer": layer, "value": float(f"{times:.4g}"), "threshold": limits.norm_jump, "threshold_source": "rough"}
    if bound is None:
        return told
    norm, most = (float(f"{math.exp(each):.4g}") for each in (log_norm, bound))
    return {"layer": layer, "times": told["value"], "value": norm, "threshold": most, "threshold_source": "baseline"}
