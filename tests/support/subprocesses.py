"""Programs under `opentelemetry-instrument`, and what they left behind."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def script(name: str) -> str:
    """Return the path of a command of this environment."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found, f"{name} is installed"
    return found


def run(arguments: list[str], *, ends_with: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; it can import the package `tests`."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    found = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path, **environment},
        check=False,
    )
    assert found.returncode == ends_with, found.stderr
    return found


def exporting(traces: str, metrics: str = "none", logs: str = "none") -> list[str]:
    """Return the beginning of a command that exports to these exporters."""
    return [
        script("opentelemetry-instrument"),
        f"--traces_exporter={traces}",
        f"--metrics_exporter={metrics}",
        f"--logs_exporter={logs}",
    ]


def json_objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects that console exporters print among other lines."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while (position := text.find("{", position)) >= 0:
        value, position = decoder.raw_decode(text, position)
        found.append(value)
    return found


@dataclass(frozen=True)
class StoredSpan:
    """A span as the exporter `corevital_sqlite` keeps it."""

    name: str
    scope: str
    trace_id: str
    span_id: str
    parent_span_id: str | None
    status_code: int
    attributes: dict[str, Any]


def stored_spans(database: Path) -> list[StoredSpan]:
    """Return all spans of a store, the oldest first."""
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute(
            "SELECT spans.name, scopes.name, trace_id, span_id, parent_span_id, status_code, spans.attributes"
            " FROM spans JOIN scopes ON scopes.id = scope_id ORDER BY start_ns"
        ).fetchall()
    finally:
        connection.close()
    return [StoredSpan(*row[:-1], attributes=json.loads(row[-1])) for row in rows]
