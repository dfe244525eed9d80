"""One call while it goes on: each step is judged once, handed to who listens, and policies act on it."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from .._internal.error_text import describe
from .._internal.safety import shielded
from ..assessment.live_judge import Judged, LiveJudge
from ..assessment.thresholds import Thresholds
from ..config import Settings
from ..emission.live_step_events import LiveSteps
from ..policies import BreakReasoning, CoolDown, Policy, RollBack
from ..run import Intervention, Run
from .inner_calls import why_no_rollback
from .live_consumer import LiveConsumer
from .policy_engine import PolicyEngine, Refusals

if TYPE_CHECKING:
    from ..capture.session.session import Session
    from ..capture.session.steering import Orders

logger = logging.getLogger(__name__)

_STOP: Final = "stop"

Basis = tuple[Thresholds, Callable[[Run], None]]
"""Thresholds, with a baseline where there is one, and what holds the finished run to it."""


def _leave(_run: Run) -> None:
    """Have a run judged with what is usual by then: nobody was told of its steps."""


class LiveCall:
    """Follows one call, and steers it where policies are given.

    Args:
        settings: of who records the call.
        consumer: who watches it; None: nobody but log events.
        policies: what may act on it, in the order in which they are asked.
        steps: emits each step as a log event; None: nobody wants them.
        basis: returns what the finished runs are judged with, and so their steps; None: CoreVital's own thresholds.
        limit: returns the largest number of new tokens; None where there is no limit.
        prompts: returns each prompt's tokens; None where it has none. Asked when a loop goes on.
        refusals: says why policies cannot act.
    """

    def __init__(
        self,
        settings: Settings,
        consumer: LiveConsumer | None,
        policies: Sequence[Policy],
        steps: LiveSteps | None,
        *,
        basis: Callable[[], Basis] | None,
        limit: Callable[[], int | None],
        prompts: Callable[[], list[list[int]] | None],
        refusals: Refusals,
    ) -> None:
        self._consumer = consumer or LiveConsumer()
        self.steps = steps
        """What emits each step as a log event."""
        self._read_prompts = prompts
        self._prompts: list[list[int]] | None = None
        self._judges: dict[int, LiveJudge] = {}
        self._thresholds = Thresholds(high_entropy_bits=settings.chosen_entropy_bits)
        self.keep_baseline: Callable[[Run], None] = _leave
        """Has a finished run judged with the baseline that its steps were judged with."""
        self._listener_failed = False
        self._judging = bool(policies) or self._consumer.listener is not None or (steps is not None and steps.layers)
        if self._judging and basis is not None:
            with shielded("live.baseline"):
                self._thresholds, self.keep_baseline = basis()
        may_stop = self._consumer.listener is not None and self._consumer.may_stop
        self.engine: PolicyEngine | None = None
        """What acts; None where nothing may."""
        if policies or may_stop:
            self.engine = PolicyEngine(policies, settings.max_interventions, limit, self._intervened, refusals)

    @property
    def layers(self) -> bool:
        """Return whether a step has its layers' signals, too."""
        return self._judging

    def __call__(self, step: int, parts: Sequence[Run]) -> None:
        """Take a step, given as a Run of its own for every sequence that still goes on."""
        for part in parts:
            judged = self._judge(step, part) if self._judging else None
            if self.steps is not None:
                with shielded("live.log_event"):
                    self.steps.emit(step, part, None if judged is None else judged.warned)
            if judged is None:
                continue
            if self._consumer.judged is not None:
                with shielded("live.judged"):
                    self._consumer.judged(judged)
            if self.engine is not None:
                with shielded("live.policies"):
                    self.engine.judged(part.sequence_index, judged)
            if self._listen(judged) == _STOP and self._consumer.may_stop and self.engine is not None:
                self.engine.ask_to_stop(part.sequence_index)

    def go_back(self, sequence: int, steps: Sequence[Run]) -> None:
        """Judge a sequence anew, whose tokens have been taken back but for these steps."""
        judge, judged = self._new_judge(sequence, 1), None
        self._judges[sequence] = judge
        for step, part in enumerate(steps):
            judged = judge.judge(step, part)
        if self.engine is not None:
            self.engine.go_back(sequence, len(steps), judged)
        if self.steps is not None:
            self.steps.told[sequence] = len(steps)
        if self._consumer.rolled_back is not None:
            with shielded("live.rolled_back"):
                self._consumer.rolled_back(sequence, len(steps))

    def report(self, runs: Sequence[Run]) -> None:
        """Give the finished runs what policies did to them, or why they could not."""
        if self.engine is None:
            return
        why_absent = self.engine.why_absent
        for run in runs:
            run.interventions = tuple(self.engine.interventions[run.sequence_index])
            if why_absent is not None:
                run.absent["interventions"] = why_absent

    def release(self) -> None:
        """Refer to nothing that refers back: only the cyclic collector would free it."""
        self.engine = None
        self._judges = {}
        self.keep_baseline = _leave

    def _new_judge(self, sequence: int, sequences: int) -> LiveJudge:
        prompt = partial(self._prompt, sequence, sequences)
        return LiveJudge(self._thresholds, early_warning=self._consumer.early_warning, prompt=prompt)

    def _prompt(self, sequence: int, sequences: int) -> Sequence[int]:
        """Return the tokens of a sequence's prompt; none where they are not known."""
        if self._prompts is None:
            self._prompts = self._read_prompts() or []
        each = sequences // len(self._prompts) if self._prompts else 0
        return self._prompts[sequence // each] if each else ()

    def _judge(self, step: int, part: Run) -> Judged:
        judge = self._judges.get(part.sequence_index)
        if judge is None:
            judge = self._judges[part.sequence_index] = self._new_judge(part.sequence_index, part.sequence_count)
        text = None
        if self._consumer.token_text is not None:
            with shielded("live.token_text"):
                text = self._consumer.token_text(part.sequence_index, int(part.tokens[0]))
        return judge.judge(step, part, text)

    def _listen(self, judged: Judged) -> object:
        """Hand a step to the listener; what it raises is its own fault, said once, and changes nothing."""
        if self._consumer.listener is None:
            return None
        try:
            return self._consumer.listener(judged.event)
        except Exception as error:
            if not self._listener_failed:
                self._listener_failed = True
                logger.warning("CoreVital: the callback of a step failed, and is called on: %s", describe(error))
            return None

    def _intervened(self, sequence: int, intervention: Intervention) -> None:
        if self._consumer.intervened is not None:
            with shielded("live.intervened"):
                self._consumer.intervened(sequence, intervention)

    # --- Steering ----------------------------------------------------------------------------------------------------

    def refuse(self, reason: str) -> None:
        """Take note that nothing can act on this call."""
        if self.engine is not None:
            self.engine.refuse(reason)

    def prepared(self, session: "Session", strategy: str | None) -> bool:
        """Refuse what cannot act on a call that decodes like this; return whether anything can."""
        engine = self.engine
        if engine is None:
            return False
        if strategy == "greedy_search":
            engine.refuse_kind(CoolDown, "greedy decoding has no temperature")
        vocabulary = session.model.vocabulary_size
        if vocabulary is not None and any(token >= vocabulary for token in engine.forcible):
            engine.refuse_kind(BreakReasoning, "a token of it is not in the model's vocabulary")
        if engine.roll_backs:
            reason = why_no_rollback(session, engine.roll_backs)
            if reason is not None:
                engine.refuse_kind(RollBack, reason)
        may_stop = self._consumer.listener is not None and self._consumer.may_stop
        return may_stop or not engine.idle

    def act(self, step: int, sequences: int, done: Callable[[], Sequence[bool]]) -> "Orders":
        """Decide at a step from the numbers of the steps before it."""
        from ..capture.session.steering import NO_ORDERS

        if self.engine is None:
            return NO_ORDERS
        return self.engine.act(step, sequences, done)
