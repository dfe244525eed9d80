"""A store whose runs have version 0.1 of the names goes on working: every command that reads takes them as they are."""

import json
import lzma
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import StoreError, open_store
from tests.support.command_line import Cli
from tests.support.spans import make_spans
from tests.support.subprocesses import ROOT

DATA = ROOT / "tests" / "support" / "store_0_1"
TOLD = json.loads((DATA / "runs.json").read_text(encoding="utf-8"))
SCHEMAS = ROOT / "docs" / "schemas"


def names(version: str) -> dict[tuple[str, str], dict[str, Any]]:
    described = json.loads((SCHEMAS / f"names-{version}.json").read_text(encoding="utf-8"))
    return {(each["kind"], each["name"]): each for each in described["names"]}


@pytest.fixture
def old(cli: Cli) -> Cli:
    """The store, as whatever writes to it has brought it up to date."""
    cli.db.parent.mkdir(parents=True, exist_ok=True)
    cli.db.write_bytes(lzma.decompress((DATA / "store.db.xz").read_bytes()))
    code, _, err = cli("db", "upgrade")
    assert code == 0, err
    return cli


def said(cli: Cli, *arguments: str) -> str:
    code, out, err = cli(*arguments)
    assert code == 0, err
    assert "damage" not in err
    return out


def test_names_have_only_grown() -> None:
    assert semconv.SCHEMA_VERSION == "0.2"
    before, now = names("0.1"), names("0.2")
    assert before.items() <= now.items()
    assert ("metric", "corevital.high_entropy_steps") in now.keys() - before.keys()


def test_it_says_what_brings_it_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(lzma.decompress((DATA / "store.db.xz").read_bytes()))
    with pytest.raises(StoreError, match="corevital db upgrade"):
        open_store(path)


def test_its_runs_are_what_they_were(old: Cli) -> None:
    listed = json.loads(said(old, "runs", "--json"))
    assert [{name: run[name] for name in before} for before, run in zip(TOLD, listed, strict=True)] == TOLD
    for run in listed:
        assert {name: run[name] for name in run.keys() - TOLD[0].keys() if run[name] is not None} == {}


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--flag", "nan"], 1),
        (["--flag", "repetition_loop"], 1),
        (["--level", "high"], 2),
        (["--label", "incorrect"], 1),
        (["--stop-reason", "policy"], 1),
        (["--intervened"], 1),
        (["--baseline-source", "learned"], 0),
    ],
)
def test_they_are_found(old: Cli, filters: list[str], count: int) -> None:
    assert len(json.loads(said(old, "runs", "--json", *filters))) == count


def test_they_are_shown_and_exported(old: Cli) -> None:
    schema = json.loads((SCHEMAS / f"run-{semconv.SCHEMA_VERSION}.json").read_text(encoding="utf-8"))
    for run in TOLD:
        name = f"{run['trace_id']}:{run['sequence_index']}"
        shown = json.loads(said(old, "show", name, "--json", "--layers"))
        jsonschema.Draft202012Validator(schema).validate(shown)
        assert shown["attributes"][semconv.SCHEMA] == "0.1", "as it was written"
        assert "The run generated" in said(old, "show", name)
        for more in ("--steps", "--layers"):
            assert name in said(old, "show", name, more)
        report = json.loads(said(old, "export", name, "--pretty"))
        assert report["extensions"]["corevital"]["attributes"][semconv.SCHEMA] == "0.1"
        assert report["extensions"]["narrative"]
    assert len(said(old, "export", "--format", "csv").splitlines()) == len(TOLD) + 1
    first, second = (f"{run['trace_id']}:{run['sequence_index']}" for run in TOLD[:2])
    assert said(old, "compare", first, second)
    for command in (["db", "check"], ["db", "stats"]):
        said(old, *command)


def test_they_come_back_from_a_file_beside_runs_of_today(old: Cli) -> None:
    said(old, "export", "--format", "otlp", "--out", "runs.jsonl")
    new = Path("new.db")
    said(old, "import", "runs.jsonl", "--db", str(new))
    said(old, "label", "last", "--outcome", "correct", "--db", str(new))
    old.store(make_spans(1))
    assert len(json.loads(said(old, "runs", "--json"))) == len(TOLD) + 1
    again = json.loads(said(old, "runs", "--json", "--db", str(new)))
    same = ["trace_id", "sequence_index", "narrative", "risk_score", "warnings", "stop_reason"]
    assert [[run[name] for name in same] for run in again] == [[run[name] for name in same] for run in TOLD]
