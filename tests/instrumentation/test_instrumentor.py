"""instrument() and uninstrument(): idempotent, thread-safe, leaving no trace; the providers that they meet."""

import gc
import logging
import subprocess
import sys
import textwrap
import threading
import weakref
from collections import Counter
from typing import Any

import pytest
import torch
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import NonRecordingSpan, Span
from transformers.generation.utils import GenerationMixin
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, Judgement, Run, SettingsError, disabled
from tests.support.in_memory import Telemetry, instrumented
from tests.support.patched_methods import methods
from tests.support.tiers import heavy
from tests.support.tiny_models import prompt, tiny_model


def generate(model: Any, **options: Any) -> torch.Tensor:
    return model.generate(prompt(), **{"max_new_tokens": 3, "do_sample": False, **options})


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_hundred_rounds_leave_no_trace() -> None:
    before, instrumentor, telemetry = methods(), CoreVitalInstrumentor(), Telemetry()
    model = tiny_model()
    for _ in range(100):
        instrumentor.instrument(**telemetry.providers)
        instrumentor.instrument(**telemetry.providers)
        instrumentor.uninstrument()
    assert all(now is then for now, then in zip(methods(), before, strict=True))
    generate(model)
    assert telemetry.spans == []
    with instrumented(telemetry):
        generate(model)
    assert len(telemetry.spans) == 1, "one span per run, however often it was instrumented"
    assert len(telemetry.tracer_provider._active_span_processor._span_processors) == 1


