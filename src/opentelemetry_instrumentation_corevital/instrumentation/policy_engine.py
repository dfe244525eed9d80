"""Decides what policies do at each step of a call."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from .._internal.error_text import describe
from .._internal.intervention import InterventionKind, InterventionOutcome
from ..assessment.live_judge import Judged
from ..policies import BreakReasoning, Condition, CoolDown, Policy, Retry, RollBack, Stop
from ..run import Intervention

if TYPE_CHECKING:
    from ..capture.session.steering import Orders

logger = logging.getLogger(__name__)

CALLBACK: Final = "callback"
"""The trigger of an end that a step's callback asked for."""


SETTLING_STEPS: Final = 32
"""Steps after which the last copies of a loop have left the window in which it is found."""


_NOT_FINITE: Final = ("nan_detected", "inf_detected")


@dataclass(slots=True)
class _Sequence:
    """What policies know of one sequence."""

    judged: Judged | None = None
    """Its last step's."""
    asked_to_stop: bool = False
    cool_until: int = -1
    """Step from which on it samples as the call says."""
    temperature: float = 1.0
    forced: list[int] = field(default_factory=list)
    """Tokens that it has to choose next, in order."""
    broken_at: int | None = None
    """Step at which its reasoning was ended."""
    changes: int = 0
    """How often policies have changed how it goes on."""

    def in_effect(self, policy: Policy, step: int) -> bool:
        """Whether what a policy did last still goes on, so that its condition says nothing yet."""
        if isinstance(policy, CoolDown):
            return step < self.cool_until
        if isinstance(policy, BreakReasoning) and self.broken_at is not None:
            return step < self.broken_at + len(policy.tokens) + SETTLING_STEPS
        return False


class Refusals:
    """Says why policies cannot act, each reason once."""

    def __init__(self) -> None:
        self._told = set[tuple[str, str]]()

    def tell(self, who: str, reason: str) -> None:
        """Say that somebody cannot act on a call, and on others like it, if that has not been said."""
        if (who, reason) not in self._told:
            self._told.add((who, reason))
            logger.warning(
                "CoreVital: %s cannot act on this generate() call (not said again of calls like it): %s", who, reason
            )


@dataclass(frozen=True, slots=True)
class RollBackOrder:
    """Tokens to take back: the loop ends, and goes on from an earlier step."""

    policy: RollBack
    intervention: Intervention
    """As it is if it can be carried out; `to_step` is the first step whose token is taken back."""


