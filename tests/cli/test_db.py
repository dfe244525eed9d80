"""`corevital db`: what it says, what it removes, and its exit codes."""

import io
import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import Retention, StoreError, maintenance, open_store
from opentelemetry_instrumentation_corevital.store.sqlite_labels import set_label
from tests.support.command_line import Cli
from tests.support.spans import make_call, make_spans, rows
from tests.support.store_versions import made_by

DAY = 86_400 * 10**9


def changed(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """Five runs, two of them forty days old."""
    cli.store(make_spans(5, events=40))
    old = f"ingested_ns = {time.time_ns() - 40 * DAY}"
    changed(cli.db, f"UPDATE spans SET {old} WHERE (trace_id, span_id) IN (SELECT trace_id, span_id FROM runs LIMIT 2)")
    return cli


class Terminal(io.StringIO):
    """What somebody types."""

    def isatty(self) -> bool:
        return True


def count(cli: Cli) -> int:
    return len(json.loads(cli("runs", "--json", "--limit", "999")[1]))


def test_check_of_a_sound_and_of_a_damaged_file(filled: Cli) -> None:
    assert filled("db", "check") == (0, "runs/corevital.db: all is well\n", "")
    assert json.loads(filled("db", "check", "--json")[1]) == {"path": "runs/corevital.db", "problems": []}
    changed(filled.db, "UPDATE runs SET label = 'x'")
    code, out, _ = filled("db", "check")
    assert code == 4
    assert out == "5 runs show another label than they were given\n"
    changed(filled.db, "UPDATE runs SET label = NULL")
    page = filled.db.read_bytes()
    filled.db.write_bytes(page[:8192] + b"\xa5" * 4096 + page[12288:])
    code, out, err = filled("db", "check", "--json")
    assert code in (1, 4)
    assert err or json.loads(out)["problems"]
    assert "Traceback" not in err


def test_stats(filled: Cli) -> None:
    code, out, _ = filled("db", "stats")
    assert code == 0
    told = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert " 5, 20" in told["runs"]
    assert "org/model (5)" in told["models"]
    assert told["steps"].split()[1] == "200,"
    figures = json.loads(filled("db", "stats", "--json")[1])
    assert (figures["rows"]["runs"], figures["rows"]["span_events"], figures["steps"]) == (5, 200, 200)
    assert 0 < figures["used_bytes"] <= figures["file_bytes"]
    assert figures["models"] == {"org/model": 5}


def test_prune_by_age_and_by_size(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filled("db", "prune", "--days", "50")[1] == "removed nothing\n"
    assert filled("db", "prune", "--dry-run")[1] == "would remove 2 spans\n"  # the setting: 30 days
    assert count(filled) == 5
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_RETENTION_DAYS", "45")
    assert filled("db", "prune")[1] == "removed nothing\n"
    code, out, err = filled("db", "prune", "--days", "30")
    assert (code, out) == (0, "removed 2 spans\n")
    assert "vacuum" in err
    assert count(filled) == 3
    with open_store(filled.db) as store:
        kept = store.runs()[1]
    set_label(filled.db, kept.trace_id, kept.span_id, "correct")
    told = json.loads(filled("db", "prune", "--max-bytes", "0.001MB", "--yes", "--json")[1])
    assert (told["dry_run"], told["spans"]) == (False, 2)
    assert [run["trace_id"] for run in json.loads(filled("runs", "--json")[1])] == [kept.trace_id]


@pytest.mark.parametrize("size", ["lots", "", "5 parsecs", "1e999", "MB"])
def test_a_size_that_is_none(filled: Cli, size: str) -> None:
    code, out, err = filled("db", "prune", "--max-bytes", size)
    assert (code, out) == (1, "")
    assert "give a size such as 500MB or 2GiB" in err


def test_vacuum_makes_the_file_smaller(cli: Cli) -> None:
    cli.store(make_spans(120, events=60))
    before = cli.db.stat().st_size
    cli("db", "prune", "--max-bytes", "100kB", "--yes")
    code, out, _ = cli("db", "vacuum")
    assert code == 0
    assert " before, " in out
    assert cli.db.stat().st_size < before / 2


def test_upgrade_of_an_older_file(cli: Cli, tmp_path: Path) -> None:
    path = made_by(1, tmp_path)
    assert cli("db", "upgrade", "--db", str(path)) == (0, f"{path}: up to date\n", "")
    assert cli("runs", "--db", str(path), "--json")[0] == 0
    assert rows(path, "SELECT entropy_mean FROM runs") == [(1.5,)]


def test_delete_asks_and_takes_a_call_whole(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.store(make_call(3, start_ns=time.time_ns()), make_spans())
    runs = json.loads(cli("runs", "--json")[1])
    call = next(run["trace_id"] for run in runs if run["operation"] is None)
    code, out, err = cli("db", "delete", call)
    assert (code, out) == (1, "")
    assert "There is no terminal to ask on; add --yes" in err
    code, _, err = cli("db", "delete", f"{call[:12]}:1", "--yes")
    assert code == 1
    assert f"one of 3 sequences cannot go alone; name the call, {call[:12]}" in err
    assert count(cli) == 4

    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    code, out, err = cli("db", "delete", call)
    assert code == 1
    assert f"Delete run {call} with its 3 sequences for good? [y/N]" in out + err
    assert count(cli) == 4
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert cli("db", "delete", call)[0] == 0
    (left,) = json.loads(cli("runs", "--json")[1])
    code, out, _ = cli("db", "delete", "last", "-y")
    assert code == 0
    assert out == f"deleted run {left['trace_id']}: 1 span\n"
    assert rows(cli.db, "SELECT count(*) FROM spans") == [(0,)]
    assert left["trace_id"].encode() not in cli.db.read_bytes()


@pytest.mark.parametrize("command", ["check", "stats", "prune", "vacuum", "delete last --yes", "upgrade"])
def test_a_file_that_is_none(cli: Cli, command: str, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("some text " * 300)
    for name, message in (("none.db", "there is no such file"), ("text.db", "not an SQLite database")):
        code, out, err = cli("db", *command.split(), "--db", name)
        assert (code, out) == (1, ""), (command, name)
        assert message in err
    assert not (tmp_path / "none.db").exists()


# --- odd files, odd numbers, full disks --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("DROP INDEX runs_filters", "the index runs_filters is missing"),
        ("DROP TABLE labels", "the table labels is missing"),
        ("ALTER TABLE runs DROP COLUMN narrative", "the table runs has no column narrative"),
    ],
)
def test_check_misses_no_table_index_or_column(filled: Cli, sql: str, problem: str) -> None:
    changed(filled.db, sql)
    code, out, _ = filled("db", "check")
    assert (code, problem in out) == (4, True), out


def test_check_finds_what_has_another_kind_and_upgrade_makes_what_is_missing(filled: Cli) -> None:
    changed(filled.db, "DROP INDEX runs_filters")
    changed(filled.db, "DROP INDEX spans_start")
    changed(filled.db, "CREATE INDEX spans_start ON spans (end_ns)")
    changed(filled.db, "CREATE VIEW mine AS SELECT model FROM runs")
    assert filled("db", "check")[1].splitlines() == [
        "the index spans_start is on end_ns, not start_ns; `corevital db upgrade` makes what is missing",
        "the index runs_filters is missing; `corevital db upgrade` makes what is missing",
    ]
    assert filled("db", "upgrade")[0] == 0
    assert "runs_filters" not in filled("db", "check")[1]
    changed(filled.db, "ALTER TABLE runs RENAME TO kept")
    changed(filled.db, "CREATE VIEW runs AS SELECT * FROM kept")
    code, out, _ = filled("db", "check")
    assert code == 4
    assert "runs is a view, not a table" in out


def test_a_run_that_is_deleted_is_called_so_whatever_comes_after(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full once the run is gone: a retry with `last` would delete the next one."""

    @contextmanager
    def full(path: str) -> Iterator[None]:
        raise StoreError(f"{path}: there is no space left for it; free some or choose another path.")
        yield

    last = json.loads(filled("runs", "--json", "--limit", "1")[1])[0]["trace_id"]
    monkeypatch.setattr(maintenance, "opened", full)
    code, out, err = filled("db", "delete", "last", "--yes")
    assert (code, out) == (1, "")
    told = "the run is deleted, but its bytes are not overwritten yet: there is no space left for it; free some"
    assert told in " ".join(err.split())
    assert last not in filled("runs", "--json")[1]
    assert count(filled) == 4


@pytest.mark.parametrize("limit", ["-5MB", "-1", "nan", "inf", "1e400", "5e"])
def test_prune_takes_no_size_that_is_none(filled: Cli, limit: str) -> None:
    code, _, err = filled("db", "prune", f"--max-bytes={limit}")
    assert (code, f"--max-bytes {limit}: give a size" in err) == (1, True)
    assert count(filled) == 5


@pytest.mark.parametrize("days", ["inf", "1e308", "1e18", "99999999999"])
def test_nothing_is_older_than_so_many_days(filled: Cli, days: str) -> None:
    assert filled("db", "prune", "--days", days)[:2] == (0, "removed nothing\n")
    assert count(filled) == 5


@pytest.mark.parametrize("limits", [{"days": -1}, {"days": float("nan")}, {"bytes": -5}])
def test_a_retention_below_nothing_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        Retention(**limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "socket"])
@pytest.mark.parametrize("command", ["runs", "show last", "db check", "db upgrade", "db delete last --yes", "import x"])
def test_what_is_no_file_is_refused_at_once(cli: Cli, tmp_path: Path, kind: str, command: str) -> None:
    path = tmp_path / "odd"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/null")
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.close()
    code, _, err = cli(*command.split(), "--db", str(path))
    assert code == 1
    assert f"{path}: is a {kind}; choose another path." in " ".join(err.split())


@pytest.mark.parametrize("command", ["runs", "export"])
def test_a_limit_beyond_every_number_of_sqlite(filled: Cli, command: str) -> None:
    code, out, _ = filled(command, "--limit", "9" * 30)
    assert code == 0
    assert len(out.splitlines()) >= 5


def test_an_argument_that_is_no_text_is_refused(filled: Cli) -> None:
    code, _, err = filled("runs", "--model", os.fsdecode(b"caf\xe9"))
    assert (code, err) == (1, "Error: argument 3 is not UTF-8; nothing that is stored has such a name.\n")
