"""Nothing that fails in CoreVital disturbs generate(): an exception is planted at every function that runs."""

import contextvars
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import torch
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span

import opentelemetry_instrumentation_corevital
from opentelemetry_instrumentation_corevital import Judgement, Run
from opentelemetry_instrumentation_corevital._internal import safety
from opentelemetry_instrumentation_corevital.baselines.learner import LEARNER
from opentelemetry_instrumentation_corevital.emission import budget
from opentelemetry_instrumentation_corevital.instrumentation import reporting
from opentelemetry_instrumentation_corevital.policies import BreakReasoning, CoolDown, RollBack, Stop
from tests.support.in_memory import Telemetry, instrumented
from tests.support.policies import never
from tests.support.taught_baselines import SAMPLED
from tests.support.tiers import heavy
from tests.support.tiny_models import padded_batch, prompt, tiny_model

PACKAGE = str(Path(opentelemetry_instrumentation_corevital.__file__).parent)

# The frames that call generate() itself or catch what the others raise. They hold nothing else.
SHIELDS = {
    ("instrumentation/patches.py", "ClassPatch._around.<locals>.method"),
    ("instrumentation/patched_methods.py", "_generate"),
    ("instrumentation/patched_methods.py", "_generation_patches.<locals>.logits_processor"),
    ("instrumentation/recorder.py", "_unseen"),
    ("instrumentation/recorder.py", "Recorder.generate"),
    ("instrumentation/recorder.py", "Recorder._generate"),
    ("instrumentation/recorder.py", "_end"),
    ("instrumentation/inner_calls.py", "generate"),
    ("_internal/safety.py", "shielded"),
    ("_internal/safety.py", "report_internal_error"),
    ("_internal/safety.py", "_Errors.add"),
    ("capture/isolation/compiled_code.py", "left_out.<locals>.outside"),
    ("capture/attach/module_hooks.py", "LayerHook.__call__"),
    ("capture/attach/module_hooks.py", "WeightsHook.__call__"),
    ("capture/attach/attention_registry.py", "_wrap.<locals>.attention"),
    ("capture/attach/generation_loop.py", "hook_logits_processor"),
    ("capture/attach/generation_loop.py", "hook_stopping_criteria"),
    ("capture/attach/generation_loop.py", "HookedLogits.__call__"),
    ("capture/attach/generation_loop.py", "hook_output"),
    ("capture/attach/generation_loop.py", "hook_running_beams"),
    ("capture/attach/generation_loop.py", "hook_finished_beams"),
    ("capture/attach/generation_loop.py", "HookedCriteria.__call__"),
    ("capture/attach/generation_loop.py", "HookedCriteria.__iter__"),
    ("capture/attach/generation_loop.py", "_ask"),
}


class Planted(Exception):
    pass


def name_of(code: CodeType) -> tuple[str, str]:
    return str(Path(code.co_filename).relative_to(PACKAGE)), code.co_qualname


def ours(code: CodeType) -> bool:
    return code.co_filename.startswith(PACKAGE)


def functions_that_run(action: Callable[[], Any]) -> set[CodeType]:
    seen: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and ours(frame.f_code):
            seen.add(frame.f_code)

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return seen


def with_exception_in(code: CodeType, action: Callable[[], Any]) -> tuple[Any, int]:
    """Run the action; every call of the function with this code raises. Return the result and how often it did."""
    planted = 0
    started: list[FrameType] = []  # a generator's frame is called again at each resumption

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal planted
        if event == "call" and frame.f_code is code and frame not in started:
            planted += 1
            started.append(frame)
            # Raising ends tracing; it is started again for the function's next call.
            sys.setprofile(rearm)
            raise Planted(code.co_qualname)
        return None

    def rearm(frame: FrameType, event: str, argument: Any) -> None:
        sys.setprofile(None)
        sys.settrace(trace)

    sys.settrace(trace)
    try:
        return action(), planted
    finally:
        sys.settrace(None)
        sys.setprofile(None)


class Tokenizer:
    def decode(self, tokens: Any, skip_special_tokens: bool) -> str:
        return " ".join(map(str, tokens))


