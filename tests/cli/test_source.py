"""Every list and page says which file it read, and where another one might have been meant."""

import json
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from tests.support.command_line import Cli
from tests.support.spans import make_spans

LISTS = (
    ("runs",),
    ("runs", "--model", "org/model", "--risk-above", "1"),
    ("show", "last"),
    ("show", "last", "--steps"),
    ("show", "last", "--layers"),
    ("compare",),
    ("compare", "last", "last"),
    ("db", "stats"),
    ("db", "check"),
)


def fill(path: Path, runs: int = 2) -> str:
    exporter = SQLiteSpanExporter(path)
    exporter.export(make_spans(runs))
    exporter.shutdown()
    return str(path)


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_lists_name_their_file(words: tuple[str, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cli.db)
    other = fill(Path("other [bold].db"))
    everywhere = fill(Path("data/corevital/corevital.db"))
    for options, file in (((), "runs/corevital.db"), (("--db", other), other)):
        code, out, err = cli(*words, *options)
        assert code == 0
        assert file in out + err
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", other)
    assert other in "".join(cli(*words)[1:])
    monkeypatch.delenv("OTEL_COREVITAL_SQLITE_PATH")
    cli.db.unlink()
    assert everywhere in "".join(cli(*words)[1:])


def test_a_page_names_its_file(cli: Cli) -> None:
    fill(cli.db)
    file = fill(Path("a & b.db"))
    for options, shown in (((), "runs/corevital.db"), (("--db", file), "a &amp; b.db")):
        assert cli("show", "last", "--html", "x.html", *options)[0] == 0
        assert f"from <code>{shown}</code>" in Path("x.html").read_text()


def test_two_stores_are_told_where_none_was_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cli.db)
    assert "another store" not in cli("runs")[2]
    everywhere = str(Path("data/corevital/corevital.db").absolute())
    fill(Path(everywhere), runs=0)
    assert "another store" not in cli("runs")[2]
    fill(Path(everywhere))
    for words in (("runs",), ("runs", "--json"), ("runs", "--csv")):
        assert f"read from runs/corevital.db; there is another store: --db {everywhere}" in cli(*words)[2]
    json.loads(cli("runs", "--json")[1])
    assert "another store" not in cli("runs", "--db", "runs/corevital.db")[2]
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", "runs/corevital.db")
    assert "another store" not in cli("runs")[2]


def test_rows_for_programs_are_alone(cli: Cli) -> None:
    fill(cli.db)
    assert len(cli("runs")[1].splitlines()) == 3, "the header and two runs"
    for words in (("runs", "--json"), ("runs", "--csv"), ("compare", "--json"), ("compare", "--csv")):
        assert cli(*words)[2] == ""
