"""The answer risk is on everything that carries a verdict, and on nothing where there is no number."""

import json
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.made_runs import make_run
from tests.support.reported_runs import report

NUMBERS = (semconv.RISK_ANSWER, semconv.RISK_ANSWER_FACTORS)


def answering(tokens: int) -> Run:
    bits = np.linspace(0.5, 2.0, tokens)
    return make_run(tokens, surprisal=bits, entropy=bits, margin=np.full(tokens, 0.5), top1_prob=np.full(tokens, 0.6))


def carried(run: Run) -> tuple[dict[str, Any], InMemoryTelemetry]:
    telemetry = InMemoryTelemetry()
    report(telemetry, run)
    return dict(telemetry.span.attributes or {}), telemetry


def test_span_log_events_metrics_and_steps_have_the_number() -> None:
    run = answering(6)
    attributes, telemetry = carried(run)
    assert run.answer is not None
    assert run.answer.probability is not None
    assert attributes[semconv.RISK_ANSWER] == run.answer.probability
    assert attributes[semconv.RISK_ANSWER_SUPPORT] is True
    assert attributes[semconv.RISK_ANSWER_METHOD] == shipped().method
    assert len(attributes[semconv.RISK_ANSWER_FACTORS]) == len(shipped().terms)
    told = {record.event_name: record.attributes[semconv.RISK_ANSWER] for record in telemetry.logs}
    assert told == dict.fromkeys((semconv.EVALUATION_EVENT, semconv.RUN_DATA_EVENT), run.answer.probability)
    metrics = telemetry.metrics()
    assert [point.value for point in metrics[semconv.METRIC_RISK_ANSWER]] == [run.answer.probability]
    (risks,) = metrics[semconv.METRIC_RUN_RISK_ANSWER]
    assert (risks.count, risks.sum) == (1, run.answer.probability)
    (score,) = metrics[semconv.METRIC_RISK_SCORE]
    assert dict(metrics[semconv.METRIC_RISK_ANSWER][0].attributes) == dict(score.attributes)
    last = telemetry.span.events[-1].attributes or {}
    assert last[semconv.STEP_ANSWER_SO_FAR] == pytest.approx(run.answer.probability, abs=2e-6)


def test_outside_the_support_nothing_has_a_number_and_the_span_says_why() -> None:
    run = answering(shipped().most_tokens + 1)
    attributes, telemetry = carried(run)
    assert not attributes.keys() & set(NUMBERS)
    assert attributes[semconv.RISK_ANSWER_SUPPORT] is False
    assert "longer than" in json.loads(str(attributes[semconv.CAPTURE_ABSENT]))["answer_risk"]
    assert not [record for record in telemetry.logs if semconv.RISK_ANSWER in (record.attributes or {})]
    assert not telemetry.metrics().keys() & {semconv.METRIC_RISK_ANSWER, semconv.METRIC_RUN_RISK_ANSWER}
    told = [semconv.STEP_ANSWER_SO_FAR in (event.attributes or {}) for event in telemetry.span.events]
    assert told == [True] * shipped().most_tokens + [False]
    assert semconv.RISK_SCORE in attributes, "the other number is there as ever"
