"""The run set's samples as runs, judged by CoreVital's own judgements."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from runset.store import Sample

from opentelemetry_instrumentation_corevital.assessment.early_warning import judge_early_warning
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.repetition import Repetition, RepetitionDetector
from opentelemetry_instrumentation_corevital.assessment.risk import judge_risk
from opentelemetry_instrumentation_corevital.run import Decoding, ModelInfo, Run


@dataclass(frozen=True, slots=True)
class Replay:
    """A sample, its judged run, and what the detector told at each step."""

    sample: Sample
    run: Run
    told: Sequence[Repetition | None]
    recurring: NDArray[np.float64]
    """Share of the last tokens that recur, at each step."""

    @property
    def flagged(self) -> bool:
        """Whether `repetition_loop_detected` is raised."""
        return self.run.health is not None and bool(self.run.health.repetition_loop_detected)

    @property
    def loops(self) -> NDArray[np.bool_]:
        """Return at which steps a loop is told."""
        return np.array([repetition is not None and repetition.loop for repetition in self.told], bool)

    @property
    def repeats(self) -> NDArray[np.bool_]:
        """Return at which steps `repetition_risk` holds."""
        return np.array([repetition is not None for repetition in self.told], bool)

    @property
    def ordinary(self) -> bool:
        """Whether nobody asked for repetition and it did not end in a loop by being cut off."""
        return not self.sample.degenerate and self.sample.prompt["class"] != "repeat"


def as_run(sample: Sample) -> Run:
    """Return a sample as CoreVital would have recorded it."""
    plan = sample.plan
    counts: dict[str, NDArray[Any]] = {
        name: np.zeros(len(sample.tokens), np.int32) for name in ("logits_nan", "logits_posinf", "logits_neginf")
    }
    return Run(
        model=ModelInfo(name="HuggingFaceTB/SmolLM2-135M-Instruct", architecture="LlamaForCausalLM", layer_count=30),
        decoding=Decoding(
            strategy="sample" if plan["temperature"] else "greedy_search",
            max_new_tokens=plan["max_new_tokens"],
            temperature=plan["temperature"] or None,
            seed=plan["seed"],
        ),
        start_ns=0,
        end_ns=1,
        input_tokens=sample.input_tokens,
        tokens=sample.tokens,
        columns={**sample.columns, **counts},
        finish_reason="stop" if sample.stopped else "length",
    )


def replay(sample: Sample) -> Replay:
    """Judge a sample."""
    run = as_run(sample)
    run.health = judge_health(run)
    run.early_warning = judge_early_warning(run)
    run.risk = judge_risk(run)
    detector, told, recurring = RepetitionDetector(), [], []
    for token in sample.tokens.tolist():
        told.append(detector.update(token))
        recurring.append(detector.recurring)
    return Replay(sample, run, told, np.array(recurring))
