"""Over the Collector into files, which `corevital import` reads."""

import json
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.cli.app import run_command
from tests.support.collectors import assert_same, collector, store_directly, telemetry_of
from tests.support.in_memory import instrumented
from tests.support.processes import wait_until
from tests.support.tiny_models import prompt, sharpen, tiny_model

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]


def test_files_become_the_same_runs(otelcol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    direct, copy, file = tmp_path / "direct.db", tmp_path / "copy.db", tmp_path / "telemetry.jsonl"
    model = sharpen(tiny_model())
    for number in (1, 2):  # a Collector that starts again goes on with the file
        with instrumented(capture="full") as kept:
            model.generate(prompt(batch=2), max_new_tokens=12, do_sample=True)
        telemetry = telemetry_of(kept)
        store_directly(direct, telemetry)
        with collector(otelcol, tmp_path, "no-store", "file", COREVITAL_FILE=str(file)) as between:
            between.send(telemetry)
            wait_until(lambda: file.exists() and len(file.read_text().splitlines()) == 3 * number)  # noqa: B023
    assert run_command(["import", str(file), "--db", str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    assert_same(copy, direct)
