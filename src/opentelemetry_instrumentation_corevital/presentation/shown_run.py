"""A run of this process in the shape in which stored runs are shown: with the attributes that its span gets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from .. import semconv
from .._internal.values import plain
from ..assessment import run_attributes
from ..assessment.layer_arrays import layer_attributes
from ..assessment.prompt_on_span import absent_of_prompt, prompt_attributes
from ..assessment.verdict_attributes import INTERVENTION, verdict_attributes
from ..catalogue import alternative_names, intervention_names
from ..catalogue.fitting import fitting
from ..run import Intervention, PromptAnalysis, Run
from .shapes import WHOLE, Dropped, EventShape


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """What is shown of what a policy did."""

    attributes: Mapping[str, Any]


class ShownRun:
    """The shape of a run that nobody has stored: it has no ids and no label, and nothing of it was dropped."""

    label: None = None
    dropped: Dropped = WHOLE
    steps: Sequence[EventShape] = ()
    """The columns have all of them."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.damage: Mapping[str, str] = {}

    @property
    def summary(self) -> "ShownSummary":
        """Return what lists show."""
        return ShownSummary(self.run)

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Return what the run's span has, without step events and message text."""
        run = self.run
        series, holes = run_attributes.series_attributes(run)
        return {
            **run_attributes.start_attributes(run.model.name, chat=run.prompt.chat),
            **run_attributes.request_attributes(run.decoding, content=False),
            **run_attributes.response_attributes(run.model.name, [run]),
            **run_attributes.model_attributes(run.model),
            **fitting(
                {
                    semconv.DECODING_STRATEGY: run.decoding.strategy,
                    semconv.STEPS_TOTAL: run.output_tokens,
                    semconv.ERROR_TYPE: run.error_type,
                }
            ),
            **verdict_attributes(run),
            **run_attributes.summary_attributes(run),
            **series,
            **layer_attributes(run),
            **prompt_attributes(run),
            **run_attributes.absent_attribute({**run.absent, **absent_of_prompt(run.prompt_analysis), **holes}),
        }

    @property
    def prompt_analysis(self) -> PromptAnalysis | None:
        """Return what the run tells of its prompt."""
        return self.run.prompt_analysis

    @property
    def interventions(self) -> Sequence[EventShape]:
        """Return what policies did, in order."""
        return [ShownEvent(_of_intervention(each)) for each in self.run.interventions]

    @cached_property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Return the run's columns, its alternatives, its risk and answer risk over the steps, where they are known."""
        warned, could = self.run.early_warning, self.run.alternatives
        more: dict[str, NDArray[Any] | None] = {}
        if warned is not None:
            more |= {"risk_so_far": warned.risk_so_far, "answer_so_far": warned.answer_so_far}
        if could is not None:
            more |= {
                alternative_names.PROBABILITY: could.probabilities,
                alternative_names.TOKEN: could.tokens,
                "tokens": self.run.tokens,
            }
        return {**self.run.columns, **{name: values for name, values in more.items() if values is not None}}


class ShownSummary:
    """What a list shows of a run that nobody has stored."""

    trace_id = span_id = ""
    label: str | None = None
    prompt_hash: str | None = None

    def __init__(self, run: Run) -> None:
        self._run = run
        self.sequence_index, self.start_ns = run.sequence_index, run.start_ns
        self.seconds = (run.end_ns - run.start_ns) / 1e9
        self.model: str | None = run.model.name
        self.operation: str | None = "chat" if run.prompt.chat else "text_completion"
        self.input_tokens, self.output_tokens = run.input_tokens, run.output_tokens
        self.risk_score = None if run.risk is None else run.risk.score
        self.risk_level: str | None = None if run.risk is None else run.risk.level
        self.risk_answer = None if run.answer is None else run.answer.probability
        self.flags: Sequence[str] = [] if run.health is None else run.health.raised()
        self.judged = run.health is not None and bool(run.health.flags())
        self.warnings: Sequence[str] | None = run.warnings
        self.finish_reason: str | None = run.finish_reason
        self.stop_reason: str | None = run.stop_reason
        self.intervention: str | None = run.interventions[-1].kind if run.interventions else None
        self.error_type, self.narrative = run.error_type, run.narrative
        self.damage: Mapping[str, str] = {}


def _of_intervention(each: Intervention) -> dict[str, Any]:
    numbers = json.dumps(plain(each.evidence)) if each.evidence else None
    first = {intervention_names.EVIDENCE: numbers, intervention_names.TO_STEP: each.to_step}
    return fitting(first | {name: value(each) for name, value in INTERVENTION.items()})
