"""An ordinary script under `opentelemetry-instrument`, with the real model."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.store import open_store

APP = Path(__file__).parents[2] / "examples" / "zero_code" / "app.py"
MANUAL = APP.parent.parent / "manual" / "app.py"

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("real_model")]


def run(arguments: list[str], model: str, **environment: str) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "MODEL": model, "HF_HUB_OFFLINE": "1", **environment},
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found


def instrument(exporters: dict[str, str], model: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = shutil.which(
        "opentelemetry-instrument", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert command, "opentelemetry-instrument is installed with opentelemetry-instrumentation"
    flags = [f"--{signal}_exporter={name}" for signal, name in exporters.items()]
    return run([command, *flags, sys.executable, str(APP)], model, **environment)


def json_objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects that console exporters print among other lines."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while (position := text.find("{", position)) >= 0:
        value, position = decoder.raw_decode(text, position)
        found.append(value)
    return found


def test_console_spans_and_metrics(demo_folder: str) -> None:
    found = instrument({"traces": "console", "metrics": "console", "logs": "none"}, demo_folder)
    printed = json_objects(found.stdout)
    runs = [item for item in printed if "corevital.risk.score" in item.get("attributes", {})]
    assert len(runs) == 2
    for span in runs:
        attributes = span["attributes"]
        for name in ("risk.level", "health.nan_detected", "early_warning.failure_risk", "narrative", "steps.total"):
            assert f"corevital.{name}" in attributes
        assert attributes["corevital.steps.total"] == attributes["gen_ai.usage.output_tokens"] == len(span["events"])
        assert "Red" not in json.dumps(span)
    names = {
        metric["name"]
        for item in printed
        for resource in item.get("resource_metrics", ())
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    assert {"corevital.runs", "corevital.run.risk_score", "gen_ai.client.operation.duration"} <= names
    assert "error" not in found.stderr.lower()


def test_corevital_sqlite(demo_folder: str, tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    instrument(
        {"traces": "corevital_sqlite", "metrics": "none", "logs": "none"},
        demo_folder,
        OTEL_COREVITAL_SQLITE_PATH=str(database),
        OTEL_COREVITAL_CAPTURE="full",
    )
    with open_store(database) as store:
        runs = store.runs()
        stored = store.run("last")
    assert len(runs) == 2
    assert all(run.risk_score is not None and run.narrative for run in runs)
    assert stored.attributes["corevital.capture.mode"] == "full"
    assert len(stored.events) == stored.attributes["corevital.steps.total"]


@pytest.mark.acceptance
def test_a_bad_setting_is_one_line_and_the_program_goes_on(demo_folder: str) -> None:
    found = instrument(
        {"traces": "console", "metrics": "none", "logs": "none"}, demo_folder, OTEL_COREVITAL_CAPTURE="all of it"
    )
    assert found.stderr.count("OTEL_COREVITAL_CAPTURE") == 1
    assert "corevital.risk" not in found.stdout
    assert found.stdout.strip(), "the script's own output is there"


def test_the_example_in_code(demo_folder: str) -> None:
    found = run([sys.executable, str(MANUAL)], demo_folder)
    assert "low risk: The run generated" in found.stdout
    assert '"example.alert": false' in found.stdout