def call_of(case: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return a model, the arguments of its call, and the options of CoreVital."""
    model, options = tiny_model(), {}
    inputs: dict[str, Any] = padded_batch() if case == "batch" else {"input_ids": prompt()}
    if case == "content":
        options = {"capture_message_content": "span_only", "capture": "on_risk"}
        inputs["tokenizer"] = Tokenizer()
    if case == "eager":
        model.set_attn_implementation("eager")
        options = {"capture": "full"}
    if case == "error":
        inputs["logits_processor"] = [FailingProcessor()]
    if case == "cancelled":
        inputs["streamer"] = FailingStreamer()
    if case == "beams":
        inputs |= {**padded_batch(), "num_beams": 2}
    if case == "custom":
        inputs |= {"custom_generate": only_new_tokens}
    if case == "assisted":
        inputs["assistant_model"] = tiny_model(seed=1)
    return model, inputs, options


_HEAVY = [
    heavy(case) for case in ("armed", "assisted", "batch", "beams", "cancelled", "content", "custom", "eager", "error")
]


@pytest.mark.parametrize("case", ["one", "unsampled", *_HEAVY])
def test_an_exception_at_any_function_of_ours_is_kept_from_the_caller(
    case: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    # So many runs in so short a time are cut: which functions run would depend on how fast they came.
    monkeypatch.setattr(reporting, "_process_bytes", budget.ByteBucket(capacity=10**12))

    caplog.set_level(logging.CRITICAL)
    model, inputs, options = call_of(case)

    def generate() -> Any:
        torch.manual_seed(5)
        try:
            return model.generate(**inputs, max_new_tokens=7, do_sample=True)
        except FailingStreamer.Full as error:
            return error

    plain = generate()
    telemetry = Telemetry(sampler=ALWAYS_OFF if case == "unsampled" else ALWAYS_ON)
    with instrumented(telemetry, **options):
        generate()  # imports are done
        functions = {code for code in functions_that_run(generate) if name_of(code) not in SHIELDS}
        assert len(functions) > (15 if case == "unsampled" else 50)
        for code in sorted(functions, key=name_of):
            safety.reset()
            # In a context of its own: with `leave` itself broken, nothing can give the caller's context back.
            (found, planted), left = contextvars.copy_context().run(
                lambda code=code: (with_exception_in(code, generate), otel_context.get_current())
            )
            assert left == otel_context.get_current() or "leave" in code.co_name, name_of(code)
            assert planted, f"{name_of(code)} did not run again"
            if isinstance(plain, torch.Tensor):
                assert torch.equal(found, plain), name_of(code)
            else:
                assert type(found) is type(plain), name_of(code)
        safety.reset()
        telemetry.span_exporter.clear()
        generate()
    if case != "unsampled":
        assert telemetry.spans[-1].attributes, "a run after all that is recorded as before"


@pytest.mark.acceptance
def test_an_exception_at_any_function_of_a_rollback_is_kept_from_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    """The run ends there, or goes on as if nobody had asked; what was kept is what it was."""
    caplog.set_level(logging.CRITICAL)
    model, policy = tiny_model(), RollBack(on=lambda event: event.step_index == 4, to=2)

    def generate() -> Any:
        torch.manual_seed(5)
        return model.generate(prompt(), max_new_tokens=9, do_sample=True, eos_token_id=None, pad_token_id=0)

    plain = generate()
    armed = [Stop(on=never), CoolDown(on=never), BreakReasoning(on=never, tokens=[5])]
    with instrumented(policies=[*armed, policy], max_interventions=1):
        generate()
        functions = {code for code in functions_that_run(generate) if name_of(code) not in SHIELDS}
        parts = (
            "rollback.py",
            "inner_calls.py",
            "policy_engine.py",
            "live_call.py",
            "live_steps.py",
            "steering.py",
            "live_judge.py",
        )
        chosen = [code for code in functions if name_of(code)[0].endswith(parts) or "go_back" in code.co_name]
        assert len(chosen) > 40
        for code in sorted(chosen, key=name_of):
            safety.reset()
            found, planted = with_exception_in(code, generate)
            assert planted, name_of(code)
            assert torch.equal(found[:, : 6 + 4], plain[:, : 6 + 4]), name_of(code)
            assert found.shape[1] <= plain.shape[1], name_of(code)
    safety.reset()


def test_an_exception_at_any_function_of_a_baseline_is_kept_from_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    """Looking for what is usual, judging by it, and handing the run over to be learned from."""
    caplog.set_level(logging.CRITICAL)
    model = tiny_model()

    def generate() -> Any:
        torch.manual_seed(5)
        return model.generate(prompt(), **SAMPLED)

    plain = generate()
    LEARNER.forget()
    try:
        with instrumented(baseline="auto") as telemetry:
            generate()  # imports are done, and the thread is there
            functions = {code for code in functions_that_run(generate) if name_of(code) not in SHIELDS}
            parts = ("baselines/lookup.py", "baselines/learner.py", "emission/judgements.py", "assessment/health.py")
            chosen = [code for code in functions if name_of(code)[0] in parts]
            assert {"Learner.hand_over", "Profiles.of_run", "Teacher.on_run_ending"} <= {name_of(c)[1] for c in chosen}
            for code in sorted(chosen, key=name_of):
                safety.reset()
                found, planted = with_exception_in(code, generate)
                assert planted, name_of(code)
                assert torch.equal(found, plain), name_of(code)
            safety.reset()
            assert LEARNER.force_flush()
            telemetry.span_exporter.clear()
            generate()
        assert (telemetry.span.attributes or {})["corevital.baseline.source"] == "learned"
    finally:
        LEARNER.forget()


def only_new_tokens(
    model: Any, input_ids: torch.Tensor, logits_processor: Any, stopping_criteria: Any, **_: Any
) -> torch.Tensor:
    columns = input_ids.shape[1]
    for _step in range(7):
        logits = logits_processor(input_ids, model(input_ids).logits[:, -1].float())
        input_ids = torch.cat([input_ids, logits.argmax(-1)[:, None]], -1)
        stopping_criteria(input_ids, None)
    return input_ids[:, columns:]


class FailingStreamer:
    class Full(Exception):
        pass

    def __init__(self) -> None:
        self.count = 0

    def put(self, value: torch.Tensor) -> None:
        self.count += 1
        if self.count % 4 == 0:
            raise self.Full

    def end(self) -> None: ...


class FailingProcessor(FailingStreamer):
    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.put(scores)
        return scores


def test_a_failing_judgement_leaves_the_others_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Judgement):
        role = "health"

        def on_run_ending(self, span: Span, run: Run) -> None:
            raise ValueError("quotes the prompt: my secret")

    model = tiny_model()
    with instrumented(judgements=[Broken()]) as telemetry:
        for _ in range(3):
            model.generate(prompt(), max_new_tokens=3, do_sample=False)
    assert len(telemetry.spans) == 3
    attributes = telemetry.spans[0].attributes or {}
    assert "corevital.health.nan_detected" not in attributes
    assert "corevital.narrative" in attributes
    warnings = [record.getMessage() for record in caplog.records if "ValueError" in record.getMessage()]
    assert len(warnings) == 1
    assert "judgement health" in warnings[0]
    assert "secret" not in caplog.text


class Broken:
    """A judgement that fails as it is told to."""

    role = "risk"

    def __init__(self, *errors: type[Exception]) -> None:
        self.errors = errors or (ValueError,)
        self.runs = 0

    def on_run_ending(self, span: Span, run: Run) -> None:
        self.runs += 1
        raise self.errors[self.runs % len(self.errors)]


class Time:
    """The breaker's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e6
        monkeypatch.setattr(safety, "monotonic", lambda: self.now)


def spans_of(telemetry: Telemetry, calls: int) -> int:
    """Return how many spans some calls make."""
    telemetry.span_exporter.clear()
    model = tiny_model()
    for _ in range(calls):
        model.generate(prompt(), max_new_tokens=1, do_sample=False)
    return len(telemetry.spans)


def test_the_breaker_opens_says_so_and_closes_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time(monkeypatch)
    with instrumented(judgements=[Broken()]) as telemetry:
        assert spans_of(telemetry, safety.BREAKER_LIMIT + 3) == safety.BREAKER_LIMIT
        told = [record.getMessage() for record in caplog.records if "keeps coming back" in record.getMessage()]
        assert told == [
            "CoreVital: ValueError in judgement risk keeps coming back; "
            "no run is recorded for 60 s, then it is tried again"
        ]
        clock.now += safety.BREAKER_PAUSE - 1
        assert spans_of(telemetry, 1) == 0
        clock.now += 2
        assert spans_of(telemetry, 3) == 1, "on trial: the first error opens it again"
        assert "for 120 s" in caplog.records[-1].getMessage()
        clock.now += safety.BREAKER_PAUSE + 1
        assert spans_of(telemetry, 1) == 0, "for twice as long"


def test_a_trial_without_an_error_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, broken = Time(monkeypatch), Broken()
    with instrumented(judgements=[broken]) as telemetry:
        spans_of(telemetry, safety.BREAKER_LIMIT)
        clock.now += safety.BREAKER_PAUSE + safety.BREAKER_WINDOW + 1
        assert spans_of(telemetry, safety.BREAKER_LIMIT + 3) == safety.BREAKER_LIMIT


def test_errors_of_several_kinds_and_rare_ones_do_not_open_the_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = Time(monkeypatch), 2 * safety.BREAKER_LIMIT - 2
    with instrumented(judgements=[Broken(ValueError, KeyError)]) as telemetry:
        assert spans_of(telemetry, calls) == calls
    with instrumented(judgements=[Broken()]) as telemetry:
        for _ in range(3):
            assert spans_of(telemetry, safety.BREAKER_LIMIT - 1) == safety.BREAKER_LIMIT - 1
            clock.now += safety.BREAKER_WINDOW + 1


def test_a_raising_exporter_and_processor_do_not_reach_the_caller() -> None:
    class Raising(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            raise RuntimeError("exporter")

        def shutdown(self) -> None: ...

    class RaisingProcessor(Judgement):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise RuntimeError("on_start")

        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("on_end")

    model = tiny_model()
    plain = model.generate(prompt(), max_new_tokens=4, do_sample=False)
    for processor in (SimpleSpanProcessor(Raising()), RaisingProcessor()):
        provider = TracerProvider()
        provider.add_span_processor(processor)
        with instrumented(tracer_provider=provider):
            assert torch.equal(model.generate(prompt(), max_new_tokens=4, do_sample=False), plain)
