"""`corevital show --csv` and `--json --layers`: a run's steps and layers for programs."""

import csv
import io
import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import Run, get_fingerprint, open_store, semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.presentation.panel import verdict_lines
from opentelemetry_instrumentation_corevital.run import Fingerprint
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter
from tests.support.command_line import Cli
from tests.support.logs_and_metrics import chunk_records, emitted, in_span
from tests.support.made_runs import add_alternatives, add_layers, make_run
from tests.support.spans import make_spans

STEPS, LAYERS = 9, 3


@pytest.fixture
def measured(cli: Cli) -> dict[str, np.ndarray]:
    """Store a run with run data and return them."""
    (span,) = make_spans()
    assert span.context is not None
    cli.store([span])
    columns = run_columns(add_layers(make_run(STEPS), LAYERS), content=False)
    columns["hidden_l2_norm"][4, 1] = np.inf
    columns["surprisal"][2] = np.nan
    exporter = SQLiteLogExporter(cli.db)
    context = in_span(span.context.trace_id, span.context.span_id)
    exporter.export(emitted(*chunk_records(to_npz(columns), 4000, context=context)))
    exporter.shutdown()
    return columns


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_per_step(cli: Cli, measured: dict[str, np.ndarray]) -> None:
    code, out, err = cli("show", "last", "--csv")
    found = rows_of(out)
    assert (code, err) == (0, "")
    assert [row["step"] for row in found] == [str(step) for step in range(STEPS)]
    assert "tokens" not in found[0]
    assert [float(row["entropy"]) for row in found] == pytest.approx(measured["entropy"].tolist())
    assert found[2]["surprisal"] == "", "what was not measured is empty"
    assert not set(found[0]) & {"hidden_l2_norm"}


def test_a_row_per_step_and_layer(cli: Cli, measured: dict[str, np.ndarray]) -> None:
    found = rows_of(cli("show", "last", "--csv", "--layers")[1])
    assert [(int(row["step"]), int(row["layer"])) for row in found] == list(np.ndindex(STEPS, LAYERS))
    norms = [row["hidden_l2_norm"] for row in found]
    assert norms.pop(4 * LAYERS + 1) == ""
    assert [float(norm) for norm in norms] == pytest.approx(
        np.delete(measured["hidden_l2_norm"].ravel(), 4 * LAYERS + 1).tolist()
    )


