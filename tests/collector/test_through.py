"""A run that comes through a Collector is in the store as the exporter in its own process would have put it there."""

import json
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.collect_process import collecting
from tests.support.collectors import Telemetry, assert_same, collector, store_directly, telemetry_of
from tests.support.in_memory import instrumented
from tests.support.processes import wait_until
from tests.support.real_prompts import HEALTHY, LOOPING, chat
from tests.support.store_contents import contents
from tests.support.tiers import heavy

pytestmark = [pytest.mark.wire, pytest.mark.real_model, pytest.mark.xdist_group("real_model")]


@pytest.fixture(scope="module")
def telemetry(smollm2: LoadedModel) -> Telemetry:
    """Spans, logs and metrics of two calls of a real model, one of which loops."""
    with instrumented(capture="full") as kept:
        smollm2.model.generate(**chat(smollm2, LOOPING), max_new_tokens=120, do_sample=False)
        smollm2.model.generate(**chat(smollm2, HEALTHY, "What is a cat?"), max_new_tokens=12, do_sample=False)
    return telemetry_of(kept)


def shown(path: Path, run_id: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert run_command(["show", run_id, "--layers", "--json", "--db", str(path)]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("transport", [heavy("grpc"), "http"])
def test_a_real_run_is_shown_as_if_it_had_been_stored_directly(
    otelcol: str, telemetry: Telemetry, transport: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    direct = tmp_path / "direct.db"
    store_directly(direct, telemetry)
    with collecting(tmp_path, environment={"COREVITAL_COLLECT_TOKEN": "secret"}) as receiver:
        endpoint = {
            "COREVITAL_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.http}",
            "COREVITAL_COLLECT_TOKEN": "secret",
        }
        with collector(otelcol, tmp_path / "collector", **endpoint) as between:
            between.send(telemetry, transport)
            wait_until(lambda: len(contents(receiver.db, "runs")) == 3 and between.waiting() == 0)
        assert receiver.stop() == 0
    assert_same(receiver.db, direct)
    with open_store(direct) as first, open_store(receiver.db) as second:
        assert second.runs() == first.runs()
        for run in first.runs():
            assert second.load(run) == first.load(run)
        names = [f"{run.trace_id}:{run.sequence_index}" for run in first.runs()]
        (looping,) = [run for run in second.runs() if run.repetition_loop_detected]
        assert looping.risk_level == "high"
    assert len(names) == 3
    for name in names:
        assert shown(receiver.db, name, capsys) == shown(direct, name, capsys)