class PolicyEngine:
    """Acts on the sequences of one call.

    Of the policies of which a condition is true the first one acts that can. While what it did is still in effect, none
    acts; once it has used up its budget, the next one does.

    Args:
        policies: in the order in which they are asked.
        budget: how often they may change how one sequence goes on.
        limit: returns the largest number of new tokens; None where there is no limit.
        intervened: gets sequence and intervention, when it has been carried out.
        refusals: says why they cannot act.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        budget: int,
        limit: Callable[[], int | None],
        intervened: Callable[[int, Intervention], None],
        refusals: Refusals,
    ) -> None:
        self._policies = [policy for policy in policies if not isinstance(policy, Retry)]
        self._budget = budget
        self._limit = limit
        self._report = intervened
        self._refusals = refusals
        self._sequences: defaultdict[int, _Sequence] = defaultdict(_Sequence)
        self._failed = set[str]()
        self.interventions: defaultdict[int, list[Intervention]] = defaultdict(list)
        self.refused = ""
        """Why policies cannot act on this call."""
        self.refusals: dict[str, str] = {}
        """Kind of policy -> why it cannot act on this call, where others can."""
        self.roll_back: RollBackOrder | None = None
        """Tokens to take back, once the loop has ended for it."""

    def refuse(self, reason: str) -> None:
        """Take note, and say at once, that no policy can act on this call, or not any more."""
        if not self.refused:
            self.refused = reason
            self._refusals.tell("policies", reason)

    def has(self, kind: type[Policy]) -> bool:
        """Return whether there is a policy of a kind."""
        return any(isinstance(policy, kind) for policy in self._policies)

    def refuse_kind(self, kind: type[Policy], reason: str) -> None:
        """Take note, and say at once, that policies of one kind cannot act on this call."""
        if self.has(kind) and kind.kind not in self.refusals:
            self.refusals[kind.kind] = reason
            self._refusals.tell(kind.__name__, reason)

    @property
    def idle(self) -> bool:
        """Return whether no policy can act on this call."""
        return bool(self.refused) or all(policy.kind in self.refusals for policy in self._policies)

    @property
    def why_absent(self) -> str | None:
        """Return why policies, or some kinds of them, could not act; None where all could."""
        kinds = "; ".join(f"{kind}: {reason}" for kind, reason in self.refusals.items())
        return self.refused or kinds or None

    @property
    def roll_backs(self) -> list[RollBack]:
        """Return the policies that take tokens back."""
        return [policy for policy in self._policies if isinstance(policy, RollBack)]

    @property
    def forcible(self) -> set[int]:
        """Return the tokens that policies may force."""
        return {token for policy in self._policies if isinstance(policy, BreakReasoning) for token in policy.tokens}

    def go_back(self, sequence: int, steps: int, judged: Judged | None) -> None:
        """Take note that tokens of a sequence have been taken back, and what policies did to them with these.

        Args:
            sequence: its index.
            steps: how many are kept.
            judged: the last of these; None where there is none.
        """
        state = self._sequences[sequence]
        state.judged, state.cool_until, state.forced = judged, -1, []
        if state.broken_at is not None and state.broken_at + 1 >= steps:
            state.broken_at = None

    def judged(self, sequence: int, judged: Judged) -> None:
        """Take a sequence's next step."""
        self._sequences[sequence].judged = judged

    def ask_to_stop(self, sequence: int) -> None:
        """End a sequence at its next step: a callback wants it."""
        self._sequences[sequence].asked_to_stop = True

    def act(self, step: int, sequences: int, done: Callable[[], Sequence[bool]]) -> "Orders":
        """Decide at a step, from the numbers of all steps before it, see `Steering.act`."""
        from ..capture.session.steering import NO_ORDERS, Orders, Sampling

        if self.roll_back is not None:  # a loop may go on for a step before it looks whether it is to end
            return NO_ORDERS
        due = {index: found for index in range(sequences) if (found := self._due(self._sequences[index], step))}
        if due:
            over = done()
            due = {index: found for index, found in due.items() if not over[index]}
        stop = [index for index, (policy, trigger) in due.items() if self._act(index, policy, trigger, step)]
        going = {index: self._sequences[index] for index in range(sequences) if index not in stop}
        forced = {index: each.forced.pop(0) for index, each in going.items() if each.forced}
        cool = {index: each.temperature for index, each in going.items() if step < each.cool_until}
        if not stop and not forced and not cool:
            return NO_ORDERS
        return Orders(stop, Sampling(cool, forced) if cool or forced else None)

    def _due(self, sequence: _Sequence, step: int) -> tuple[Policy | None, str] | None:
        """Return the policy that acts on a sequence now, with its trigger; None as policy: the callback."""
        if self.refused or sequence.judged is None:
            return None
        if sequence.asked_to_stop:
            return None, CALLBACK
        for policy in self._policies:
            trigger = self._true(policy.conditions, sequence.judged)
            if trigger is None:
                continue
            if sequence.in_effect(policy, step):
                return None
            if self._may(policy, sequence):
                return policy, trigger
        return None

    def _may(self, policy: Policy, sequence: _Sequence) -> bool:
        """Whether a policy can act on a sequence, and is within its budget. Ending it is free."""
        if policy.kind in self.refusals or (isinstance(policy, BreakReasoning) and sequence.broken_at is not None):
            return False
        return isinstance(policy, Stop) or sequence.changes < self._budget

    def _true(self, conditions: Sequence[Condition], judged: Judged) -> str | None:
        """Return the first condition that is true at a step; one that fails is said once, and is false."""
        for condition in conditions:
            try:
                if condition.holds(judged.event):
                    return condition.name
            except Exception as error:
                if condition.name not in self._failed:
                    self._failed.add(condition.name)
                    logger.warning(
                        "CoreVital: the condition %s of a policy failed: %s", condition.name, describe(error)
                    )
        return None

    def _act(self, index: int, policy: Policy | None, trigger: str, step: int) -> bool:
        """Carry out what a policy does; return whether the sequence's loop ends here."""
        sequence = self._sequences[index]
        if isinstance(policy, RollBack):
            sequence.changes += 1
            self.roll_back = RollBackOrder(policy, self._rolled_back(policy, trigger, step, sequence))
            return True
        if isinstance(policy, CoolDown):
            sequence.changes += 1
            sequence.cool_until, sequence.temperature = step + policy.steps, policy.temperature
            changes: dict[str, Any] = {"temperature": policy.temperature, "steps": policy.steps}
            self.record(index, self._intervention("cool_down", trigger, step, "continued", sequence, changes))
            return False
        if isinstance(policy, BreakReasoning):
            sequence.changes += 1
            sequence.broken_at, sequence.forced = step, list(policy.tokens)
            changes = {"forced_tokens": len(policy.tokens)}
            self.record(index, self._intervention("break_reasoning", trigger, step, "continued", sequence, changes))
            return False
        self.record(index, self._intervention("stop", trigger, step, "stopped", sequence, {}))
        return True

    def _rolled_back(self, policy: RollBack, trigger: str, step: int, sequence: _Sequence) -> Intervention:
        """Return a rollback as it is if it can be carried out."""
        intervention = self._intervention("roll_back", trigger, step, "continued", sequence, dict(policy.changes))
        if policy.to != "onset":
            to_step = step + 1 - policy.to
        else:
            to_step = step if sequence.judged is None else _onset(sequence.judged, trigger)
        return replace(intervention, to_step=min(step, max(0, to_step)))

    def _intervention(
        self,
        kind: InterventionKind,
        trigger: str,
        step: int,
        outcome: InterventionOutcome,
        sequence: _Sequence,
        changes: Mapping[str, Any],
    ) -> Intervention:
        limit, numbers = self._limit(), {} if sequence.judged is None else sequence.judged.evidence
        return Intervention(
            kind=kind,
            trigger=trigger,
            step=step,
            outcome=outcome,
            time_ns=time.time_ns(),
            tokens_left=None if limit is None else max(0, limit - step - 1),
            evidence={
                **numbers.get(trigger.partition(">")[0], {}),
                **({"changes": _reported(changes)} if changes else {}),
            },
        )

    def record(self, index: int, intervention: Intervention) -> None:
        """Keep what was done to a sequence, and report it."""
        self.interventions[index].append(intervention)
        self._report(index, intervention)


def _onset(judged: Judged, trigger: str) -> int:
    """Return the first step whose token a rollback `to="onset"` takes back.

    It is that at which a value was not finite, else that at which a repetition began, else the one of which the
    condition was true.
    """
    if trigger in _NOT_FINITE:
        return int(judged.evidence[trigger]["step"])
    return judged.event.step_index if judged.repetition is None else judged.repetition.onset_step


def _reported(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was changed, without content: of what is no number its name alone, since it may be text or tokens."""
    return {name: value if isinstance(value, bool | int | float) else None for name, value in changes.items()}
