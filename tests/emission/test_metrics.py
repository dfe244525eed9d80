"""The metrics of a run: names, units, few attributes, buckets, and exemplars that link to its span."""

from typing import Any

import pytest
import torch
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

from opentelemetry_instrumentation_corevital import semconv
from tests.support.in_memory import Telemetry, instrumented
from tests.support.tiny_models import prompt, tiny_model

ONLY_WHERE_IT_HAPPENED = {semconv.METRIC_DROPPED, semconv.METRIC_INTERVENTIONS}
CONVENTIONAL = {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type"}


@pytest.fixture(scope="module")
def recorded() -> tuple[Telemetry, dict[str, Any]]:
    """The metrics of a run that is full of NaN, one in order, and one that repeats itself."""
    with instrumented(capture="full") as telemetry:
        model, broken, stuck = tiny_model("mixtral"), tiny_model(seed=2), tiny_model(seed=3)
        model.config._name_or_path = type(stuck).__name__  # one with experts has every number
        broken.lm_head.register_forward_hook(lambda module, inputs, output: output * float("nan"))
        stuck.lm_head.register_forward_hook(lambda module, inputs, output: output + 30 * (torch.arange(128) == 77))
        broken.generate(prompt(), max_new_tokens=3, do_sample=False)
        model.generate(prompt(), max_new_tokens=8, do_sample=False, eos_token_id=None)
        stuck.generate(prompt(), max_new_tokens=120, do_sample=False, eos_token_id=None)
        data = telemetry.reader.get_metrics_data()
    assert data is not None
    metrics = {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if scope.scope.name == semconv.SCOPE_NAME
    }
    return telemetry, metrics


def test_names_units_and_attributes_are_those_of_the_vocabulary(recorded: tuple[Telemetry, dict[str, Any]]) -> None:
    _, metrics = recorded
    expected = {name for kind, name in semconv.DEFINITIONS if kind == "metric"} - ONLY_WHERE_IT_HAPPENED
    assert set(metrics) == expected
    few = {name for kind, name in semconv.DEFINITIONS if kind == "metric attribute"} | CONVENTIONAL
    for name, metric in metrics.items():
        definition = semconv.DEFINITIONS["metric", name]
        assert metric.unit == definition.unit
        assert metric.description == definition.meaning
        for point in metric.data.data_points:
            assert set(point.attributes) <= few | {semconv.RISK_LEVEL}, name
        assert len(metric.data.data_points) <= 8, "no id and no step is an attribute"


def test_counters_count_what_happened(recorded: tuple[Telemetry, dict[str, Any]]) -> None:
    _, metrics = recorded

    def counts(name: str, label: str) -> dict[Any, int]:
        return {point.attributes[label]: point.value for point in metrics[name].data.data_points}

    flags = counts(semconv.METRIC_HEALTH_FLAGS, semconv.LABEL_FLAG)
    assert flags["nan_detected"] == 1
    assert flags["repetition_loop_detected"] == 1
    assert counts(semconv.METRIC_WARNINGS, semconv.LABEL_WARNING)["repetition_risk"] >= 1
    levels: dict[Any, int] = {}
    for point in metrics[semconv.METRIC_RUNS].data.data_points:
        levels[point.attributes[semconv.RISK_LEVEL]] = levels.get(point.attributes[semconv.RISK_LEVEL], 0) + point.value
    assert levels == {"low": 1, "high": 2}


def test_steps_of_high_entropy_are_added_up() -> None:
    with instrumented(high_entropy_bits=0.5) as telemetry:
        for _ in range(2):
            tiny_model().generate(prompt(), max_new_tokens=8, do_sample=True, eos_token_id=None)
        (counted,) = telemetry.metrics()["corevital.high_entropy_steps"]
    steps = [(span.attributes or {})[semconv.HEALTH_HIGH_ENTROPY_STEPS] for span in telemetry.spans]
    assert counted.value == sum(steps) > 0  # type: ignore[arg-type]
    assert counted.attributes == {semconv.GEN_AI_REQUEST_MODEL: "LlamaForCausalLM"}


def test_histograms_have_useful_buckets(recorded: tuple[Telemetry, dict[str, Any]]) -> None:
    _, metrics = recorded
    (steps,) = metrics[semconv.METRIC_STEP_ENTROPY].data.data_points
    assert steps.count == 128, "of the run full of NaN there is none"
    assert sum(count > 0 for count in steps.bucket_counts) >= 3, "they tell steps apart"
    (risks,) = metrics[semconv.METRIC_RUN_RISK_SCORE].data.data_points
    bounds = dict(zip((*risks.explicit_bounds, float("inf")), risks.bucket_counts, strict=True))
    assert 0.3 in bounds, "the bounds of the risk levels are bounds of buckets"
    assert 0.7 in bounds
    assert risks.count == 3


def test_exemplars_link_a_histogram_to_the_span(recorded: tuple[Telemetry, dict[str, Any]]) -> None:
    telemetry, metrics = recorded
    spans = {(span.context.trace_id, span.context.span_id): span for span in telemetry.spans if span.context}
    for name in (semconv.METRIC_RUN_RISK_SCORE, semconv.METRIC_STEP_ENTROPY, semconv.METRIC_OPERATION_DURATION):
        (point,) = metrics[name].data.data_points
        assert point.exemplars, name
        assert all((exemplar.trace_id, exemplar.span_id) in spans for exemplar in point.exemplars), name
    for exemplar in metrics[semconv.METRIC_RUN_RISK_SCORE].data.data_points[0].exemplars:
        span = spans[exemplar.trace_id, exemplar.span_id]
        assert exemplar.value == pytest.approx((span.attributes or {})[semconv.RISK_SCORE], abs=1e-6)


def test_a_view_of_the_users_takes_the_place_of_our_buckets() -> None:
    reader = InMemoryMetricReader()
    view = View(
        instrument_name=semconv.METRIC_RUN_RISK_SCORE, aggregation=ExplicitBucketHistogramAggregation((0.5, 0.9))
    )
    provider = MeterProvider([reader], views=[view])
    with instrumented(meter_provider=provider):
        tiny_model().generate(prompt(), max_new_tokens=4, do_sample=False)
    data = reader.get_metrics_data()
    assert data is not None
    (bounds,) = [
        metric.data.data_points[0].explicit_bounds  # type: ignore[union-attr]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == semconv.METRIC_RUN_RISK_SCORE
    ]
    assert tuple(bounds) == (0.5, 0.9)
