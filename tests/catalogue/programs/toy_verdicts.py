"""A program that prints where it finds the verdicts of `catalogue_additions.py`.

Run by test_toy_verdicts.py, in a copy.

`toy_verdicts.py STORE`. STORE is a file that CoreVital without them has written.
"""

import json
import sqlite3
import sys
from contextlib import closing, redirect_stdout
from io import StringIO
from pathlib import Path

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue import verdicts
from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.legacy.report import report_of
from opentelemetry_instrumentation_corevital.legacy.report_words import risk_factors
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, open_store
from tests.support.made_runs import make_run
from tests.support.reported_runs import FLAGGED
from tests.support.verdict_carriers import reported

sys.path.insert(0, str(Path(__file__).parents[3] / "docs"))
import generate

TOY, TOYS = "corevital.health.toy_detected", "corevital.risk.toys"


def command(*arguments: str) -> str:
    """Return what a command prints."""
    with redirect_stdout(StringIO()) as printed:
        assert run_command(list(arguments)) == 0, arguments
    return printed.getvalue()


def main(store: str) -> None:
    """Print what was found as JSON."""
    verdicts.check()
    assert FLAGGED.keys() == verdicts.FLAG.keys()
    run, unmeasured = FLAGGED["toy_detected"](), make_run()
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
    schema = generate.run_schema.run_schema()
    facts = {
        "health": [run.health.toy_detected, run.health.flags(), unmeasured.health.toy_detected],
        "absent": unmeasured.absent.get("toy_detected"),
        "factors": [] if run.risk is None else run.risk.factors,
        "narrative": run.narrative,
        "attribute": [span.attributes.get(TOY), other.attributes.get(TOY)],
        "logs": [attributes.get(TOY) for _, attributes in logs],
        "store": [version, every, found[0].flags, found[0].as_dict()["toy_detected"], "runs_toy" in indexes],
        "coming": [run.early_warning is not None and run.early_warning.evidence.get("toy_coming"), run.narrative],
        "heap": [run.warnings, span.attributes[semconv.COMPOUND_SIGNALS], span.attributes[semconv.COMPOUND_EVIDENCE]],
        "toys": [
            span.attributes.get(TOYS),
            [said.get(TOYS) for _, said in logs],
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
            schema["$defs"]["attributes"]["properties"].get(TOY),
        ],
        "names": [each["name"] for each in generate.run_schema.names()["names"]],
        "vocabulary": semconv.HEALTH_FLAGS["toy_detected"],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1])
