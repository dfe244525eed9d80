"""`testing.py`: what users' own tests capture, and that nothing of it stays."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics, trace

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, SettingsError
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry, capture_runs
from tests.support.in_memory import Keep
from tests.support.patched_methods import methods
from tests.support.tiny_models import prompt, tiny_model

PAGE = Path(__file__).parent.parent / "docs" / "testing.md"
APP = """
import os
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(os.environ["MODEL"])
tokenizer = AutoTokenizer.from_pretrained(os.environ["MODEL"])

def answer(question):
    inputs = tokenizer(question, return_tensors="pt")
    return tokenizer.decode(model.generate(**inputs, max_new_tokens=12, do_sample=False)[0])
"""


def generate(model: Any, **options: Any) -> None:
    model.generate(prompt(), **{"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, **options})


@pytest.mark.real_model
@pytest.mark.xdist_group("real_model")
@pytest.mark.acceptance
def test_the_page_works(demo_folder: str, tmp_path: Path) -> None:
    conftest, tests, block = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for name, text in (("conftest.py", conftest), ("test_answers.py", tests), ("block.py", block), ("app.py", APP)):
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -p no:cacheprovider\n")
    environment = {**os.environ, "MODEL": demo_folder, "HF_HUB_OFFLINE": "1"}
    for arguments, said in ((["-m", "pytest", "-q"], "2 passed"), (["block.py"], r"\['\w+', '\w+'\]")):
        found = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert found.returncode == 0, found.stdout + found.stderr
        assert re.search(said, found.stdout)


def test_everything_is_captured_and_stays_to_be_read() -> None:
    model, keep = tiny_model(), Keep()
    with capture_runs(capture="full", judgements=[keep]) as captured:
        generate(model)
        assert captured.run.steps == 8
        captured.clear()
        assert (captured.runs, captured.spans, captured.logs) == ([], [], [])
        generate(model, num_return_sequences=2, do_sample=True)
    assert [run.sequence_index for run in captured.runs] == [0, 1]
    assert all(run.health and run.risk and run.narrative for run in captured.runs)
    assert len(captured.spans) == 3, "the call and its two sequences"
    assert {log.event_name for log in captured.logs} == {"gen_ai.evaluation.result", "corevital.run.data"}
    (points,) = captured.metrics()["corevital.run.risk_score"]
    assert points.count == 3, "metrics add up"
    assert len(keep.runs) == 3
    with pytest.raises(AssertionError, match="2 runs were captured, not one"):
        _ = captured.run


def test_no_trace_is_left() -> None:
    model = tiny_model()
    before, threads = methods(), threading.enumerate()
    providers = trace.get_tracer_provider(), metrics.get_meter_provider()
    for _ in range(3):
        with capture_runs() as captured:
            generate(model)
        assert len(captured.runs) == 1
    with pytest.raises(ZeroDivisionError), capture_runs():
        _ = 1 / 0
    assert methods() == before
    assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == providers
    assert threading.enumerate() == threads
    assert not CoreVitalInstrumentor().is_instrumented_by_opentelemetry
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    generate(model)
    assert len(captured.runs) == 1


def test_a_process_that_is_instrumented_is_so_again() -> None:
    model, application = tiny_model(), InMemoryTelemetry()
    CoreVitalInstrumentor().instrument(**application.providers)
    try:
        with capture_runs() as outer:
            generate(model)
            with capture_runs() as inner:
                generate(model)
                CoreVitalInstrumentor().instrument()  # as an application may do again; it only warns
                generate(model)
            generate(model)
        assert (len(inner.runs), len(outer.runs), application.spans) == (2, 2, [])
        generate(model)
        assert len(application.spans) == 1
    finally:
        CoreVitalInstrumentor().uninstrument()


def test_a_block_may_uninstrument(monkeypatch: pytest.MonkeyPatch) -> None:
    model, before = tiny_model(), methods()
    with capture_runs():
        CoreVitalInstrumentor().uninstrument()
    assert methods() == before
    application = InMemoryTelemetry()
    CoreVitalInstrumentor().instrument(**application.providers)
    with capture_runs() as captured:
        CoreVitalInstrumentor().uninstrument()
        generate(model)
    assert (methods(), captured.runs, application.spans) == (before, [], [])
    CoreVitalInstrumentor().instrument(**application.providers)
    try:
        generate(model)
    finally:
        CoreVitalInstrumentor().uninstrument()
    assert len(application.spans) == 1


def test_the_environment_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    monkeypatch.setenv("OTEL_COREVITAL_ENABLED", "false")
    monkeypatch.setenv("OTEL_COREVITAL_CAPTURE_RATIO", "0")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with capture_runs() as captured:
        generate(model)
    assert captured.run.risk is not None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with pytest.raises(RuntimeError, match="OTEL_SDK_DISABLED"), capture_runs():
        pass


def test_bad_options_are_told_and_leave_nothing() -> None:
    before = methods()
    with pytest.raises(SettingsError, match="capture"), capture_runs(capture="all"):
        pass
    assert methods() == before
    assert not CoreVitalInstrumentor().is_instrumented_by_opentelemetry
