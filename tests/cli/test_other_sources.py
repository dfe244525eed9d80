"""Commands over a source that is no file: they ask nothing but what `RunSource` has."""

import json
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import open_store, semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.store import opening
from tests.support.command_line import Cli
from tests.support.made_runs import add_layers, make_run
from tests.support.run_sources import MemorySource, SQLitePlace
from tests.support.spans import make_call, make_spans

URL = "memory://runs"
OTHER = {semconv.GEN_AI_REQUEST_MODEL: "org/other", semconv.RISK_SCORE: 0.9, semconv.RISK_LEVEL: "high"}


@pytest.fixture
def db(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with runs; `URL` has the same ones in memory."""
    place = SQLitePlace(cli.db.parent)
    place.add(make_call(2))
    place.add(make_spans(5))
    place.add(make_spans(5, **OTHER), to_npz(run_columns(add_layers(make_run(9), 3), content=False)))
    with place.open() as source:
        kept = [source.load(run) for run in source.runs(limit=None)]
    monkeypatch.setitem(opening.SOURCES, "memory", lambda url: MemorySource(kept, url))
    return str(place.path)


@pytest.mark.parametrize(
    "words",
    [
        ("runs",),
        ("runs", "--json", "--model", "other", "--risk-above", "0.5", "--flag", "repetition_loop"),
        ("runs", "--csv", "--limit", "3"),
        ("show", "last"),
        ("show", "last", "--steps"),
        ("show", "last", "--layers"),
        ("show", "last", "--json", "--layers"),
        ("show", "last", "--csv"),
        ("show", "last", "--html", "page.html"),
        ("compare",),
        ("compare", "--models", "other,model", "--json"),
        ("compare", "last", "last", "--json"),
        ("export", "--format", "csv"),
        ("export", "last", "--format", "report"),
        ("export", "--format", "report", "--out", "reports"),
        ("show", "0000000000"),
        ("show", "las"),
    ],
    ids=" ".join,
)
def test_a_command_prints_the_same_of_any_source(words: tuple[str, ...], cli: Cli, db: str) -> None:
    def tried(place: str) -> tuple[int, str, str, dict[str, str]]:
        code, out, err = cli(*words, "--db", place)
        written = {}
        for path in (Path("page.html"), *sorted(Path("reports").glob("*"))):
            if path.is_file():
                written[path.name] = path.read_text().replace(place, "PLACE")
                path.unlink()
        return code, out.replace(place, "PLACE"), err.replace(place, "PLACE"), written

    expected, found = tried(db), tried(URL)
    assert found == expected
    assert found[0] == (1 if words[-1].startswith(("0", "las")) and words[-1] != "last" else 0), found
    assert found[1] or found[2]
    assert "--out" not in words or len(found[3]) == 12
    assert "--html" not in words or "PLACE" in found[3]["page.html"]


def test_a_label_is_kept_by_the_source(cli: Cli, db: str) -> None:
    assert cli("label", "last", "--outcome", "correct", "--note", "well said", "--db", URL)[0] == 0
    assert "well said" in cli("show", "last", "--db", URL)[1]
    assert len(json.loads(cli("runs", "--label", "correct", "--json", "--db", URL)[1])) == 1
    with open_store(db) as store:
        assert store.runs(label="any") == [], "not by the file"


@pytest.mark.parametrize(
    "words",
    [
        ("db", "stats"),
        ("db", "check"),
        ("db", "prune", "--days", "1"),
        ("db", "vacuum"),
        ("db", "upgrade"),
        ("db", "delete", "last", "--yes"),
        ("import", "telemetry.json"),
        ("run", "-m", "none", "-p", "x"),
        ("compare", "-p", "x", "--models", "a,b"),
    ],
    ids=" ".join,
)
def test_what_is_done_to_a_file_wants_one(words: tuple[str, ...], cli: Cli, db: str) -> None:
    code, out, err = cli(*words, "--db", URL)
    assert (code, out) == (1, "")
    assert f"--db {URL}: is no file" in err
    assert "runs/corevital.db" in err


def test_telemetry_as_it_was_sent_is_not_made_up(cli: Cli, db: str) -> None:
    code, out, err = cli("export", "--format", "otlp", "--db", URL)
    assert (code, out) == (1, "")
    assert f"{URL}: does not keep telemetry as it was sent" in err


@pytest.mark.parametrize("url", ["nowhere://runs", "clickhouse://user:secret-word@host/db", "http://host/runs"])
def test_an_unknown_scheme_is_told_with_those_that_there_are(url: str, cli: Cli) -> None:
    for words in (("runs",), ("db", "stats"), ("compare", "a", "b")):
        code, out, err = cli(*words, "--db", url)
        assert (code, out) == (1, "")
        assert f"scheme {url.partition(':')[0]}:" in err
        assert "--db" in err
        assert "sqlite:///runs/corevital.db" in err
        assert "secret-word" not in err


# --- the file by its URL ---------------------------------------------------------------------------------------------


def test_a_url_names_a_file_that_is_there(cli: Cli, db: str) -> None:
    for url in (f"sqlite:///{db}", "sqlite:///runs/runs.db", f"SQLite:///{db}"):
        for words in (("runs", "--json"), ("db", "stats", "--json"), ("db", "check"), ("compare", "--json")):
            assert cli(*words, "--db", url)[:2] == cli(*words, "--db", db if db in url else "runs/runs.db")[:2]
        with open_store(url) as store:
            assert len(store.runs()) == 12
    Path("telemetry.json").write_text(cli("export", "--format", "otlp", "--db", db)[1])
    code, out, err = cli("import", "telemetry.json", "--db", f"sqlite:///{db}", "--json")
    assert code == 0, err
    assert json.loads(out)["new_runs"] == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///none.db", "there is no such file"),
        ("sqlite:none.db", "write sqlite:///runs/corevital.db"),
        ("sqlite://none.db", "write sqlite:///runs/corevital.db"),
        ("sqlite:///runs/runs.db?mode=ro", "nothing behind it"),
        ("sqlite:///runs/runs.db#x", "nothing behind it"),
        ("sqlite:///", "no such file"),
        ("sqlite:///:memory:", "no such file"),
        ("sqlite:///runs", "is a folder"),
    ],
)
def test_a_url_that_names_no_file_is_refused_and_makes_none(url: str, message: str, cli: Cli, db: str) -> None:
    there = sorted(Path().rglob("*"))
    for words in (("runs",), ("import", "telemetry.json"), ("db", "upgrade")):
        code, out, err = cli(*words, "--db", url)
        assert (code, out) == (1, "")
        assert message in err, words
    assert sorted(Path().rglob("*")) == there