def test_threads_may_switch_it_while_others_generate() -> None:
    model, before = tiny_model(), methods()
    expected = generate(model)
    failures: list[BaseException] = []

    def switch() -> None:
        for _ in range(30):
            CoreVitalInstrumentor().instrument(**telemetry.providers)
            CoreVitalInstrumentor().uninstrument()

    def use() -> None:
        try:
            for _ in range(15):
                assert torch.equal(generate(model), expected)
        except BaseException as error:
            failures.append(error)

    telemetry = Telemetry()
    threads = [threading.Thread(target=target) for target in (switch, use, use, switch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(now is then for now, then in zip(methods(), before, strict=True))


def objects() -> Counter[str]:
    """Count what lives: CoreVital's objects by type, and all objects together."""
    gc.collect()
    alive = gc.get_objects()
    names = (f"{type(each).__module__}.{type(each).__qualname__}" for each in alive)
    ours = Counter(name for name in names if name.startswith("opentelemetry_instrumentation_corevital"))
    ours["all"] = len(alive)
    return ours


def test_a_hundred_rounds_on_several_providers_from_several_threads(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)  # one thread instruments what another has instrumented: each time a warning is kept
    model, before, attention = tiny_model(), methods(), dict(ALL_ATTENTION_FUNCTIONS)
    expected, telemetries = generate(model), [Telemetry() for _ in range(3)]
    failures: list[BaseException] = []

    def rounds(telemetry: Telemetry, count: int) -> None:
        try:
            for _ in range(count):
                CoreVitalInstrumentor().instrument(**telemetry.providers, capture="full")
                assert torch.equal(generate(model), expected)
                CoreVitalInstrumentor().uninstrument()
        except BaseException as error:
            failures.append(error)

    def in_threads(count: int) -> int:
        threads = [threading.Thread(target=rounds, args=(telemetry, count)) for telemetry in telemetries]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ids = [span.context.span_id for telemetry in telemetries for span in telemetry.spans if span.context]
        assert len(ids) == len(set(ids))
        for telemetry in telemetries:
            telemetry.span_exporter.clear()
            telemetry.log_exporter.clear()
        return len(ids)

    def left() -> tuple[dict[str, int], int]:
        """Return what 34 rounds in each of three threads leave: CoreVital's objects by type, and all objects."""
        first = objects()
        assert 0 < in_threads(34) <= 3 * 34, "a run is told once, and not at all where another has uninstrumented"
        last = objects()
        assert failures == []
        grown = last.pop("all") - first.pop("all")
        # Which providers the first rounds came to use, and what was alive with them, is the threads' luck.
        return {name: last[name] - first[name] for name in last if last[name] - first[name] > len(telemetries)}, grown

    in_threads(5)
    more, grown = left()
    if more or grown >= 100:  # something used for the first time leaves objects once, a leak leaves them each time
        more, grown = left()
    assert more == {}, "34 rounds in each of three threads leave nothing"
    assert grown < 100, "less than one object a round"
    assert all(now is then for now, then in zip(methods(), before, strict=True))
    assert dict(ALL_ATTENTION_FUNCTIONS) == attention
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for telemetry in telemetries:
        assert len(telemetry.tracer_provider._active_span_processor._span_processors) == 1
        telemetry.span_exporter.clear()
        with instrumented(telemetry, capture="full"):
            generate(model, max_new_tokens=12, eos_token_id=None)
            names = telemetry.metrics()
            assert "corevital.layer.attention_entropy" in names, "what is observed is that of this round"
            assert len(names["corevital.layer.l2_norm"]) == 2
        assert len(telemetry.spans) == 1


def test_a_provider_that_is_dropped_is_not_kept() -> None:
    model, telemetry = tiny_model(), Telemetry()
    with instrumented(telemetry):
        generate(model)
    providers = [weakref.ref(provider) for provider in telemetry.providers.values()]
    for provider in telemetry.providers.values():
        provider.shutdown()
    del telemetry, provider
    gc.collect()
    assert [provider() for provider in providers] == [None] * 3


def test_another_librarys_patch_on_top_of_ours_stays() -> None:
    import wrapt

    model, before, calls = tiny_model(), methods(), []

    def theirs(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append(1)
        return wrapped(*args, **kwargs)

    telemetry = Telemetry()
    instrumentor = CoreVitalInstrumentor()
    instrumentor.instrument(**telemetry.providers)
    wrapt.wrap_function_wrapper(GenerationMixin, "generate", theirs)
    try:
        instrumentor.uninstrument()
        generate(model)
        assert (len(calls), len(telemetry.spans)) == (1, 0)
        instrumentor.instrument(**telemetry.providers)
        generate(model)
        assert (len(calls), len(telemetry.spans)) == (2, 1)
        instrumentor.uninstrument()
    finally:
        GenerationMixin.generate = before[0]


@pytest.mark.parametrize("order", ["before", heavy("after")])
def test_transformers_may_be_imported_before_or_after(order: str) -> None:
    imports = "from transformers import LlamaConfig, LlamaForCausalLM"
    code = f"""
        import sys
        from tests.support.providers import spans_of, provider
        from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
        {imports if order == "before" else ""}
        CoreVitalInstrumentor().instrument(tracer_provider=provider())
        assert ("torch" in sys.modules) is {order == "before"}
        {imports}
        from tests.support.tiny_models import tiny_model, prompt
        tiny_model().generate(prompt(), max_new_tokens=2, do_sample=False)
        print(len(spans_of()))
    """
    found = python(code)
    assert found.stdout.strip() == "1", found.stderr
    assert "CoreVital" not in found.stderr


def test_the_global_provider_may_be_set_before_or_after() -> None:
    code = """
        from opentelemetry import trace
        from tests.support.providers import provider, spans_of
        from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
        from tests.support.tiny_models import tiny_model, prompt
        CoreVitalInstrumentor().instrument()
        trace.set_tracer_provider(provider())
        tiny_model().generate(prompt(), max_new_tokens=2, do_sample=False)
        print(len(spans_of()))
    """
    assert python(code).stdout.strip() == "1"


def test_a_provider_that_is_not_the_sdks() -> None:
    class ForeignSpan(NonRecordingSpan):
        """A span that records and has nothing but the API's methods."""

        def __init__(self) -> None:
            super().__init__(trace.INVALID_SPAN_CONTEXT)
            self.seen: dict[str, Any] = {}
            self.ended = 0

        def is_recording(self) -> bool:
            return True

        def set_attribute(self, key: str, value: Any) -> None:
            self.seen[key] = value

        def set_attributes(self, attributes: Any) -> None:
            self.seen.update(attributes)

        def end(self, end_time: int | None = None) -> None:
            self.ended += 1

    class ForeignTracer(trace.NoOpTracer):
        def start_span(self, *args: Any, **kwargs: Any) -> Span:
            return span

    class ForeignProvider(trace.TracerProvider):
        def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
            return ForeignTracer()

    span = ForeignSpan()
    with instrumented(tracer_provider=ForeignProvider()):
        generate(tiny_model())
    assert span.ended == 1
    assert span.seen["corevital.steps.total"] == 3
    assert span.seen["corevital.risk.level"] in ("low", "medium", "high")


def test_suppression_and_disabled_make_no_run() -> None:
    model = tiny_model()
    with instrumented() as telemetry:
        with suppress_instrumentation():
            generate(model)
        with disabled():
            generate(model)
        assert telemetry.spans == []
        assert telemetry.metrics() == {}
        generate(model)
        assert len(telemetry.spans) == 1


def test_capture_unsampled_judges_what_is_not_recorded() -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    with instrumented(Telemetry(sampler=ALWAYS_OFF), capture_unsampled=True) as telemetry:
        generate(tiny_model())
    metrics = telemetry.metrics()
    assert telemetry.spans == []
    assert metrics["corevital.runs"][0].attributes["corevital.captured"] is True
    assert metrics["corevital.run.risk_score"][0].count == 1


def test_spans_nest_in_the_callers_span_and_children_in_theirs() -> None:
    model = tiny_model()
    with instrumented() as telemetry:
        tracer = telemetry.tracer_provider.get_tracer("app")
        with tracer.start_as_current_span("request") as request:
            generate(model, do_sample=True, num_return_sequences=2)
            assert trace.get_current_span() is request
    *children, call = telemetry.spans
    assert call.parent is not None
    assert call.parent.span_id == request.get_span_context().span_id
    assert {child.parent.span_id for child in children if child.parent} == {call.context.span_id}  # type: ignore[union-attr]


# --- judgements --------------------------------------------------------------------------------------------------


class Own(Judgement):
    role = "risk"

    def on_run_ending(self, span: Span, run: Run) -> None:
        assert run.health is not None, "health is judged before risk"
        span.set_attribute("own.risk", 0.5)


def test_a_judgement_replaces_ours_of_its_role() -> None:
    with instrumented(judgements=[Own()]) as telemetry:
        generate(tiny_model())
    attributes = telemetry.span.attributes or {}
    assert attributes["own.risk"] == 0.5
    assert "corevital.risk.score" not in attributes
    assert "corevital.narrative" in attributes


def test_a_judgement_on_the_provider_enlists_itself_for_runs_only() -> None:
    telemetry = Telemetry()
    telemetry.tracer_provider.add_span_processor(Own())
    model = tiny_model()
    with instrumented(telemetry), telemetry.tracer_provider.get_tracer("app").start_as_current_span("other"):
        generate(model, do_sample=True, num_return_sequences=2)
    *children, call = telemetry.spans
    for child in children:
        attributes = child.attributes or {}
        assert attributes["own.risk"] == 0.5
        assert "corevital.risk.score" not in attributes
    assert "own.risk" not in (call.attributes or {})


def test_what_is_no_judgement_is_refused() -> None:
    with pytest.raises(TypeError, match="role"):
        CoreVitalInstrumentor().instrument(judgements=[object()])
    assert not CoreVitalInstrumentor().is_instrumented_by_opentelemetry


# --- settings ----------------------------------------------------------------------------------------------------


def test_a_bad_option_raises_in_code_and_nothing_is_patched() -> None:
    before = methods()
    for options, message in (({"captur": "full"}, "did you mean 'capture'"), ({"capture": "all"}, "from keyword")):
        with pytest.raises(SettingsError, match=message):
            CoreVitalInstrumentor().instrument(**options)
    assert all(now is then for now, then in zip(methods(), before, strict=True))
    with instrumented() as telemetry:  # a good call afterwards works
        generate(tiny_model())
    assert len(telemetry.spans) == 1


def test_zero_code_start_up_never_raises_and_stays_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_CAPTURE", "everything")
    before = methods()
    instrumentor = CoreVitalInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    instrumentor.instrument(skip_dep_check=True)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "OTEL_COREVITAL_CAPTURE" in errors[0].getMessage()
    assert "stays off" in errors[0].getMessage()
    assert all(now is then for now, then in zip(methods(), before, strict=True))
    monkeypatch.delenv("OTEL_COREVITAL_CAPTURE")
    with instrumented():
        pass


def test_enabled_false_patches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_ENABLED", "false")
    before = methods()
    with instrumented():
        assert all(now is then for now, then in zip(methods(), before, strict=True))


def test_without_a_provider_one_warning_names_the_distro() -> None:
    code = """
        import logging
        logging.basicConfig(level=logging.WARNING)
        from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
        from tests.support.tiny_models import tiny_model, prompt
        CoreVitalInstrumentor().instrument()
        for _ in range(2):
            tiny_model().generate(prompt(), max_new_tokens=2, do_sample=False)
    """
    assert python(code).stderr.count("opentelemetry-distro") == 1


def test_importing_the_package_is_cheap() -> None:
    code = """
        import sys, time
        import opentelemetry.instrumentation.instrumentor
        before = set(sys.modules)
        start = time.process_time()  # and not what other processes take of the machine
        import opentelemetry_instrumentation_corevital
        from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
        elapsed = time.process_time() - start
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        assert not new & {"torch", "transformers", "numpy", "pydantic", "pydantic_settings", "rich", "typer"}, new
        print(elapsed)
    """
    fastest = min(float(python(code).stdout) for _ in range(3))
    assert fastest < 0.06


def test_the_torch_free_rooms_work_without_torch() -> None:
    code = """
        import sys
        sys.modules["torch"] = sys.modules["transformers"] = None
        from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, Run, Settings, disabled
        from opentelemetry_instrumentation_corevital import processors, store, run, config
        from opentelemetry_instrumentation_corevital.instrumentation import recorder
        from opentelemetry_instrumentation_corevital.store import exporters, sqlite_source, writer
        from opentelemetry_instrumentation_corevital.cli import app
        CoreVitalInstrumentor().instrument(skip_dep_check=True)
        CoreVitalInstrumentor().uninstrument()
        print(app.run_command(["run", "--model", "x", "--prompt", "y", "--no-store"]))
    """
    found = python(code)
    assert found.stdout.strip() == "1", found.stderr
    assert "[transformers]" in found.stderr
