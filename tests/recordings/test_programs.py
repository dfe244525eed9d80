"""`recording()` in whole programs: however they end, and beside providers of their own."""

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from transformers import StoppingCriteria

from opentelemetry_instrumentation_corevital import recording
from opentelemetry_instrumentation_corevital.store import open_store
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.in_memory import instrumented
from tests.support.processes import process, wait_until
from tests.support.subprocesses import ROOT, exporting, run, stored_spans
from tests.support.tiers import heavy
from tests.support.tiny_models import prompt, tiny_model

PROGRAMS = Path(__file__).parent / "programs"


def program(name: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, str(PROGRAMS / f"{name}.py"), *map(str, arguments)]


def tokens(path: Path) -> list[int | None]:
    with open_store(path) as store:
        return sorted(each.output_tokens or 0 for each in store.runs(limit=None))


@pytest.mark.parametrize(
    ("way", "code", "stored"),
    [("returns", 0, [4]), heavy("raises", 1, [4]), ("forks", 0, [4, 5, 6, 7]), heavy("forks and exits", 0, [4, 5, 6])],
)
def test_a_program_that_never_stops_it_loses_nothing(way: str, code: int, stored: list[int], tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    found = run(program("ends", way, path), ends_with=code)
    assert tokens(path) == stored
    assert "CoreVital" not in found.stderr


def test_sigterm_stores_what_was_measured(tmp_path: Path) -> None:
    log, path = tmp_path / "log", tmp_path / "runs.db"
    with process(program("ends", "waits", path), log, {"PYTHONPATH": str(ROOT)}) as running:
        wait_until(lambda: "generated" in log.read_text(), 60)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == -signal.SIGTERM, log.read_text()
    assert tokens(path) == [4]


def test_providers_of_the_program_get_all_that_they_got(tmp_path: Path) -> None:
    run(program("beside_providers", tmp_path / "runs.db"))


@pytest.mark.acceptance
def test_under_zero_code_the_run_goes_both_ways(tmp_path: Path) -> None:
    own, path = tmp_path / "zero-code.db", tmp_path / "runs.db"
    run([*exporting("corevital_sqlite"), *program("ends", "returns", path)], OTEL_COREVITAL_SQLITE_PATH=str(own))
    assert tokens(own) == tokens(path) == [4]
    assert [each.span_id for each in stored_spans(own)] == [each.span_id for each in stored_spans(path)]


def test_what_the_sampler_drops_is_recorded_all_the_same(tmp_path: Path) -> None:
    path, application = tmp_path / "runs.db", InMemoryTelemetry(ALWAYS_OFF)
    with instrumented(application), recording(path) as recorded:
        tiny_model().generate(prompt(), max_new_tokens=3, num_return_sequences=2, do_sample=True, eos_token_id=None)
        assert len(recorded.runs) == 2
    assert application.spans == []
    spans = stored_spans(path)
    assert len({each.trace_id for each in spans}) == 1
    (call,) = (each.span_id for each in spans if each.parent_span_id is None)
    assert [each.parent_span_id for each in spans if each.span_id != call] == [call, call]


def test_inside_of_what_the_sampler_drops_the_program_goes_on_as_it_did(tmp_path: Path) -> None:
    path, application = tmp_path / "runs.db", InMemoryTelemetry(ParentBased(ALWAYS_OFF))
    tracer = application.tracer_provider.get_tracer("application")
    seen: list[bool] = []

    class Asks(StoppingCriteria):
        def __call__(self, ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
            with tracer.start_as_current_span("its own") as span:
                seen.append(span.get_span_context().trace_flags.sampled)
            return torch.zeros(len(ids), dtype=torch.bool)

    with instrumented(application), recording(path) as recorded:
        tiny_model().generate(prompt(), max_new_tokens=2, eos_token_id=None, stopping_criteria=[Asks()])
        assert len(recorded.runs) == 1
    assert seen == [False, False], "a sampled span of ours above them would have them exported"
    assert application.spans == []
