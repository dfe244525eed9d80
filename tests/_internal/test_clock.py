"""Times of a call on a machine whose clock is set while it goes on, and runs of machines whose clock is wrong."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import opentelemetry.sdk.trace
import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, open_store
from tests.support.command_line import Cli
from tests.support.in_memory import instrumented
from tests.support.spans import make_call
from tests.support.tiny_models import padded_batch, tiny_model

HOUR_NS = 3600 * 10**9


class SetClock(LogitsProcessor):
    """Sets the system's clock in the middle of a call, and lets the call fail if it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, by_ns: int, *, fails: bool) -> None:
        self._monkeypatch = monkeypatch
        self._by_ns = by_ns
        self._fails = fails

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if input_ids.shape[1] == 12:
            right = time.time_ns
            for module in (time, opentelemetry.sdk.trace):  # the SDK has the function under its own name
                self._monkeypatch.setattr(module, "time_ns", lambda: right() + self._by_ns)
            if self._fails:
                raise ValueError("in the middle")
        return scores


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
@pytest.mark.parametrize("hours", [-2, 48])
def test_a_clock_that_is_set_changes_no_duration(
    hours: int, fails: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, processors = tiny_model(), LogitsProcessorList([SetClock(monkeypatch, hours * HOUR_NS, fails=fails)])
    caplog.set_level(logging.WARNING)
    start = time.time_ns()
    with instrumented(capture="full") as telemetry:
        try:
            model.generate(**padded_batch(), max_new_tokens=6, do_sample=False, logits_processor=processors)
        except ValueError:
            assert fails
    assert caplog.messages == []
    for span in telemetry.spans:
        times = [span.start_time, *(event.timestamp for event in span.events), span.end_time]
        assert all(start <= each < start + HOUR_NS for each in times if each is not None), times
        assert times == sorted(times)  # type: ignore[type-var]
    for record in telemetry.logs:
        assert start <= record.timestamp < start + HOUR_NS
    (duration,) = telemetry.metrics()["gen_ai.client.operation.duration"]
    assert 0 < duration.sum < 60


def test_a_run_of_the_future_is_not_the_last_one(cli: Cli, tmp_path: Path) -> None:
    now, path = time.time_ns(), tmp_path / "runs.db"
    exporter = SQLiteSpanExporter(str(path))
    for name, start_ns in {
        "2262": 2**63 - 10**12,
        "now": now,
        "tomorrow": now + 24 * HOUR_NS,
        "old": now - HOUR_NS,
    }.items():
        exporter.export(make_call(1, start_ns=start_ns, model=name))
    exporter.shutdown()
    with open_store(path) as store:
        assert [run.model for run in store.runs()] == ["now", "old", "2262", "tomorrow"]
        assert [run.model for run in store.runs(limit=2)] == ["now", "old"]
        assert [run.model for run in store.runs(limit=3)] == ["now", "old", "2262"]
        assert [run.model for run in store.runs(model="tomorrow")] == ["tomorrow"]
        assert [run.model for run in store.runs(since_ns=now - 1)] == ["now", "2262", "tomorrow"]
        assert store.run("last").summary.model == "now"
    code, out, _ = cli("runs", "--db", str(path), "--json")
    assert code == 0
    assert [run["model"] for run in json.loads(out)] == ["now", "old", "2262", "tomorrow"]
    assert cli("runs", "--db", str(path))[1].count("ahead") == 2


def test_a_store_of_the_future_alone_has_a_last_run(tmp_path: Path) -> None:
    exporter = SQLiteSpanExporter(str(tmp_path / "runs.db"))
    exporter.export(make_call(1, start_ns=2**63 - 10**12))
    exporter.shutdown()
    with open_store(tmp_path / "runs.db") as store:
        assert store.run("last").summary.start_ns == 2**63 - 10**12


def test_an_ordinary_difference_between_clocks_does_not_matter(tmp_path: Path) -> None:
    exporter: Any = SQLiteSpanExporter(str(tmp_path / "runs.db"))
    for name, ahead in {"other machine": 20 * 10**9, "here": 0}.items():
        exporter.export(make_call(1, start_ns=time.time_ns() + ahead, model=name))
    exporter.shutdown()
    with open_store(tmp_path / "runs.db") as store:
        assert store.run("last").summary.model == "other machine"
