"""The verdict in one line: what is gravest, from which step on, and never content."""

from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.assessment.assessment_line import assessment_line
from opentelemetry_instrumentation_corevital.assessment.worst import worst_of
from opentelemetry_instrumentation_corevital.catalogue.definitions import LONGEST_LINE
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.emission.judgements import (
    BlameProcessor,
    HealthProcessor,
    default_judgements,
    in_order,
)
from opentelemetry_instrumentation_corevital.run import CompoundSignal, Risk
from tests.support.made_runs import make_run
from tests.support.reported_runs import FLAGGED, healthy, medium, usual


def judged(run: Run) -> Run:
    thresholds = usual()
    own = in_order(default_judgements(load_settings()), [HealthProcessor(thresholds), BlameProcessor(thresholds)])
    for judgement in own:
        judgement.on_run_ending(INVALID_SPAN, run)
    return run


LINES = {
    "nan_detected": "high 1.00: NaN in layer 3 from step 20, and 2 more flags",
    "inf_detected": "high 1.00: infinity in layer 3 from step 20, and 2 more flags",
    "repetition_loop_detected": "high 0.90: repetition loop from step 10",
    "attention_collapse_detected": "high 0.70: layer anomaly in layer 0 from step 1, and 1 more flag",
    "mid_layer_anomaly_detected": "high 0.70: layer anomaly in layer 3 from step 17, and 1 more flag",
    "layer_anomaly_detected": "high 0.70: layer anomaly in layer 0 from step 17",
}


@pytest.mark.parametrize("flag", FLAGGED)
def test_a_raised_flag_is_named_with_where_it_began(flag: str) -> None:
    line = assessment_line(judged(FLAGGED[flag]()))
    assert line == LINES[flag]


def test_a_healthy_run_says_that_nothing_was_found() -> None:
    assert assessment_line(judged(healthy())) == "low 0.00: nothing found"


def test_high_entropy_is_told_as_far_as_it_counts() -> None:
    assert assessment_line(judged(medium())) == "medium 0.49: high entropy in 40 of 40 steps"


def test_a_run_without_a_risk_has_no_line() -> None:
    assert assessment_line(judged(make_run(logits=False))) is None
    assert worst_of([judged(make_run(logits=False))]) is None


def test_a_call_that_failed_is_named_by_its_class_alone() -> None:
    run = healthy()
    run.error_type = "app.errors.PromptError"
    assert assessment_line(judged(run)) == "low 0.00: failed with PromptError"


def test_a_lasting_warning_comes_before_what_is_gravest_of_compound_signals() -> None:
    run = judged(make_run(120, entropy=[0.5] * 60 + [9.0] * 60))
    line = assessment_line(run)
    assert line is not None
    assert run.early_warning is not None
    step = next(step for step, names in run.early_warning.active.items() if "entropy_rising" in names)
    assert "high_entropy_share" in run.warnings
    assert line.endswith(f"high entropy in {run.health.high_entropy_steps} of 120 steps")  # type: ignore[union-attr]
    run.warnings.remove("high_entropy_share")
    assert str(assessment_line(run)).endswith(f": entropy rising from step {step}")
    run.early_warning, run.compound = None, (CompoundSignal("context_loss", 0.75, {"step": 7}),)
    assert str(assessment_line(run)).endswith(": context loss from step 7")


@pytest.mark.parametrize(
    ("factors", "told"), [((("toxic_words", 0.8),), "toxic words"), ((), "judged by own"), ((("x" * 300, 0.8),), "x")]
)
def test_a_judgement_of_somebody_else_is_not_said_to_have_found_nothing(factors: Any, told: str) -> None:
    run = judged(healthy())
    run.risk = Risk(0.8, "high", factors, "own")
    line = assessment_line(run)
    assert line is not None
    assert line.startswith(f"high 0.80: {told}")
    assert len(line) <= LONGEST_LINE


def test_the_worst_of_a_call_is_the_first_with_the_highest_risk() -> None:
    first, second, third = (judged(make_run(120, tokens=[n % period for n in range(120)])) for period in (10, 9, 120))
    assert worst_of([third, first, second]) is first
    assert first.risk is not None
    second.risk = replace(first.risk, score=1.0)
    assert worst_of([first, second]) is second
