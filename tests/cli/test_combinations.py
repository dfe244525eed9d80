"""Every option is heard or refused by name; nothing goes unasked; what fails leaves nothing behind."""

import csv
import io
import json
import os
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import open_store, semconv
from opentelemetry_instrumentation_corevital.store import StoreError
from opentelemetry_instrumentation_corevital.store.sqlite_labels import set_label
from tests.support.command_line import Cli
from tests.support.spans import make_spans

RUN = ("run", "-m", "none", "-p", "x")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("show", "last", "--steps", "--layers"), ("--steps", "--layers")),
        (("show", "last", "--steps", "--signal", "hidden_l2_norm"), ("--steps", "--signal")),
        (("show", "last", "--steps", "--json"), ("--steps", "--json")),
        (("show", "last", "--steps", "--csv"), ("--steps", "--csv")),
        (("show", "last", "--html", "x.html", "--steps"), ("--html", "--steps")),
        (("show", "last", "--html", "x.html", "--prompt"), ("--html", "--prompt")),
        (("show", "last", "--prompt", "--layers"), ("--prompt", "--layers")),
        (("show", "last", "--prompt", "--json"), ("--prompt", "--json")),
        (("show", "last", "--prompt", "--steps"), ("--prompt", "--steps")),
        (("show", "last", "--html", "x.html", "--layers"), ("--html", "--layers")),
        (("show", "last", "--html", "x.html", "--signal", "hidden_l2_norm"), ("--html", "--signal")),
        (("show", "last", "--html", "x.html", "--json"), ("--html", "--json")),
        (("show", "last", "--tokenizer", "x"), ("--tokenizer", "--html")),
        (("show", "last", "--csv", "--layers", "--signal", "colour"), ("--signal colour",)),
        (("show", "last", "--json", "--signal", "colour"), ("--signal colour",)),
        (("export", "--format", "csv", "--pretty"), ("--pretty", "--format csv")),
        (("export", "--format", "otlp", "--pretty"), ("--pretty", "--format otlp")),
        (("db", "prune", "--dry-run", "--yes"), ("--yes", "--dry-run")),
        ((*RUN, "--no-store", "--db", "x.db"), ("--no-store", "--db")),
        ((*RUN, "--no-store", "--store-content"), ("--no-store", "--store-content")),
        (("run", "-m", ".", "-p", "x", "--revision", "main"), ("--revision main", "folder")),
        (("run", "-m", "smollm2", "-p", "x", "--revision", "main"), ("--revision main", "demo model")),
    ],
    ids=" ".join,
)
def test_options_that_exclude_each_other_are_refused_by_name(
    cli: Cli, words: tuple[str, ...], named: tuple[str, ...]
) -> None:
    cli.store(make_spans())
    Path("config.json").write_text("{}")
    before = sorted(os.listdir())
    code, out, err = cli(*words)
    assert (code, out) == (1, "")
    for name in named:
        assert name in err
    assert sorted(os.listdir()) == before


@pytest.fixture
def long_run(cli: Cli, tiny_folder: str) -> int:
    """A run with more steps than its span has; return how many."""
    arguments = ("run", "-m", tiny_folder, "-p", "w5 w6", "--max-new-tokens", "120", "--sample", "--seed", "3")
    assert cli(*arguments)[0] == 0
    with open_store(cli.db) as store:
        run = store.run("last")
    steps = run.attributes[semconv.STEPS_TOTAL]
    assert len(run.steps) < steps
    return int(steps)


def test_steps_are_all_steps(cli: Cli, long_run: int) -> None:
    code, out, _ = cli("show", "last", "--steps")
    assert code == 0
    found = [line.split() for line in out.splitlines() if line.split() and line.split()[0].isdecimal()]
    rows, alternatives = found[:long_run], found[long_run:]
    assert [int(row[0]) for row in rows] == list(range(long_run))
    assert [int(row[0]) for row in alternatives] in ([], list(range(long_run)))
    with open_store(cli.db) as store:
        run = store.run("last")
    assert [float(row[1]) for row in rows] == pytest.approx(run.columns["entropy"].tolist(), abs=6e-4)
    assert "not stored" not in out


def test_steps_that_are_not_stored_are_told(cli: Cli) -> None:
    cli.store(make_spans(1, events=7))
    out = cli("show", "last", "--steps")[1]
    assert "7 of 40 steps; the others are not stored" in out


def test_signals_choose_columns_for_programs(cli: Cli, long_run: int) -> None:
    wanted = ("--signal", "hidden_l2_norm", "--signal", "attention_entropy")
    for words in (("--layers", "--csv", *wanted), ("--csv", *wanted)):
        rows = list(csv.DictReader(io.StringIO(cli("show", "last", *words)[1])))
        assert list(rows[0]) == ["step", "layer", "hidden_l2_norm", "attention_entropy"]
        assert len(rows) == 2 * long_run
    told = json.loads(cli("show", "last", "--json", "--layers", *wanted)[1])["columns"]
    assert set(told) == {"hidden_l2_norm", "attention_entropy"}
    assert len(json.loads(cli("show", "last", "--json", "--layers")[1])["columns"]) > 2


