"""Runs that are repeated: decided once a run is judged, and before its span ends, so that it can say so."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from opentelemetry.trace import Span

from .._internal.error_text import describe
from ..emission.judgements import NarrativeProcessor, RunJudgement
from ..policies import Condition, Retry
from ..run import Intervention, Run
from .should_intervene import as_event, evidence_of

logger = logging.getLogger(__name__)

_ENDED_ON_PURPOSE = ("cancelled", "error")


class Retries:
    """A judgement that decides whether a run is repeated.

    Args:
        policies: in the order in which they are asked.
        judgements: of the run; a narrative of CoreVital's own is told anew where the run is repeated.
        early_warning: whether early warnings are made.
    """

    role = "retry"

    def __init__(self, policies: Sequence[Retry], judgements: Sequence[RunJudgement], *, early_warning: bool) -> None:
        self._policies = policies
        self._narrative = next((each for each in judgements if isinstance(each, NarrativeProcessor)), None)
        self._early_warning = early_warning
        self._used: Counter[int] = Counter()
        self._failed = set[str]()
        self._decided: Retry | None = None

    def take(self) -> Retry | None:
        """Return the policy by which the last run is repeated; None: it is not."""
        decided, self._decided = self._decided, None
        return decided

    def on_run_ending(self, span: Span, run: Run) -> None:
        """Decide on a judged run."""
        if run.stop_reason in _ENDED_ON_PURPOSE or not self._policies:
            return
        if run.sequence_count > 1:
            if run.sequence_index == 0:
                logger.warning("CoreVital: Retry cannot act on a call of several sequences: it is not repeated")
            return
        for place, policy in enumerate(self._policies):
            found = self._true(policy, run) if self._used[place] < policy.max else None
            if found is not None:
                self._used[place] += 1
                self._decided = policy
                run.interventions = (*run.interventions, self._intervention(policy, found, run))
                if self._narrative is not None:
                    self._narrative.on_run_ending(span, run)
                return

    def _true(self, policy: Retry, run: Run) -> Condition | None:
        event = as_event(run, early_warning=self._early_warning)
        for condition in policy.conditions:
            try:
                if condition.holds(event):
                    return condition
            except Exception as error:  # a function of the user's
                if condition.name not in self._failed:
                    self._failed.add(condition.name)
                    logger.warning("CoreVital: the condition %s of Retry failed: %s", condition.name, describe(error))
        return None

    def _intervention(self, policy: Retry, condition: Condition, run: Run) -> Intervention:
        changes: dict[str, Any] = {"changes": dict(policy.changes)} if policy.changes else {}
        return Intervention(
            kind="retry",
            trigger=condition.name,
            step=max(0, run.steps - 1),
            outcome="continued",
            time_ns=time.time_ns(),
            evidence={**evidence_of(run, condition.name), **changes},
        )
