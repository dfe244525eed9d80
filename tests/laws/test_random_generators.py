"""Law 1 for generators: Python's `random` is left alone, and no seed of a caller's repeats the ids of its runs."""

import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from opentelemetry.sdk.metrics import Histogram, MeterProvider, SimpleFixedSizeExemplarReservoir
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider
from transformers import LogitsProcessor, LogitsProcessorList

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.instrumentation.recording import chosen
from opentelemetry_instrumentation_corevital.store import open_store
from opentelemetry_instrumentation_corevital.version import __version__
from tests.support.in_memory import Telemetry, instrumented
from tests.support.subprocesses import run
from tests.support.tiny_models import padded_batch, prompt, tiny_model

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

CALLS: dict[str, dict[str, Any]] = {
    "one": {},
    "several sequences": {"num_return_sequences": 3},
    "a batch": padded_batch(),
    "beams": {"num_beams": 2, "do_sample": False},
    "many tokens": {"max_new_tokens": 40, "eos_token_id": None},
}


def generate(model: Any, **options: Any) -> torch.Tensor:
    return model.generate(**{"input_ids": prompt(), "max_new_tokens": 3, "do_sample": True, **options})


def seeded(model: Any, **options: Any) -> tuple[Any, ...]:
    """Return the tokens of three calls after seeds, and the states of all generators then.

    Three, since what the SDK keeps for an exemplar is drawn from the second number on.
    """
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    tokens = [generate(model, **options).tolist() for _ in range(3)]
    name, keys, *rest = np.random.get_state()
    return tokens, random.getstate(), (name, keys.tolist(), *rest), torch.get_rng_state().tolist()


@pytest.mark.parametrize("call", CALLS)
def test_no_call_draws_from_a_generator_of_the_process(call: str) -> None:
    model, options = tiny_model(), CALLS[call]
    plain = seeded(model, **options)
    with instrumented(capture="full", step_events="logs") as telemetry:
        assert seeded(model, **options) == plain
        with telemetry.tracer_provider.get_tracer("app").start_as_current_span("request"):
            assert seeded(model, **options) == plain
    assert seeded(model, **options) == plain
    assert len(telemetry.spans) >= 6


@pytest.mark.parametrize(
    "providers",
    [
        {"tracer_provider": NoOpTracerProvider(), "capture_unsampled": True},
        {"tracer_provider": NoOpTracerProvider(), "capture_unsampled": True, "capture_ratio": 0.5},
        Telemetry(sampler=ALWAYS_OFF).providers,
        {"meter_provider": MeterProvider(shutdown_on_exit=False)},
    ],
    ids=["metrics and logs alone", "a share of them", "unsampled", "no reader"],
)
def test_nor_where_no_span_is_recorded(providers: dict[str, Any]) -> None:
    model = tiny_model()
    plain = seeded(model)
    with instrumented(**providers):
        assert seeded(model) == plain