@pytest.mark.parametrize(
    "options",
    [[], ["--db", "deep/er/x.db"], ["--sink", "local", "--out", "some/reports"], ["--write-json", "--out", "both"]],
    ids=" ".join,
)
def test_a_run_that_fails_leaves_nothing(cli: Cli, options: list[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, _, err = cli("run", "-m", "./none", "-p", "x", *options)
    assert (code, "there is no such folder" in err) == (1, True)
    code, _, _ = cli("compare", "--models", "./none,./other", "-p", "x")
    assert code == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_fails_leaves_what_was_there(cli: Cli) -> None:
    cli.store(make_spans())
    Path("reports").mkdir()
    assert cli("run", "-m", "./none", "-p", "x", "--write-json", "--out", "reports")[0] == 1
    assert Path("reports").is_dir()
    assert json.loads(cli("runs", "--json")[1])


def test_a_migration_that_finds_nothing_makes_no_store(cli: Cli) -> None:
    Path("old").mkdir()
    assert cli("migrate", "--from-dir", "old", "--to-db", "new.db")[0] == 0
    Path("file").touch()
    code, _, err = cli("migrate", "--from-dir", "old", "--to-db", "file/new.db", "--dry-run")
    assert (code, "folder cannot be made" in err) == (1, True)
    assert sorted(os.listdir()) == ["file", "old"]


def test_a_place_where_nothing_can_be_stored_is_told_before_the_model_is_loaded(cli: Cli) -> None:
    Path("file").touch()
    Path("other.db").write_text("this is no database, only a text of some length " * 99)
    for path, message in (
        ("file/x.db", "its folder cannot be made"),
        ("file/deep/x.db", "its folder cannot be made"),
        ("other.db", "is not an SQLite database"),
        ("x" * 300, "cannot be opened (File name too long)"),
        (".", "is a folder"),
    ):
        code, _, err = cli("run", "-m", "./none", "-p", "x", "--db", path)
        assert code == 1
        assert message in err, path


@pytest.mark.parametrize("options", [["--days", "0"], ["--max-bytes", "1"], ["--days", "9999", "--max-bytes", "0"]])
def test_a_prune_that_leaves_nothing_asks(cli: Cli, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cli.store(make_spans(3))
    code, out, err = cli("db", "prune", *options)
    assert (code, out) == (1, "")
    assert "remove every run without a label (3) from" in err
    assert "--yes" in err
    assert len(json.loads(cli("runs", "--json")[1])) == 3
    assert cli("db", "prune", *options, "--dry-run")[0] == 0
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdin", io.StringIO("n\n"))
        patched.setattr("sys.stdin.isatty", lambda: True)
        assert cli("db", "prune", *options)[0] == 1
    assert len(json.loads(cli("runs", "--json")[1])) == 3
    code, out, _ = cli("db", "prune", *options, "--yes")
    assert (code, out) == (0, "removed 3 spans\n")
    assert cli("db", "prune", *options)[:2] == (0, "removed nothing\n"), "nothing is left to ask about"


def test_a_prune_that_leaves_something_does_not_ask(cli: Cli) -> None:
    cli.store(make_spans(3))
    assert cli("db", "prune", "--days", "1")[:2] == (0, "removed nothing\n")
    with open_store(cli.db) as store:
        first, *others = store.runs()
    for run in others:
        set_label(cli.db, run.trace_id, run.span_id, "correct")
    code, _, err = cli("db", "prune", "--days", "0")
    assert code == 1, "labelled runs stay, and all others would go"
    assert "(1)" in err
    set_label(cli.db, first.trace_id, first.span_id, "correct")
    assert cli("db", "prune", "--days", "0")[:2] == (0, "removed nothing\n")


def test_an_exception_gives_no_advice_for_the_command_line(cli: Cli) -> None:
    cli.store(make_spans())
    for use in (lambda: open_store("none.db"), lambda: open_store(cli.db).run("ffffff")):
        with pytest.raises(StoreError) as caught:
            use()
        for word in ("--", "corevital run"):
            assert word not in str(caught.value)
    assert "--db names another" in cli("runs", "--db", "none.db")[2]
    assert "`corevital runs` lists them" in cli("show", "ffffff")[2]


def test_a_page_gives_no_advice_for_another_way_of_running(cli: Cli) -> None:
    cli.store(make_spans())
    assert cli("show", "last", "--html", "x.html")[0] == 0
    page = Path("x.html").read_text()
    assert "Content is off by default" in page
    assert "corevital run" not in page
