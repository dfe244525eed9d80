"""Where a monitor's runs are recorded: one span each, wherever somebody takes it, and a store."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Span, format_trace_id

from opentelemetry_instrumentation_corevital import CoreVitalMonitor, Run, open_store
from opentelemetry_instrumentation_corevital.policies import Stop
from tests.support.in_memory import Telemetry, instrumented
from tests.support.leftovers import leftovers
from tests.support.saved_models import word_tokenizer
from tests.support.scripted_tokens import looping
from tests.support.tiny_models import padded_batch, prompt, tiny_model

SHORT: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The exporter of a global provider."""
    return _global_provider(monkeypatch, TracerProvider(shutdown_on_exit=False))


def _global_provider(monkeypatch: pytest.MonkeyPatch, provider: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


class Mine:
    """A user's judgement."""

    role = "risk"

    def __init__(self) -> None:
        self.runs = list[Run]()

    def on_run_ending(self, span: Span, run: Run) -> None:
        self.runs.append(run)
        span.set_attribute("mine", True)


def test_without_any_provider_there_is_a_trace_id_and_no_warning(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    monitor = CoreVitalMonitor()
    monitor.run(model, prompt(), **SHORT)
    assert int(monitor.get_summary()["trace_id"], 16)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_where_the_process_is_instrumented_a_run_has_one_span(model: Any) -> None:
    mine = Mine()
    with instrumented(judgements=[mine]) as telemetry:
        monitor = CoreVitalMonitor()
        monitor.run(model, prompt(), **SHORT)
        list(monitor.stream(model, prompt(), **SHORT))
        with monitor.wrap_generation(model):
            model.generate(prompt(), **SHORT)
        assert len(telemetry.spans) == len(mine.runs) == 3
        assert all(span.attributes["mine"] for span in telemetry.spans)  # type: ignore[index]
        assert format_trace_id(telemetry.spans[-1].context.trace_id) == monitor.get_summary()["trace_id"]  # type: ignore[union-attr]
        model.generate(prompt(), **SHORT)
        assert len(telemetry.spans) == 4


def test_what_the_monitor_is_not_given_is_as_the_instrumentor_has_it(model: Any) -> None:
    with instrumented(capture="full", policies=[Stop(on="repetition_risk")]) as telemetry:
        CoreVitalMonitor().run(model, prompt(), **looping())
        CoreVitalMonitor(capture_mode="summary").run(model, prompt(), **SHORT)
        stopped, short = (dict(span.attributes or {}) for span in telemetry.spans)
    assert [each["corevital.capture.mode"] for each in (stopped, short)] == ["full", "summary"]
    assert stopped["gen_ai.usage.output_tokens"] < 60


def test_a_monitor_made_before_the_instrumentor_follows_it(model: Any) -> None:
    monitor = CoreVitalMonitor()
    monitor.run(model, prompt(), **SHORT)
    with instrumented() as telemetry:
        monitor.run(model, prompt(), **SHORT)
        assert len(telemetry.spans) == 1
    monitor.run(model, prompt(), **SHORT)
    assert len(telemetry.spans) == 1


def test_where_only_a_global_provider_is_set_the_span_goes_there(model: Any, exporter: InMemorySpanExporter) -> None:
    before = leftovers(model)
    with trace.get_tracer("application").start_as_current_span("request") as request:
        CoreVitalMonitor().run(model, padded_batch(), **SHORT)
    model.generate(prompt(), **SHORT)  # nobody asked for this one
    *sequences, call, last = exporter.get_finished_spans()
    assert (len(sequences), last.name) == (3, "request")
    assert call.parent is not None
    assert call.parent.span_id == request.get_span_context().span_id
    assert {span.parent.span_id for span in sequences if span.parent} == {call.context.span_id}  # type: ignore[union-attr]
    assert leftovers(model) == before


def test_random_generators_are_left_alone(model: Any, exporter: InMemorySpanExporter) -> None:
    import random

    random.seed(3)
    torch.manual_seed(3)
    monitor = CoreVitalMonitor()
    before = (random.getstate(), torch.get_rng_state())
    monitor.run(model, prompt(), **SHORT)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert exporter.get_finished_spans()


# --- the store -------------------------------------------------------------------------------------------------------


def test_runs_are_in_the_store_when_run_returns(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "monitor.db"
    monitor = CoreVitalMonitor(store=path, capture="full")
    assert not path.exists()
    monitor.run(model, "w3 w4", tokenizer=word_tokenizer(), **looping())
    with open_store(path) as store:
        (found,) = store.runs()
        stored = store.load(found)
    assert found.trace_id == monitor.get_summary()["trace_id"]
    assert found.risk_score == monitor.get_risk_score()
    assert stored.columns["entropy"].shape == (60,)
    assert "tokens" not in stored.columns
    assert not [name for name in stored.attributes if name.endswith(".messages")]


def test_streams_blocks_and_batches_are_stored(model: Any, tmp_path: Path) -> None:
    monitor = CoreVitalMonitor(store=tmp_path / "monitor.db")
    list(monitor.stream(model, prompt(), **SHORT))
    next(monitor.stream(model, prompt(), max_new_tokens=250, do_sample=True, eos_token_id=999))
    with monitor.wrap_generation(model):
        model.generate(**padded_batch(), **SHORT)
        with open_store(tmp_path / "monitor.db") as store:
            assert len(store.runs()) == 5
    monitor.close()


@pytest.mark.parametrize("sampler", [None, ALWAYS_OFF], ids=["sampled", "not sampled"])
def test_the_store_gets_its_runs_beside_a_provider(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: Any
) -> None:
    exporter = _global_provider(monkeypatch, TracerProvider(sampler=sampler, shutdown_on_exit=False))
    monitor = CoreVitalMonitor(store=tmp_path / "monitor.db")
    monitor.run(model, prompt(), **SHORT)
    with open_store(tmp_path / "monitor.db") as store:
        (found,) = store.runs()
    assert found.trace_id == monitor.get_summary()["trace_id"]
    spans = exporter.get_finished_spans()
    assert [format_trace_id(span.context.trace_id) for span in spans] == ([] if sampler else [found.trace_id])  # type: ignore[union-attr]


def test_the_store_and_the_instrumentor_get_the_same_span(model: Any, tmp_path: Path) -> None:
    telemetry = Telemetry()
    with instrumented(telemetry, capture="full"):
        CoreVitalMonitor(store=tmp_path / "monitor.db").run(model, prompt(), **SHORT)
    with open_store(tmp_path / "monitor.db") as store:
        (found,) = store.runs()
        assert store.load(found).columns["entropy"].shape == (8,)
    assert format_trace_id(telemetry.span.context.trace_id) == found.trace_id  # type: ignore[union-attr]
    assert [log.event_name for log in telemetry.logs].count("corevital.run.data") >= 1


def test_the_option_stop_on_of_the_monitor_takes_the_place_of_the_instrumentor_s(model: Any) -> None:
    with instrumented(stop_on="repetition_risk", policies=[Stop(on="nan")]):
        for given, reason in (({}, "policy"), ({"stop_on": "nan"}, "length"), ({"stop_on": None}, "length")):
            monitor = CoreVitalMonitor(**given)
            monitor.run(model, prompt(), **looping())
            assert monitor.get_summary()["stop_reason"] == reason


def test_why_policies_cannot_act_is_said_once_by_a_monitor(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    monitor = CoreVitalMonitor(policies=[Stop()])
    for _ in range(3):
        monitor.run(model, prompt(), num_beams=2, **SHORT)
    assert caplog.text.count("policies cannot act on this generate() call") == 1


def test_a_policy_of_the_process_that_waits_for_what_is_not_made_is_said(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with instrumented(policies=[Stop(on=["nan", "repetition_risk"])]):
        monitor = CoreVitalMonitor(enable_early_warning=False)
        for _ in range(2):
            monitor.run(model, prompt(), **SHORT)
    assert caplog.text.count("Stop on repetition_risk cannot act") == 1