def test_a_processor_that_draws_from_random_chooses_the_same_tokens() -> None:
    class Whim(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            scores[:, random.randrange(3, scores.shape[1])] += 20.0
            return scores

    model, options = tiny_model(), {"logits_processor": LogitsProcessorList([Whim()]), "max_new_tokens": 12}
    plain = seeded(model, **options)
    with instrumented():
        assert seeded(model, **options) == plain


def test_a_failed_call_draws_nothing() -> None:
    class Fail(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            raise ValueError("no")

    with instrumented():
        for _ in range(3):
            before = random.getstate()
            with pytest.raises(ValueError, match="no"):
                generate(tiny_model(), logits_processor=LogitsProcessorList([Fail()]))
            assert random.getstate() == before


# --- span ids ----------------------------------------------------------------------------------------------------

PROGRAM = """
import os, random, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from transformers import set_seed
from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from tests.support.tiny_models import prompt, tiny_model

def script():
    CoreVitalInstrumentor().instrument()  # before the provider: the tracer is a proxy
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SQLiteSpanExporter(sys.argv[1])))
    trace.set_tracer_provider(provider)
    model = tiny_model()
    set_seed(0)
    plain = [random.randrange(100) for _ in range(5)]
    set_seed(0)
    model.generate(prompt(), max_new_tokens=3)
    assert [random.randrange(100) for _ in range(5)] == plain, "also at a process's first call, with all its imports"
    set_seed(0)
    with trace.get_tracer("app").start_as_current_span("request"):  # its ids are the same in each process
        model.generate(prompt(), max_new_tokens=3, do_sample=True, num_return_sequences=2)
    provider.shutdown()

for _ in range(3):  # processes of their own that need not import torch again
    child = os.fork()
    if child == 0:
        code = 1
        try:
            script()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
"""


@forks
def test_one_seeded_script_three_times_is_three_times_as_many_runs(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    run([sys.executable, "-c", PROGRAM, str(database)])
    with open_store(database) as store:
        runs = store.runs(limit=100)
    assert len(runs) == 3 * (1 + 2)
    assert len({(summary.trace_id, summary.span_id) for summary in runs}) == 9
    assert len({summary.trace_id for summary in runs}) == 3 + 1, "the request's own trace id is the application's"


class Counting(RandomIdGenerator):
    """An id generator of the user's own: ids in order."""

    def __init__(self) -> None:
        self.last = 0

    def generate_span_id(self) -> int:
        self.last += 1
        return self.last


def ids(provider: TracerProvider, *, scope: str = semconv.SCOPE_NAME) -> Any:
    """Return the id generator of a scope's tracer."""
    tracer: Any = provider.get_tracer(scope, __version__ if scope == semconv.SCOPE_NAME else None)
    return tracer.id_generator


def test_only_corevitals_tracer_gets_other_ids_and_only_while_it_is_instrumented() -> None:
    telemetry, model = Telemetry(), tiny_model()
    provider = telemetry.tracer_provider
    default = provider.id_generator
    for _ in range(2):
        with instrumented(telemetry):
            generate(model)
            assert ids(provider, scope="app") is default
            assert provider.id_generator is default
        assert ids(provider) is default
    with instrumented(telemetry), telemetry.tracer_provider.get_tracer("app").start_as_current_span("request"):
        pass
    first, second, _request = telemetry.span_exporter.get_finished_spans()
    assert len({first.context.trace_id, second.context.trace_id}) == 2
    assert first.context.trace_flags.sampled


def test_another_generator_of_the_providers_stays() -> None:
    telemetry, model = Telemetry(), tiny_model()
    own = telemetry.tracer_provider.id_generator = Counting()
    with instrumented(telemetry):
        generate(model, num_return_sequences=2)
        assert ids(telemetry.tracer_provider) is own
    assert sorted(span.context.span_id for span in telemetry.spans if span.context) == [1, 2, 3]


def test_a_tracer_that_others_share_stays_as_it_is() -> None:
    class OneForAll(TracerProvider):
        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            return tracer

    tracer: Any = TracerProvider(shutdown_on_exit=False).get_tracer("everybody")
    before = tracer.id_generator
    with instrumented(tracer_provider=OneForAll(shutdown_on_exit=False)):
        generate(tiny_model())
        assert tracer.id_generator is before


@forks
def test_children_of_a_fork_have_ids_of_their_own() -> None:
    telemetry = Telemetry()
    with instrumented(telemetry):
        generate(tiny_model())
        generator = ids(telemetry.tracer_provider)
        children = [
            in_child(lambda: f"{generator.generate_span_id()} {generator.generate_trace_id()}") for _ in range(3)
        ]
    assert len(set(children)) == 3
    shares = {in_child(lambda: "".join(str(int(chosen(0, 0.5))) for _ in range(64))) for _ in range(3)}
    assert len(shares) == 3, "which calls without a trace id are measured does not repeat itself either"


def in_child(ask: Any) -> str:
    """Return what a forked child answers."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, ask().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer


# --- exemplars ---------------------------------------------------------------------------------------------------


def exemplars(reader: InMemoryMetricReader) -> dict[str, int]:
    """Return metric -> its exemplars."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: sum(len(point.exemplars) for point in metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_only_explicit_histograms_have_exemplars() -> None:
    with instrumented() as telemetry:
        generate(tiny_model())
        found = exemplars(telemetry.reader)
    assert found[semconv.METRIC_OPERATION_DURATION] > 0
    assert found[semconv.METRIC_RUN_RISK_SCORE] > 0
    for name in (semconv.METRIC_RUNS, semconv.METRIC_ENTROPY, semconv.METRIC_LAYER_L2_NORM):
        assert found[name] == 0, name


EXPONENTIAL = ExponentialBucketHistogramAggregation()


VIEWS = {
    "exponential": View(instrument_name="*", instrument_type=Histogram, aggregation=EXPONENTIAL),
    "a reservoir that draws": View(
        instrument_name="gen_ai.*",
        exemplar_reservoir_factory=lambda _kind: lambda **_options: SimpleFixedSizeExemplarReservoir(size=1),
    ),
    "all layers as one": View(instrument_name="corevital.layer.*", attribute_keys=set()),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_the_users_makes_nothing_draw(view: str) -> None:
    model, reader = tiny_model(), InMemoryMetricReader()
    plain = seeded(model, max_new_tokens=30, eos_token_id=None)
    provider = MeterProvider([reader], views=[VIEWS[view]], shutdown_on_exit=False)
    telemetry = Telemetry()
    request = telemetry.tracer_provider.get_tracer("app").start_as_current_span("request")
    with instrumented(telemetry, meter_provider=provider), request:
        assert seeded(model, max_new_tokens=30, eos_token_id=None) == plain
        kept = exemplars(reader)
        assert random.getstate() == plain[1], "reading the metrics inside a span draws nothing either"
    assert bool(kept[semconv.METRIC_RUN_RISK_SCORE]) == (view != "exponential")


def test_nor_does_a_readers_preference() -> None:
    """What OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION asks for."""
    reader = InMemoryMetricReader(preferred_aggregation={Histogram: EXPONENTIAL})
    model = tiny_model()
    plain = seeded(model, max_new_tokens=30, eos_token_id=None)
    with instrumented(meter_provider=MeterProvider([reader], shutdown_on_exit=False)):
        assert seeded(model, max_new_tokens=30, eos_token_id=None) == plain
