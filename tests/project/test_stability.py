"""Public names and exported documents: each has a stability, and none changes without its version."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import opentelemetry_instrumentation_corevital as package
from opentelemetry_instrumentation_corevital import __version__, semconv
from opentelemetry_instrumentation_corevital.catalogue import definitions
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter
from tests.support.command_line import Cli
from tests.support.in_memory import instrumented
from tests.support.legacy_reports import report, write_file
from tests.support.spans import make_spans
from tests.support.tiny_models import padded_batch, prompt, tiny_model

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "schemas" / f"run-{semconv.SCHEMA_VERSION}.json").read_text(encoding="utf-8"))


@pytest.fixture
def run_schema(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("run_schema")


@pytest.fixture
def public_api(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("public_api")


def check(value: Any, part: str | None = None) -> None:
    schema = SCHEMA if part is None else {"$ref": f"#/$defs/{part}", "$defs": SCHEMA["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(value)


# --- nothing changes without its version -------------------------------------------------------------------------


def test_files_of_released_versions_are_as_they_were(run_schema: Any) -> None:
    for name, digest in run_schema.released().items():
        assert run_schema.digest((run_schema.FOLDER / name).read_text(encoding="utf-8")) == digest, name


def test_what_is_released_has_its_schemas_frozen(run_schema: Any) -> None:
    """Before a release: copy the digests of the current version into docs/schemas/released.json."""
    if "dev" not in __version__:
        assert set(run_schema.pages()) <= set(run_schema.released())


def copy_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test change a copy of what is declared."""
    copy = dict(semconv.DEFINITIONS)
    for module in (semconv, definitions):
        monkeypatch.setattr(module, "DEFINITIONS", copy)


def redefine(kind: definitions.Kind, name: str, *declaration: Any, content: bool = False) -> None:
    """Declare a name anew in its place, as a change of the code would."""
    order = list(semconv.DEFINITIONS)
    del semconv.DEFINITIONS[kind, name]
    definitions.define(kind, name, *declaration, content=content)
    made = {key: semconv.DEFINITIONS[key] for key in order}
    semconv.DEFINITIONS.clear()
    semconv.DEFINITIONS.update(made)


@pytest.mark.parametrize(
    "change",
    [
        lambda: definitions.define("attribute", "corevital.new", "int", "", "a new name"),
        lambda: semconv.DEFINITIONS.pop(("attribute", semconv.NARRATIVE)),
        lambda: redefine("attribute", semconv.NARRATIVE, "string[]", "", "another type"),
        lambda: redefine("metric", semconv.METRIC_ENTROPY, "gauge", "nat", "another unit"),
        lambda: redefine("attribute", semconv.NARRATIVE, "string", "", "now content", content=True),
    ],
)
def test_a_released_version_cannot_be_changed(change: Any, run_schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = {name: run_schema.digest(text) for name, text in run_schema.pages().items()}
    run_schema.refuse_to_change_what_is_released(run_schema.pages(), frozen)
    copy_definitions(monkeypatch)
    change()
    with pytest.raises(SystemExit, match="raise SCHEMA_VERSION"):
        run_schema.refuse_to_change_what_is_released(run_schema.pages(), frozen)
    monkeypatch.setattr(semconv, "SCHEMA_VERSION", "99.0")
    run_schema.refuse_to_change_what_is_released(run_schema.pages(), frozen)


def test_better_words_are_no_change(run_schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_schema.pages()
    copy_definitions(monkeypatch)
    redefine("attribute", semconv.NARRATIVE, "string", "", "better words")
    assert run_schema.pages() == before


# --- exported runs fit their schema ------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("capture", ["summary", "full"])
def test_stored_runs_fit(capture: str, cli: Cli) -> None:
    spans, logs = SQLiteSpanExporter(cli.db), SQLiteLogExporter(cli.db)
    model = tiny_model()
    with instrumented(capture=capture, capture_message_content="span_only") as telemetry:
        model.generate(prompt(), max_new_tokens=12, do_sample=False, eos_token_id=None)
        model.generate(**padded_batch(), max_new_tokens=12, do_sample=True)
        model.generate(prompt(), max_new_tokens=6, num_beams=2)
        with pytest.raises(ZeroDivisionError):
            model.generate(prompt(), max_new_tokens=2, logits_processor=[lambda ids, scores: 1 / 0])
        spans.export(telemetry.spans)
        logs.export(telemetry.log_exporter.get_finished_logs())
    for exporter in (spans, logs):
        exporter.shutdown()
    assert cli("label", "last", "--outcome", "incorrect")[0] == 0
    listed = json.loads(cli("runs", "--json")[1])
    assert len(listed) >= 6
    for run in listed:
        check(run, "summary")
        name = f"{run['trace_id']}:{run['sequence_index']}"
        shown = json.loads(cli("show", name, "--json", "--layers")[1])
        check(shown)
        assert bool(shown["columns"]) is (capture == "full" and run["risk_score"] is not None)
        check(json.loads(cli("show", name, "--json")[1]))
        check(json.loads(cli("export", name)[1])["extensions"]["corevital"], "report")


def test_a_migrated_run_fits(cli: Cli) -> None:
    write_file(Path("old"), report())
    assert cli("migrate", "--from-dir", "old", "--to-db", str(cli.db), "--with-content")[0] == 0
    check(json.loads(cli("show", "last", "--json", "--layers")[1]))
    check(json.loads(cli("export", "last")[1])["extensions"]["corevital"], "report")


def test_what_the_command_run_prints_fits(cli: Cli, tiny_folder: str) -> None:
    code, out, err = cli("run", "--model", tiny_folder, "--prompt", "w5 w6", "--max-new-tokens", "8", "--json")
    assert code == 0, err
    (run,) = json.loads(out)["runs"]
    check(run["attributes"], "attributes")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("corevital.unheard_of", 1),
        ("corevital.risk.score", "0.5"),
        ("corevital.blame.layers", [0.5]),
        ("error.type", 3),
    ],
)
def test_the_schema_refuses_what_is_wrong(name: str, value: Any, cli: Cli) -> None:
    cli.store(make_spans(1))
    shown = json.loads(cli("show", "last", "--json")[1])
    check(shown)
    check({**shown, "attributes": {**shown["attributes"], "example.alert": True}})
    with pytest.raises(jsonschema.ValidationError):
        check({**shown, "attributes": {**shown["attributes"], name: value}})
    with pytest.raises(jsonschema.ValidationError):
        check({**shown, "more": 1})


# --- every public name has a stability ---------------------------------------------------------------------------


def test_every_module_with_public_names_is_on_the_page(public_api: Any) -> None:
    source = Path(package.__file__).parent
    declaring = {
        ".".join((package.__name__, *path.relative_to(source).with_suffix("").parts)).removesuffix(".__init__")
        for path in source.rglob("*.py")
        if re.search(r"^__all__ = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert declaring == set(public_api.PUBLIC)


def test_a_name_without_stability_stops_the_page(public_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "__all__", [*package.__all__, "new_name"])
    with pytest.raises(SystemExit, match="new_name"):
        public_api.page()
    monkeypatch.setattr(package, "__all__", package.__all__[:-1])
    commands = {name: stability for name, stability in public_api.COMMANDS.items() if name != "export"}
    monkeypatch.setattr(public_api, "COMMANDS", commands)
    with pytest.raises(SystemExit, match="export"):
        public_api.page()


def test_the_page_names_every_public_name(public_api: Any) -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    for names in public_api.PUBLIC.values():
        for name, stability in names.items():
            assert re.search(rf"^\| `{re.escape(name)}\b.*\| {stability} \|", page, re.MULTILINE), name
