"""A file of an older version is brought up to date in one transaction, or left as it was."""

import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, StoreError, migrations, open_store
from opentelemetry_instrumentation_corevital.store.database import SCHEMA_VERSION, open_database
from tests.support.spans import make_spans, rows
from tests.support.store_versions import made_by

VERSIONS = range(1, SCHEMA_VERSION)


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    return made_by(1, tmp_path)


def shape(path: Path) -> dict[str, object]:
    """Return tables and indexes with their columns, in any order."""
    return {
        name: frozenset(
            [
                *rows(path, f"SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo('{name}')"),
                *rows(path, f"SELECT name, seqno FROM pragma_index_info('{name}')"),
            ]
        )
        for (name,) in rows(path, "SELECT name FROM sqlite_master")
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgraded_file_is_like_a_new_one_and_keeps_its_runs(version: int, tmp_path: Path) -> None:
    v1 = made_by(version, tmp_path)
    open_database(tmp_path / "new.db").close()
    assert shape(v1) != shape(tmp_path / "new.db")
    exporter = SQLiteSpanExporter(v1)
    said = {semconv.STOP_REASON: "policy", semconv.INTERVENTION_KIND: "stop"}
    said |= {semconv.RISK_ANSWER: 0.75, semconv.FINGERPRINT_VERSION: "2", semconv.FINGERPRINT_VECTOR: [0.25, 0.5, 0.0]}
    exporter.export(make_spans(**{"corevital.health.attention_collapse_detected": True}, **said))
    exporter.shutdown()
    assert exporter.last_error is None
    assert shape(v1) == shape(tmp_path / "new.db")
    assert rows(v1, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert rows(v1, "PRAGMA integrity_check") == [("ok",)]
    with open_store(v1) as store:
        newest, old = store.runs()
        assert newest.flags == ("repetition_loop_detected", "attention_collapse_detected")
        assert newest.mid_layer_anomaly_detected is None
        assert (old.nan_detected, old.attention_collapse_detected) == (True, None)
        assert (old.entropy_mean, old.surprisal_mean, old.risk_method, old.label) == (1.5, None, "rules", None)
        assert old.damage == {}, "what was refused before is not known"
        assert (old.stop_reason, old.intervention) == (None, None), "what an old span does not say is not known"
        assert (newest.risk_answer, old.risk_answer) == (0.75, None)
        assert store.runs(answer_above=0.5) == [newest]
        assert store.runs(stop_reason="policy") == store.runs(intervened=True) == [newest]
        assert store.runs(intervened=False) == [old]
        assert store.similar(newest) == [(old, pytest.approx((1 / 3) ** 0.5))], "its vector is taken from its span"
        assert [run.trace_id for run in store.runs(longer_than=1e-9, until_ns=10)] == []
        assert [run.trace_id for run in store.runs(flag="attention_collapse_detected")] == [newest.trace_id]


def test_reading_an_older_file_says_what_brings_it_up_to_date(v1: Path) -> None:
    before = v1.read_bytes()
    with pytest.raises(
        StoreError, match=rf"older CoreVital \(schema 1, this one reads {SCHEMA_VERSION}\); .*corevital db upgrade --db"
    ):
        open_store(v1)
    assert v1.read_bytes() == before
    open_database(v1).close()
    with open_store(v1) as store:
        assert len(store.runs()) == 1


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(v1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, statements = shape(v1), migrations.statements()
    monkeypatch.setattr(migrations, "statements", lambda: [*statements, "CREATE TABLE broken ("])
    with pytest.raises(StoreError):
        open_database(v1)
    assert shape(v1) == before
    assert rows(v1, "PRAGMA user_version") == [(1,)]
    monkeypatch.undo()
    open_database(v1).close()
    assert rows(v1, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_processes_upgrade_one_file_at_once(v1: Path) -> None:
    code = """
        import sys
        from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
        from tests.support.spans import make_spans
        exporter = SQLiteSpanExporter(sys.argv[1])
        exporter.export(make_spans())
        exporter.shutdown()
        assert exporter.last_error is None, exporter.last_error
    """
    processes = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(v1)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0] * 3
    assert rows(v1, "SELECT count(*) FROM runs") == [(4,)]


def test_a_writer_of_version_1_goes_on_in_an_upgraded_file(v1: Path) -> None:
    with closing(sqlite3.connect(v1)) as older:
        open_database(v1).close()
        older.execute("DELETE FROM spans")
        older.execute(
            "INSERT INTO spans (trace_id, span_id, resource_id, scope_id, name, kind, start_ns, end_ns, attributes) "
            "VALUES (?, ?, 1, 1, 'late', 1, 5, 6, '{}')",
            ("c" * 32, "d" * 16),
        )
        older.execute(
            "INSERT INTO runs (trace_id, span_id, start_ns, end_ns) VALUES (?, ?, 7, 8)", ("c" * 32, "d" * 16)
        )
        older.commit()
    with open_store(v1) as store:
        assert [run.start_ns for run in store.runs()] == [7, 5]


def test_a_file_of_something_else_with_our_version_number_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (x)")
        connection.execute("PRAGMA user_version = 1")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="something else"):
        open_database(path)
    assert path.read_bytes() == before