def test_json_with_layers_is_strict_json(cli: Cli, measured: dict[str, np.ndarray]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert "columns" not in json.loads(cli("show", "last", "--json")[1])
    told = json.loads(cli("show", "last", "--json", "--layers")[1], parse_constant=refuse)
    assert told["columns"].keys() == measured.keys()
    assert told["columns"]["hidden_l2_norm"][4][1] is None
    assert told["columns"]["entropy"] == pytest.approx(measured["entropy"].tolist())


@pytest.fixture
def choosing(cli: Cli) -> Run:
    """Store a run with alternatives and their ids, and return it."""
    (span,) = make_spans()
    assert span.context is not None
    cli.store([span])
    run = add_alternatives(make_run(STEPS))
    exporter = SQLiteLogExporter(cli.db)
    context = in_span(span.context.trace_id, span.context.span_id)
    exporter.export(emitted(*chunk_records(to_npz(run_columns(run, content=True)), 4000, context=context)))
    exporter.shutdown()
    return run


def test_steps_tell_what_the_model_could_have_said(cli: Cli, choosing: Run) -> None:
    code, out, err = cli("show", "last", "--steps")
    assert (code, err) == (0, "")
    table = [line.split() for line in out.splitlines()]
    said = f"[{choosing.tokens[3]}]"
    assert ["3", said, "0.700", said, "0.100", "[200001]", "0.050", "[200002]"] in [row[:8] for row in table]


def test_without_ids_the_probabilities_stand_alone(cli: Cli, choosing: Run) -> None:
    kept = to_npz(run_columns(choosing, content=False))
    with sqlite3.connect(cli.db) as connection:
        connection.execute("UPDATE run_data SET data = ?", (kept,))
    assert "\n   3  0.700  0.100  0.050  0.030  0.020\n" in cli("show", "last", "--steps")[1]
    told = json.loads(cli("show", "last", "--json")[1])
    assert told["alternatives"][3] == [{"probability": each} for each in (0.7, 0.1, 0.05, 0.03, 0.02)]


def test_json_and_csv_have_the_alternatives_with_their_ids(cli: Cli, choosing: Run) -> None:
    told = json.loads(cli("show", "last", "--json")[1])
    assert len(told["alternatives"]) == STEPS
    assert told["alternatives"][2][0] == {"probability": 0.7, "token_id": int(choosing.tokens[2])}
    row = rows_of(cli("show", "last", "--csv")[1])[2]
    assert (float(row["alternative_probability_2"]), row["alternative_token_2"]) == (pytest.approx(0.1), "200001")
    assert not rows_of(cli("show", "last", "--csv", "--layers")[1]), "they are of no layers"


def test_a_tokenizer_goes_with_steps_and_pages_alone(cli: Cli, choosing: Run) -> None:
    code, _, err = cli("show", "last", "--tokenizer", "org/model")
    assert (code, err.count("--tokenizer goes with --html, --steps or --prompt")) == (1, 1)


def test_without_run_data_the_recorded_steps_are_the_rows(cli: Cli) -> None:
    cli.store(make_spans(events=3))
    assert cli("show", "last", "--csv")[1] == "step,entropy\n0,0.0\n1,0.5\n2,1.0\n"
    assert cli("show", "last", "--csv", "--layers")[1] == "step,layer\n"


@pytest.mark.parametrize("how", [("--csv",), ("--html", "page.html"), ("--layers",), ("--json", "--layers")])
def test_damaged_run_data_are_named(cli: Cli, measured: dict[str, np.ndarray], how: tuple[str, ...]) -> None:
    with sqlite3.connect(cli.db) as connection:
        connection.execute("UPDATE run_data SET data = substr(data, 1, 100)")
    code, out, err = cli("show", "last", *how)
    assert (code, out) == (1, "")
    assert "the run's data are damaged" in err
    assert cli("show", "last")[0] == 0


@pytest.mark.parametrize(
    "options", [("--json", "--csv"), ("--html", "x.html", "--csv"), ("--html", "x.html", "--json")]
)
def test_one_form_at_a_time(cli: Cli, options: tuple[str, ...]) -> None:
    cli.store(make_spans())
    assert cli("show", "last", *options)[:2] == (1, "")


@pytest.mark.parametrize(
    ("layers", "shown"),
    [
        ([3], "layer 3: a"),
        ([0, 1, 2, 7], "layers 0-2, 7: a"),
        ([5, 4, 3], "layers 5, 4, 3: a"),
        ([1, 2], "layers 1, 2: a"),
    ],
)
def test_layers_blamed_for_one_reason_share_a_line(layers: list[int], shown: str) -> None:
    lines = dict(verdict_lines({semconv.BLAME_LAYERS: layers, semconv.BLAME_REASONS: ["a"] * len(layers)}))
    assert str(lines["blame"]) == shown
    apart = dict(verdict_lines({semconv.BLAME_LAYERS: [4, 5], semconv.BLAME_REASONS: ["x", "y"]}))
    assert str(apart["blame"]) == "layer 4: x\nlayer 5: y"


def test_fingerprints(cli: Cli) -> None:
    cli.store(make_spans())
    with open_store(cli.db) as store:
        stored, (row,) = store.run("last"), store.runs()
    assert get_fingerprint(stored).prompt_hash == "ab" * 32
    live: Run = make_run(2)
    assert get_fingerprint(live) == Fingerprint()
    live.fingerprint = Fingerprint("cd", "text", "ef")
    assert get_fingerprint(live) is live.fingerprint
    attributes = {semconv.FINGERPRINT_VECTOR: [0.25, 0.5], semconv.FINGERPRINT_VERSION: "1-outside"}
    other = get_fingerprint(replace(stored, attributes=stored.attributes | attributes))
    assert (other.vector, other.version) == ((0.25, 0.5), "1-outside")
    assert get_fingerprint(stored).vector is None, "what was not computed"
    with pytest.raises(TypeError, match=r"Store\.load"):
        get_fingerprint(row)  # type: ignore[arg-type]
