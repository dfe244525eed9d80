"""What a run's span holds: names and types, policy of step events, budgets, several sequences."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital.assessment.run_attributes import downsample, series_attributes, slope
from opentelemetry_instrumentation_corevital.emission import budget
from opentelemetry_instrumentation_corevital.emission.judgements import HealthProcessor
from opentelemetry_instrumentation_corevital.emission.step_events import choose_steps
from opentelemetry_instrumentation_corevital.run import Health
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, open_store
from tests.support.described_spans import assert_described, emit, encoded_bytes, long_run
from tests.support.in_memory import instrumented
from tests.support.made_runs import NOT_REPEATING, add_layers, make_run
from tests.support.tiny_models import padded_batch, prompt, tiny_model


@pytest.mark.parametrize("capture", ["summary", "full", "on_risk"])
def test_real_spans_hold_only_what_is_described(capture: str) -> None:
    model = tiny_model()
    with instrumented(capture=capture) as telemetry:
        model.generate(prompt(), max_new_tokens=20, do_sample=False)
        model.generate(**padded_batch(), max_new_tokens=20, do_sample=True, num_return_sequences=2)
        model.generate(prompt(), max_new_tokens=8, num_beams=2)
        with pytest.raises(ValueError, match="temperature"):
            model.generate(prompt(), do_sample=True, temperature=-1.0)
    assert len(telemetry.spans) == 1 + 7 + 1 + 1
    for span in telemetry.spans:
        assert_described(span)
        assert (span.attributes or {}).get("gen_ai.operation.name", "text_completion") == "text_completion"


def test_the_span_of_one_run() -> None:
    model = tiny_model(pad_token_id=None)
    model.config._name_or_path = "/somebody/s/models/my-model"
    with instrumented() as telemetry:
        result = model.generate(
            prompt(), max_new_tokens=20, do_sample=True, temperature=0.7, top_p=0.9, top_k=30, eos_token_id=None
        )
    span, attributes = telemetry.span, telemetry.span.attributes or {}
    assert span.name == "text_completion my-model"
    assert span.kind.name == "INTERNAL"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.version == "0.1.0.dev0"
    assert attributes["gen_ai.request.model"] == "my-model", "a path tells about the machine"
    assert attributes["gen_ai.provider.name"] == "huggingface"
    assert (attributes["gen_ai.request.temperature"], attributes["gen_ai.request.top_p"]) == (0.7, 0.9)
    assert (attributes["gen_ai.request.top_k"], attributes["gen_ai.request.max_tokens"]) == (30, 20)
    assert attributes["gen_ai.usage.input_tokens"] == 6
    assert attributes["gen_ai.usage.output_tokens"] == result.shape[1] - 6 == 20
    assert attributes["gen_ai.response.finish_reasons"] == ("length",)
    assert attributes["corevital.decoding.strategy"] == "sample"
    assert attributes["corevital.model.layer_count"] == 2
    assert attributes["corevital.steps.total"] == attributes["corevital.steps.recorded"] == len(span.events) == 20
    assert len(attributes["corevital.series.entropy"]) == 20  # type: ignore[arg-type]
    assert span.start_time is not None
    assert span.end_time is not None
    times = [event.timestamp for event in span.events]
    assert times == sorted(set(times)), "each step has a time of its own"
    assert span.start_time < times[0]
    assert times[-1] <= span.end_time
    first = attributes["gen_ai.response.time_to_first_chunk"]
    assert first == pytest.approx((times[0] - span.start_time) / 1e9)


def test_greedy_runs_say_no_sampling_settings() -> None:
    with instrumented() as telemetry:
        tiny_model().generate(prompt(), max_new_tokens=2, do_sample=False)
    assert not [name for name in telemetry.span.attributes or {} if name.endswith(("temperature", "top_p", "top_k"))]


def test_several_sequences_have_spans_of_their_own_and_tokens_count_once() -> None:
    model = tiny_model(scale=1.0)
    with instrumented() as telemetry:
        model.generate(**padded_batch(), max_new_tokens=40, do_sample=True, num_return_sequences=2)
    *children, call = telemetry.spans
    attributes = call.attributes or {}
    assert len(children) == attributes["corevital.sequence.count"] == 6
    assert attributes["gen_ai.usage.input_tokens"] == 9 + 6 + 3
    outputs = [(child.attributes or {})["corevital.sequence.output_tokens"] for child in children]
    assert attributes["gen_ai.usage.output_tokens"] == sum(outputs)  # type: ignore[arg-type]
    assert attributes["gen_ai.request.choice.count"] == 2
    worst = max((child.attributes or {})["corevital.risk.score"] for child in children)  # type: ignore[type-var]
    assert attributes["corevital.risk.score"] == worst
    assert "corevital.steps.total" not in attributes
    for index, child in enumerate(children):
        own = child.attributes or {}
        assert own["corevital.sequence.index"] == index
        assert own["corevital.sequence.input_tokens"] == (9, 6, 3)[index // 2]
        assert own["corevital.steps.total"] == outputs[index]
        assert not [name for name in own if name.startswith(("gen_ai.usage", "gen_ai.operation"))]
        assert child.end_time <= call.end_time  # type: ignore[operator]


class _Odd:
    """A health judgement that finds 6 of 7 steps high: a risk that no short decimal number is."""

    role = "health"

    def on_run_ending(self, span: Any, run: Run) -> None:
        run.health = Health(False, False, False, 6 - run.sequence_index)


def test_every_carrier_has_the_same_numbers(tmp_path: Path) -> None:
    exporter = SQLiteSpanExporter(tmp_path / "runs.db")
    with instrumented(capture="full", judgements=[_Odd()]) as telemetry:
        telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
        tiny_model().generate(**padded_batch(), max_new_tokens=7, do_sample=False, eos_token_id=None)
        metrics = telemetry.metrics()
    exporter.shutdown()
    *children, call = [dict(span.attributes or {}) for span in telemetry.spans]
    scores = [child["corevital.risk.score"] for child in children]
    assert scores == [0.428571, 0.357143, 0.285714]
    assert call["corevital.risk.score"] == max(scores)
    assert call["corevital.risk.level"] == children[0]["corevital.risk.level"] == "medium"
    said = [dict(record.attributes) for record in telemetry.logs if record.event_name == semconv.EVALUATION_EVENT]
    assert [each[semconv.EVALUATION_SCORE] for each in said] == scores
    assert [each["corevital.risk.score"] for each in said] == scores
    assert [point.value for point in metrics["corevital.risk.score"]] == scores[-1:]
    assert [point.sum for point in metrics["corevital.run.risk_score"]] == [pytest.approx(sum(scores), abs=1e-12)]
    last = {"corevital.early_warning.failure_risk": "failure_risk", "corevital.entropy": "entropy.mean"}
    for metric, name in last.items():
        (point,) = metrics[metric]
        assert point.value == children[-1][metric if metric in children[-1] else f"corevital.{name}"]
    norms = [point.value for point in metrics["corevital.layer.l2_norm"]]
    assert norms == list(children[-1]["corevital.layers.l2_norm"])
    with open_store(tmp_path / "runs.db") as store:
        assert [run.risk_score for run in store.call("last")] == scores


def test_the_risk_at_the_last_step_is_the_risk_of_the_run() -> None:
    run = make_run(7, entropy=[9.0] * 3 + [1.0] * 4)
    span = emit(run, capture="full")
    last = span.events[-1].attributes or {}
    assert last["corevital.step.risk_so_far"] == (span.attributes or {})["corevital.risk.score"] == 0.214286


# --- step events -------------------------------------------------------------------------------------------------


def test_a_long_run_keeps_the_telling_steps_and_an_even_sample() -> None:
    run = long_run()
    run.columns["entropy"][777] = 15
    run.columns["surprisal"][1234] = 30
    run.columns["margin"][345] = 0
    chosen = choose_steps(run, 96)
    assert len(chosen) == len(set(chosen)) == 96
    assert {0, 345, 777, 1234, 1999} <= set(chosen)
    assert max(np.diff(chosen)) < 2000 / 96 * 2
    assert choose_steps(run, 3000) == list(range(2000))
    assert len(choose_steps(run, 3)) == 3


@pytest.mark.parametrize(
    ("capture", "fields"),
    [("summary", {"index", "entropy", "surprisal", "margin", "top1_prob"}), ("full", {"topk_mass", "risk_so_far"})],
)
def test_the_fields_of_a_step_follow_the_capture_mode(capture: str, fields: set[str]) -> None:
    span = emit(long_run(50), capture=capture)
    names = {name.rpartition(".")[2] for event in span.events for name in event.attributes or {}}
    assert fields <= names
    assert ("topk_mass" in names) is (capture == "full")


def test_on_risk_reports_risky_runs_in_full() -> None:
    calm, risky = long_run(50), long_run(50, logits_nan=[0] * 49 + [1])
    for run, upgraded in ((calm, False), (risky, True)):
        span = emit(run, capture="on_risk")
        assert (span.attributes or {})["corevital.capture.upgraded"] is upgraded
        assert any("corevital.step.topk_mass" in (event.attributes or {}) for event in span.events) is upgraded


def test_step_events_can_be_switched_off_and_limited() -> None:
    assert len(emit(long_run(50), step_events="off").events) == 0
    assert len(emit(long_run(50), max_step_events=10).events) == 10


def test_lower_limits_of_the_sdk_leave_the_verdict_and_a_true_count() -> None:
    model = tiny_model()
    with instrumented() as telemetry:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(span_limits=SpanLimits(max_events=8, max_attributes=20))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor

        CoreVitalInstrumentor().uninstrument()
        CoreVitalInstrumentor().instrument(tracer_provider=provider)
        model.generate(prompt(), max_new_tokens=30, do_sample=False)
    del telemetry
    (span,) = exporter.get_finished_spans()
    attributes = span.attributes or {}
    assert attributes["corevital.steps.recorded"] == len(span.events) == 8
    assert attributes["gen_ai.operation.name"] == "text_completion"
    assert attributes["gen_ai.request.model"]
    verdict = {"risk.score", "risk.level", "narrative", "warnings", "steps.total", "health.nan_detected"}
    assert {f"corevital.{name}" for name in verdict} <= attributes.keys()


# --- budgets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("capture", "limit"), [("summary", 48 * 1024), ("full", 80 * 1024)])
def test_a_maximal_span_keeps_its_budget(capture: str, limit: int) -> None:
    span = emit(long_run(), capture=capture, text="x" * 3000)
    assert encoded_bytes(span) <= limit
    assert len(span.events) == 96
    assert len((span.attributes or {})["corevital.series.entropy"]) == 256  # type: ignore[arg-type]
    assert_described(span)


@pytest.mark.parametrize("capture", ["summary", "full"])
@pytest.mark.parametrize("layers", [32, 80])
def test_a_maximal_span_with_layers_keeps_its_budget(layers: int, capture: str) -> None:
    run = add_layers(long_run(), layers, every=8 if capture == "summary" else 1)
    run.columns["hidden_l2_norm"][100, : layers // 2] = np.inf  # evidence, and a layer to blame
    limit = budget.SPAN_BYTES_FULL if capture == "full" else budget.SPAN_BYTES_SUMMARY
    span = emit(run, capture=capture, text="x" * 3000)
    attributes = span.attributes or {}
    assert encoded_bytes(span) <= limit
    assert_described(span)
    for name in (
        "l2_norm",
        "max_abs",
        "attention_entropy",
        "attention_entropy_std",
        "collapsed_head_rate",
        "nonfinite",
    ):
        assert len(attributes[f"corevital.layers.{name}"]) == layers  # type: ignore[arg-type]
    assert attributes["corevital.health.mid_layer_anomaly_detected"] is True
    assert attributes["corevital.blame.layers"]
    assert len(span.events) == 96
    assert len(attributes["corevital.series.hidden_cosine"]) >= 200  # type: ignore[arg-type]


@pytest.mark.parametrize("capture", ["summary", "full", "on_risk"])
@pytest.mark.parametrize("steps", [110, 256, 2000])
@pytest.mark.parametrize("layers", [30, 80])
def test_the_default_budget_fits_the_default_content(layers: int, steps: int, capture: str) -> None:
    model = tiny_model()
    runs: list[Run] = []

    class Replaced:  # a judgement before all others: the call's run gets the numbers of a larger model
        role = "health"

        def on_run_ending(self, span: Any, run: Run) -> None:
            made = add_layers(long_run(steps), layers, every=8 if capture == "summary" else 1)
            made.columns["hidden_l2_norm"][100, : layers // 2] = np.inf  # evidence, and a layer to blame
            for name in ("columns", "tokens", "time_ns"):
                setattr(run, name, getattr(made, name))
            HealthProcessor().on_run_ending(span, run)
            runs.append(run)

    with instrumented(capture=capture, judgements=[Replaced()]) as telemetry:
        model.generate(prompt(), max_new_tokens=2, do_sample=False)
    attributes = telemetry.span.attributes or {}
    assert runs
    assert runs[0].health is not None
    assert runs[0].health.mid_layer_anomaly_detected
    assert "cut" not in str(attributes["corevital.capture.absent"])
    assert attributes["corevital.steps.recorded"] == len(telemetry.span.events) == min(steps, 96)
    assert len(attributes["corevital.series.entropy"]) == min(steps, 256)  # type: ignore[arg-type]
    assert attributes["corevital.series.stride"] == pytest.approx(max(1, steps / 256))
    in_full = any("corevital.step.topk_mass" in (event.attributes or {}) for event in telemetry.span.events)
    assert in_full is (capture != "summary"), "a run that was upgraded has the budget of one in full"
    assert encoded_bytes(telemetry.span) <= (80 if in_full else 48) * 1024
    assert "corevital.dropped" not in telemetry.metrics()


def test_warnings_that_hold_at_some_steps_cost_no_step_of_the_others() -> None:
    run = add_layers(long_run(300), 30)
    run.columns["entropy"][280:] += 6  # a warning at a few steps makes their events larger
    whole = emit(run, capture="full", max_span_bytes=1 << 20)
    assert any("corevital.step.warnings" in (event.attributes or {}) for event in whole.events)
    largest = max(budget.event_bytes(event.name, event.attributes or {}) for event in whole.events)
    limit = budget.SPAN_OVERHEAD + budget.attributes_bytes(whole.attributes or {}) + 1024
    limit += sum(budget.event_bytes(event.name, event.attributes or {}) for event in whole.events)
    span = emit(run, capture="full", max_span_bytes=limit)
    assert largest * 96 > limit - budget.SPAN_OVERHEAD - budget.attributes_bytes(whole.attributes or {})
    assert len(span.events) == 96


def test_what_does_not_fit_is_cut_in_order_and_told() -> None:
    sizes = []
    for limit in (30_000, 12_000, 8_000, 5_000):
        span = emit(add_layers(long_run(), 16), capture="full", max_span_bytes=limit, text="y" * 1500)
        attributes = span.attributes or {}
        absent = json.loads(str(attributes["corevital.capture.absent"]))
        assert encoded_bytes(span) <= limit
        assert "cut" in absent["step_events"]
        assert attributes["corevital.steps.recorded"] == len(span.events)
        assert "corevital.risk.score" in attributes
        assert "corevital.narrative" in attributes
        sizes.append((len(span.events), len(attributes.get("corevital.series.entropy", ()))))  # type: ignore[arg-type]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == (0, 0)


def test_estimated_sizes_are_upper_bounds_of_encoded_ones() -> None:
    span = emit(long_run(300), capture="full")
    estimate = (
        budget.SPAN_OVERHEAD
        + budget.attributes_bytes(span.attributes or {})
        + sum(budget.event_bytes(event.name, event.attributes or {}) for event in span.events)
    )
    actual = encoded_bytes(span)
    assert actual <= estimate <= 1.15 * actual


def test_the_process_bucket_refills_with_time() -> None:
    bucket = budget.ByteBucket(capacity=100, seconds=5)
    assert bucket.take(80, now=0)
    assert not bucket.take(40, now=0)
    assert bucket.take(40, now=1.0), "20 bytes a second"
    bucket.give_back(40)
    assert bucket.take(40, now=1.0)


def test_spans_that_come_too_fast_shrink_to_their_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry_instrumentation_corevital.instrumentation import reporting

    monkeypatch.setattr(reporting, "_process_bytes", budget.ByteBucket(capacity=60_000, seconds=1e9))
    model = tiny_model()
    with instrumented() as telemetry:
        for _ in range(4):
            model.generate(prompt(), max_new_tokens=100, do_sample=True, eos_token_id=None)
    first, *_, last = telemetry.spans
    assert len(first.events) > 60
    assert encoded_bytes(last) <= budget.SPAN_BYTES_BUSY
    assert "corevital.risk.score" in (last.attributes or {})
    assert sum(point.value for point in telemetry.metrics()["corevital.dropped"]) > 0


# --- series ------------------------------------------------------------------------------------------------------


def test_downsampling_keeps_extremes_and_order() -> None:
    values = np.random.default_rng(1).normal(size=5000).astype(np.float32)
    kept = downsample(values, 256)
    assert len(kept) <= 256
    assert kept.max() == values.max()
    assert kept.min() == values.min()
    positions = [int(np.flatnonzero(values == value)[0]) for value in kept]
    assert positions == sorted(positions)
    assert np.array_equal(downsample(values[:256], 256), values[:256])


def test_a_series_with_holes_says_so() -> None:
    run = make_run(20, entropy=[1.0] * 15 + [math.nan] * 5)
    series, absent = series_attributes(run)
    assert len(series["corevital.series.entropy"]) == 15
    assert "5 of 20 steps" in absent["corevital.series.entropy"]


def test_slope_is_the_least_squares_slope() -> None:
    values = np.random.default_rng(2).normal(size=50).astype(np.float32)
    assert slope(values) == pytest.approx(np.polyfit(np.arange(50), values.astype(float), 1)[0], abs=1e-6)
    assert slope(np.array([1.0])) is None


def test_an_empty_run_has_a_span() -> None:
    span = emit(make_run(0, tokens=NOT_REPEATING[:0]))
    assert (span.attributes or {})["corevital.steps.total"] == 0
    assert "corevital.risk.score" not in (span.attributes or {})
    assert_described(span)
