"""A program with a flag, a compound signal and an attribute more than CoreVital, which prints where it finds them.

`toy_verdicts.py STORE FOLDER VERSION`. They are declared and defined as docs/extending.md says, here instead of in the
files that it names. STORE is a file that CoreVital without them has written, VERSION the version of the store after
that; the files that are generated are put into FOLDER.
"""

# ruff: noqa: E402 -- the declaration has to come before everything that is derived from it
import json
import sqlite3
import sys
from contextlib import closing, redirect_stdout
from io import StringIO
from pathlib import Path

from opentelemetry_instrumentation_corevital.catalogue import carried, flags, warnings
from opentelemetry_instrumentation_corevital.catalogue.verdict import Carried, Compound, Entry, Flag, Sentence

ENTRY = Entry(
    definition="a toy, at {{limit norm_outlier}}",
    unit="boolean",
    default="every run",
    evidence="layer",
    measured="never",
    advice="put it away",
)
TOY = Flag(
    name="toy_detected",
    word="toy",
    label="toy",
    meaning="there was a toy",
    about="layers",
    needs=("hidden_states",),
    weight=0.6,
    sentences=(Sentence("A toy lay in layer {layer}."),),
    entry=ENTRY,
    since=int(sys.argv[3]),
)
TOYS = Carried(
    path="risk.toys",
    type="double",
    unit="1",
    meaning="toys for each layer",
    role="risk",
    column="toys",
    since=int(sys.argv[3]),
    view="Toys",
    carriers=("route",),
)
flags.FLAGS += (TOY,)
warnings.COMPOUND += (Compound(name="toy_heap", severity=0.6, needs=("entropy",), entry=ENTRY),)
carried.CARRIED += (TOYS,)

from opentelemetry_instrumentation_corevital.assessment import attributes, compound, health
from opentelemetry_instrumentation_corevital.catalogue import verdicts

health.JUDGES["toy_detected"] = lambda run, thresholds, deviating: health.Found(
    {"layer": 2} if "hidden_nan" in run.columns else {},
    {} if "hidden_nan" in run.columns else {"toy_detected": "the layers were not measured"},
)
compound.JUDGES["toy_heap"] = lambda run, thresholds: {"toys": 3}
attributes.VERDICTS["risk"].values[TOYS.attribute] = lambda run, risk: risk.score / 2

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.legacy.report import report_of
from opentelemetry_instrumentation_corevital.legacy.words import risk_factors
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, open_store
from tests.assessment.runs import add_layers, make_run
from tests.emission.carriers import reported

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import collector_files
import generate


def command(*arguments: str) -> str:
    """Return what a command prints."""
    with redirect_stdout(StringIO()) as printed:
        assert run_command(list(arguments)) == 0, arguments
    return printed.getvalue()


def main(store: str, folder: Path) -> None:
    """Print what was found as JSON."""
    verdicts.check()
    run, unmeasured = add_layers(make_run(), 6), make_run()
    (span,), logs = reported([run])
    (other,), _ = reported([unmeasured])
    assert run.health is not None
    assert unmeasured.health is not None
    exporter = SQLiteSpanExporter(store)
    exporter.export([span, other])
    exporter.shutdown()
    assert exporter.last_error is None, exporter.last_error
    with open_store(store) as opened:
        found = opened.runs(flag="toy")
        every = [row.toy_detected for row in reversed(opened.runs())]
        report = report_of(opened.run(found[0].trace_id))
    with closing(sqlite3.connect(store)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        indexes = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")]
    for path, text in collector_files.files().items():
        (folder / Path(path).name).write_text(text, encoding="utf-8")
    schema = generate.run_schema.run_schema()
    facts = {
        "health": [run.health.toy_detected, run.health.flags(), unmeasured.health.toy_detected],
        "absent": unmeasured.absent.get("toy_detected"),
        "factors": [] if run.risk is None else run.risk.factors,
        "narrative": run.narrative,
        "attribute": [span.attributes.get(TOY.attribute), other.attributes.get(TOY.attribute)],
        "logs": [attributes.get(TOY.attribute) for _, attributes in logs],
        "store": [version, every, found[0].flags, found[0].as_dict()["toy_detected"], "runs_toy" in indexes],
        "heap": [run.warnings, span.attributes[semconv.COMPOUND_SIGNALS], span.attributes[semconv.COMPOUND_EVIDENCE]],
        "toys": [
            span.attributes.get(TOYS.attribute),
            [said.get(TOYS.attribute) for _, said in logs],
            found[0].toys,
            schema["$defs"]["summary"]["properties"].get("toys"),
        ],
        "check": command("db", "check", "--db", store),
        "runs": command("runs", "--flag", "toy", "--json", "--db", store),
        "csv": command("runs", "--flag", "toy_detected", "--csv", "--db", store),
        "show": command("show", found[0].trace_id, "--db", store),
        "report": [report["health_flags"]["toy_detected"], risk_factors(["toy_detected=0.6"])],
        "attributes.md": generate.attributes_page(),
        "judgement.md": generate.PAGES["judgement.md"](),
        "schema": [
            schema["$defs"]["summary"]["properties"].get("toy_detected"),
            schema["$defs"]["summary"]["required"],
            schema["$defs"]["attributes"]["properties"].get(TOY.attribute),
        ],
        "names": [each["name"] for each in generate.run_schema.names()["names"]],
        "vocabulary": semconv.HEALTH_FLAGS["toy_detected"],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
