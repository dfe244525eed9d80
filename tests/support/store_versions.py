"""Stores of older versions."""

import json
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store.database import APPLICATION_ID
from tests.support.subprocesses import ROOT

SCHEMAS: Final = ROOT / "tests" / "store"

SAID: Final[dict[str, Any]] = {
    semconv.ENTROPY_MEAN: 1.5,
    semconv.RISK_METHOD: "rules",
    semconv.FINGERPRINT_VERSION: "2",
    semconv.FINGERPRINT_VECTOR: [0.25, 0.5, 1],
}
"""What the span of the run says."""


def made_by(version: int, tmp_path: Path) -> Path:
    """Return a file as an older version made it, with one run."""
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((SCHEMAS / f"schema_v{version}.sql").read_text(encoding="utf-8"))
        connection.execute("INSERT INTO resources VALUES (1, 'r', 'tests', '{}', '')")
        connection.execute("INSERT INTO scopes VALUES (1, 's', 'scope', '', '{}', '')")
        key = ("a" * 32, "b" * 16)
        connection.execute(
            "INSERT INTO spans (trace_id, span_id, resource_id, scope_id, name, kind, start_ns, end_ns, attributes) "
            "VALUES (?, ?, 1, 1, 'old', 1, 5, 6, ?)",
            (*key, json.dumps(SAID)),
        )
        connection.execute(
            "INSERT INTO runs (trace_id, span_id, start_ns, end_ns, nan_detected) VALUES (?, ?, 5, 6, 1)", key
        )
        if version >= 3:  # whose writer had these columns
            connection.execute("UPDATE runs SET entropy_mean = 1.5, risk_method = 'rules'")
        if version >= 8:
            vector = struct.pack("<3d", *SAID[semconv.FINGERPRINT_VECTOR])
            connection.execute("INSERT INTO fingerprints VALUES (?, ?, '2', ?)", (*key, vector))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    return path
