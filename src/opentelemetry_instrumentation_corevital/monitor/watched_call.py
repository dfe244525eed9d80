"""One call while it goes on: how it stands, whether somebody should intervene, and who is told of each step."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.trace import SpanContext

from .._internal.error_text import describe
from ..assessment.live_judge import Judged
from ..assessment.step_event import StepEvent
from ..instrumentation.live_consumer import CallRecorder, LiveConsumer
from ..policies import Condition
from ..run import Run
from .should_intervene import Advice, OnIntervene, as_event, evidence_of, first_true
from .token_text import TokenDecoder

logger = logging.getLogger(__name__)

StepCallback = Callable[[StepEvent], object]
_STOP: Final = "stop"


@dataclass(frozen=True, slots=True)
class WatchRules:
    """How a monitor watches its calls."""

    intervene_on: tuple[Condition, ...]
    on_step: StepCallback | None
    on_intervene: OnIntervene | None
    early_warning: bool


class WatchedCall:
    """What is known of one call; it is written on the thread that generates, and may be read on any.

    Args:
        rules: how it is watched.
        hand_on: gets each step once it is judged.
    """

    def __init__(self, rules: WatchRules, hand_on: Callable[[StepEvent], object] | None = None) -> None:
        self.tokenizer: Any = None
        """Makes text of its tokens; None: there is no text."""
        self.early_warning = rules.early_warning
        self.runs: Sequence[Run] = ()
        """Its judged sequences; empty until it has ended."""
        self.span_context: SpanContext | None = None
        """The ids of its span."""
        self.retries = 0
        """Calls before this one that it is a repetition of."""
        self.advice: Advice | None = None
        self.steps = 0
        """Steps of all its sequences that were handed on."""
        self.attributes: Mapping[str, Any] = {}
        """What its span says beside its runs."""
        self._rules = rules
        self._hand_on = hand_on
        self._decoder: TokenDecoder | None = None
        self._risk: dict[int, float] = {}
        self._answer: dict[int, float | None] = {}
        self._signals: dict[str, None] = {}
        self._evidence: Mapping[str, Mapping[str, Any]] = {}
        self._told = set[str]()

    @property
    def risk_so_far(self) -> float:
        """Return the running risk, of the worst sequence; 0 before the first step."""
        return max(list(self._risk.values()), default=0.0)

    @property
    def answer_so_far(self) -> float | None:
        """Return the running answer risk, of the worst sequence; None where none has it."""
        return max((each for each in list(self._answer.values()) if each is not None), default=None)

    @property
    def signals_so_far(self) -> list[str] | None:
        """Return the early warnings so far, in the order in which they came; None where none are made."""
        return list(self._signals) if self.early_warning else None

    def decode_with(self, tokenizer: Any) -> None:
        """Make text of the call's tokens with a tokenizer; None: make none."""
        self.tokenizer = tokenizer
        self._decoder = None if tokenizer is None else TokenDecoder(tokenizer)

    @property
    def may_stop(self) -> bool:
        """Whether the callback of a step may end a sequence."""
        return self._rules.on_step is not None

    def text(self, sequence: int, token: int) -> str:
        """Return what a sequence's next token adds to its text."""
        return "" if self._decoder is None else self._decoder(sequence, token)

    def why_no_steps(self) -> str | None:
        """Return why a finished call whose steps somebody reads has none; None where it has, or nobody reads them."""
        if self._hand_on is None or self.steps or not any(run.output_tokens for run in self.runs):
            return None
        return next((run.absent["entropy"] for run in self.runs if "entropy" in run.absent), None)

    def consumer(self, recorder: CallRecorder | None, is_cancelled: Callable[[], bool]) -> LiveConsumer:
        """Return what watches the call.

        Args:
            recorder: records it.
            is_cancelled: asked at each step: whether it ends there.
        """
        return LiveConsumer(
            judged=self.judged,
            listener=self.listen,
            may_stop=self.may_stop,
            rolled_back=self.rolled_back,
            token_text=self._decoder,
            early_warning=self.early_warning,
            is_cancelled=is_cancelled,
            finished=self.finished,
            recorder=recorder,
        )

    def judged(self, judged: Judged) -> None:
        """Take a step's evidence."""
        self._evidence = judged.evidence

    def listen(self, event: StepEvent) -> object:
        """Take a step: first what is known of it, then the callbacks, then who reads the steps."""
        self.steps += 1
        self._risk[event.sequence_index] = event.risk_so_far
        self._answer[event.sequence_index] = event.answer_so_far
        self._signals.update(dict.fromkeys(event.get("warning_signals", ())))
        answer = None
        try:
            if self.advice is None and (found := self._true_at(event)) is not None:
                evidence = self._evidence.get(found.name.partition(">")[0], {})
                self._advise(Advice(event.step_index, found.name, dict(evidence)))
            if self._rules.on_step is not None:
                answer = self._asked(self._rules.on_step, event)
        finally:
            if self._hand_on is not None:
                self._hand_on(event)
        return answer

    def _true_at(self, event: StepEvent) -> Condition | None:
        try:
            return first_true(self._rules.intervene_on, event)
        except Exception as error:  # a function of the user's
            self._tell("intervene_on_signals", error)
            return None

    def _advise(self, advice: Advice) -> None:
        self.advice = advice
        if self._rules.on_intervene is not None:
            try:
                self._rules.on_intervene(advice.step, advice.reason)
            except Exception as error:
                self._tell("on_intervene", error)

    def _asked(self, callback: StepCallback, event: StepEvent) -> object:
        try:
            answer = callback(event)
        except Exception as error:
            self._tell("on_step_callback", error)
            return None
        return answer if isinstance(answer, str) and answer == _STOP else None

    def _tell(self, name: str, error: Exception) -> None:
        """Say once in a call what a function of the user's raised; it changes nothing."""
        if name not in self._told:
            self._told.add(name)
            logger.warning("CoreVital: %s failed, which changes nothing: %s", name, describe(error))

    def rolled_back(self, sequence: int, to_step: int) -> None:
        """Take note that a sequence's tokens from a step on are taken back."""
        if self._decoder is not None:
            self._decoder.go_back(sequence, to_step)

    def finished(self, runs: Sequence[Run], span_context: SpanContext) -> None:
        """Take the judged runs, and the ids of their call's span."""
        self.runs, self.span_context = list(runs), span_context
        if self.advice is not None:
            return
        for run in runs:
            event = as_event(run, early_warning=self.early_warning)
            if (found := self._true_at(event)) is not None:
                self._advise(Advice(event.step_index, found.name, evidence_of(run, found.name)))
                return
