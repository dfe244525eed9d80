"""`corevital export`, `import` and `migrate`: out of one store and into another, in every format."""

import csv
import gzip
import io
import json
import sqlite3
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, StoreWriter, open_store
from opentelemetry_instrumentation_corevital.store.span_rows import SpanRows
from opentelemetry_instrumentation_corevital.store.sqlite_labels import set_label
from tests.support.command_line import Cli
from tests.support.in_memory import instrumented
from tests.support.legacy_reports import ANSWER, PROMPT_TEXT, report, write_database, write_file
from tests.support.report_differences import differences, missing
from tests.support.spans import make_call, make_spans
from tests.support.store_contents import TABLES, contents, fill
from tests.support.tiny_models import prompt, sharpen, tiny_model


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """A real run of a tiny model with its run data, the newest; two made ones, and a call of two sequences."""
    cli.store(make_call(2), make_spans(2, **{semconv.RISK_SCORE: 0.9, semconv.RISK_LEVEL: "high"}))
    with instrumented(capture="full") as telemetry:
        sharpen(tiny_model()).generate(prompt(), max_new_tokens=8, do_sample=False, eos_token_id=None)
    cli.store(telemetry.spans)
    logs = SQLiteLogExporter(str(cli.db))
    logs.export(telemetry.log_exporter.get_finished_logs())
    logs.shutdown()
    return cli


# --- export ------------------------------------------------------------------------------------------------------


def test_a_report_to_standard_output_and_to_a_file(filled: Cli, tmp_path: Path) -> None:
    code, out, err = filled("export", "last")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1
    told = json.loads(out)
    with open_store(filled.db) as store:
        run = store.run("last")
    assert told["schema_version"] == "0.4.0"
    assert told["extensions"]["risk"]["risk_score"] == run.summary.risk_score
    assert len(told["timeline"]) == 8
    for step, entropy in zip(told["timeline"], run.columns["entropy"], strict=True):
        assert step["logits_summary"]["entropy"] == pytest.approx(float(entropy))
        assert [layer["layer_index"] for layer in step["layers"]] == [0, 1]
    assert told["extensions"]["corevital"]["attributes"] == run.attributes
    code, out, err = filled("export", "last", "--pretty", "--out", "report.json")
    assert (code, out, err) == (0, "", "1 run written to report.json\n")
    assert json.loads((tmp_path / "report.json").read_text()) == told
    assert (tmp_path / "report.json").read_text().startswith('{\n  "')


def test_reports_of_several_runs(filled: Cli, tmp_path: Path) -> None:
    code, out, _ = filled("export")
    assert code == 0
    assert len([json.loads(line) for line in out.splitlines()]) == 5, "one a line"
    code, _, err = filled("export", "--out", "all/of/them")
    assert (code, err) == (0, "5 runs written to all/of/them\n")
    files = sorted((tmp_path / "all/of/them").iterdir())
    assert len(files) == 5
    assert all(path.name.startswith("trace_") for path in files)
    assert sum(path.stem[-2:] in ("_0", "_1") for path in files) == 2, "the sequences of one call"
    assert filled("export", "--risk-above", "0.8", "--out", "risky")[2] == "2 runs written to risky\n"
    assert len(filled("export", "--limit", "3")[1].splitlines()) == 3


def test_csv_is_that_of_runs(filled: Cli) -> None:
    listed = filled("runs", "--csv", "--limit", "99")[1]
    assert filled("export", "--format", "csv")[1] == listed
    assert filled("export", "-f", "csv", "--out", "runs.csv")[2] == "5 runs written to runs.csv\n"
    assert Path("runs.csv").read_text() == listed
    found = list(csv.DictReader(io.StringIO(listed)))
    told = json.loads(filled("runs", "--json", "--limit", "99")[1])
    for row, run in zip(found, told, strict=True):
        assert row["trace_id"] == run["trace_id"]
        assert row["risk_score"] == ("" if run["risk_score"] is None else str(run["risk_score"]))
        assert row["nan_detected"] == {None: "", True: "true", False: "false"}[run["nan_detected"]]
        assert row["warnings"].split(";") == (run["warnings"] or [""])


def test_parquet_has_the_types_of_the_columns(filled: Cli) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    code, _, err = filled("export", "--format", "parquet", "--out", "runs.parquet")
    assert (code, err) == (0, "5 runs written to runs.parquet\n")
    table = parquet.read_table("runs.parquet")
    told = json.loads(filled("runs", "--json", "--limit", "99")[1])
    assert table.num_rows == 5
    for name in ("trace_id", "model", "risk_score", "output_tokens", "nan_detected", "narrative", "prompt_hash"):
        assert table.column(name).to_pylist() == [run[name] for run in told], name
    types = {field.name: str(field.type) for field in table.schema}
    assert types["start"].startswith("timestamp[ns, tz=UTC")
    assert (types["nan_detected"], types["risk_score"]) == ("bool", "double")
    starts = table.column("start").cast("int64").to_pylist()
    assert starts == [run["start_ns"] for run in told]


def test_parquet_says_what_it_needs(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--format parquet needs --out FILE" in filled("export", "-f", "parquet")[2]
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    code, _, err = filled("export", "-f", "parquet", "--out", "runs.parquet")
    assert code == 1
    assert "pip install 'opentelemetry-instrumentation-corevital[pandas]'" in err
    assert not Path("runs.parquet").exists()


def test_what_cannot_be_exported(filled: Cli, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for arguments, message in (
        (("last", "--since", "7d"), "Name runs or filter them, not both"),
        (("last", "--limit", "1"), "Name runs or filter them, not both"),
        (("--model", "org/none"), "No run matches"),
        (("ffffff",), "holds no run ffffff"),
        (("--format", "xml"), "'xml' is not one of"),
        (("last", "--out", "folder"), "--out folder: cannot be written (Is a directory)"),
        (("last", "--out", "none/report.json"), "cannot be written (No such file"),
        (("--out", "file"), "--out file: cannot be made a folder (File exists)"),
        (("-f", "csv", "--out", "folder"), "--out folder: cannot be written"),
        (("-f", "parquet", "--out", "none/x.parquet"), "cannot be written"),
        (("--db", "none.db"), "none.db: there is no such file"),
    ):
        code, out, err = filled("export", *arguments)
        assert (code, out) == (1, ""), arguments
        assert message in " ".join(err.replace("│", " ").split()), err
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    "command",
    [
        *(("export", "last", "--format", form, "--out") for form in ("report", "otlp", "csv", "parquet")),
        ("show", "last", "--html"),
    ],
    ids=lambda command: command[-2],
)
@pytest.mark.parametrize("linked", [False, True])
def test_no_store_is_written_over(filled: Cli, tmp_path: Path, command: tuple[str, ...], linked: bool) -> None:
    target = tmp_path / "link" if linked else filled.db
    if linked:
        target.symlink_to(filled.db)
    with open_store(filled.db) as store:
        before = [run.trace_id for run in store.runs()]
    code, _, err = filled(*command, str(target))
    assert code == 1
    assert "is an SQLite database" in err
    with open_store(filled.db) as store:
        assert [run.trace_id for run in store.runs()] == before


def test_damaged_run_data_are_told(filled: Cli) -> None:
    import sqlite3

    with sqlite3.connect(filled.db) as connection:
        connection.execute("UPDATE run_data SET data = substr(data, 1, 100)")
    code, out, err = filled("export", "last")
    assert (code, out) == (1, "")
    assert "are damaged" in err


# --- import ------------------------------------------------------------------------------------------------------


def test_otlp_out_and_in_is_the_same_store(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "first.db")
    code, _, err = cli("export", "--format", "otlp", "--db", "first.db", "--out", "telemetry.json")
    assert code == 0
    messages = len(Path("telemetry.json").read_text().splitlines())
    assert err == f"{messages} messages written to telemetry.json\n"
    Path("telemetry.json.gz").write_bytes(gzip.compress(Path("telemetry.json").read_bytes()))
    for number, source in enumerate(("telemetry.json", "telemetry.json", "telemetry.json.gz", "-")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("telemetry.json").read_bytes())))
        code, out, err = cli("import", source, "--db", "second.db")
        assert (code, err) == (0, "")
        new = 0 if number else len(contents(tmp_path / "second.db", "runs"))
        assert out.endswith(f" records stored in second.db, {new} new run{'' if new == 1 else 's'}\n")
        for table in TABLES:
            found = contents(tmp_path / "second.db", table)
            assert found == contents(tmp_path / "first.db", table), (table, number)
            assert found


def test_one_run_out_and_in(filled: Cli, tmp_path: Path) -> None:
    assert filled("export", "last", "--format", "otlp", "--out", "one.json")[0] == 0
    assert json.loads(filled("import", "one.json", "--db", "copy.db", "--json")[1])["problems"] == []
    with open_store(filled.db) as store, open_store(tmp_path / "copy.db") as copy:
        was, now = store.run("last"), copy.run("last")
        assert len(copy.runs()) == 1
    assert now == was
    assert set(now.columns) == set(was.columns)


def many_lines(cli: Cli, tmp_path: Path, count: int, *, spans: int = 1) -> Path:
    """Export runs, and write so many lines with spans of their own."""
    cli.store(make_spans(spans))
    exported = cli("export", "--format", "otlp")[1].splitlines()
    message, *others = [json.loads(each) for each in exported if "resourceSpans" in each]
    every = message["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for each in others:
        every += each["resourceSpans"][0]["scopeSpans"][0]["spans"]
    line = json.dumps(message)
    file = tmp_path / "many.json"
    ids = [each["spanId"] for each in every]
    with file.open("w") as lines:
        for number in range(count):
            changed = line
            for place, old in enumerate(ids):
                changed = changed.replace(old, f"{number + 1:08x}{place + 1:08x}")
            lines.write(changed + "\n")
    return file


def test_lines_are_stored_in_batches(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, transactions = many_lines(cli, tmp_path, 1100), []
    real = StoreWriter._transaction
    monkeypatch.setattr(
        StoreWriter, "_transaction", lambda self, batch: transactions.append(len(batch)) or real(self, batch)
    )
    code, out, _ = cli("import", str(file), "--db", "copy.db", "--json")
    assert code == 0
    assert json.loads(out) == {"stored": 1100, "new_runs": 1100, "problems": []}
    assert transactions == [512, 512, 76]


@pytest.mark.parametrize("at", [700, 1])
def test_a_line_is_stored_whole_or_not_at_all(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The disk fails in the middle of a line of more spans than a transaction has lines, and in a batch of lines."""
    file, written = many_lines(cli, tmp_path, 1 if at == 700 else 3, spans=800 if at == 700 else 2), [0]
    before, real = cli("runs", "--db", "copy.db")[0], SpanRows.write

    def failing(self: SpanRows, connection: sqlite3.Connection) -> object:
        written[0] += 1
        if written[0] > at:
            raise sqlite3.OperationalError("database or disk is full")
        return real(self, connection)

    monkeypatch.setattr(SpanRows, "write", failing)
    code, _, err = cli("import", str(file), "--db", "copy.db")
    assert (before, code) == (1, 1)
    assert "many.json:1: nothing is stored from this line on" in err
    monkeypatch.setattr(SpanRows, "write", real)
    assert "No run" in cli("runs", "--db", "copy.db")[1]
    assert cli("import", str(file), "--db", "copy.db")[0] == 0


def test_a_record_that_no_row_can_hold_is_named_with_its_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, written, real = many_lines(cli, tmp_path, 3, spans=2), [0], SpanRows.write

    def failing(self: SpanRows, connection: sqlite3.Connection) -> object:
        written[0] += 1
        found = real(self, connection)
        if written[0] == 4:
            raise OverflowError
        return found

    monkeypatch.setattr(SpanRows, "write", failing)
    code, out, _ = cli("import", str(file), "--db", "copy.db", "--json")
    assert code == 1
    told = json.loads(out)
    assert (told["stored"], told["new_runs"]) == (5, 5)
    assert told["problems"] == [f"{file}:2: a record could not be stored (OverflowError)."]


def test_lines_before_a_file_that_breaks_off_are_stored(cli: Cli, tmp_path: Path) -> None:
    packed = gzip.compress(many_lines(cli, tmp_path, 40).read_bytes())
    (tmp_path / "cut.gz").write_bytes(packed[:-20])
    code, _, err = cli("import", "cut.gz", "--db", "copy.db")
    assert code == 1
    assert "cut.gz:" in err
    assert cli("runs", "--db", "copy.db", "--limit", "100")[1].count("org/model") > 10


def test_a_broken_line_is_named_and_the_others_go_in(cli: Cli, tmp_path: Path) -> None:
    cli.store(make_spans(2))
    lines = cli("export", "--format", "otlp")[1].splitlines()
    Path("broken.json").write_text("\n".join(['{"resourceSp', *lines, "[]"]))
    code, out, err = cli("import", "broken.json", "--db", "copy.db")
    assert code == 1
    assert "broken.json:1: not JSON at character" in err
    assert f"broken.json:{len(lines) + 2}: not an OTLP message: a JSON object was expected" in err
    assert "2 problems" in out
    assert len(json.loads(cli("runs", "--db", "copy.db", "--json")[1])) == 2
    code, _, err = cli("import", "none.json", "--db", "copy.db")
    assert code == 1
    assert "none.json" in err


# --- migrate -----------------------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """What the first CoreVital left: a file of each schema, a database, and files that are none."""
    folder = tmp_path / "old-runs"
    write_file(folder, report())
    write_database(folder / "deep" / "old.db", report("bbbbbbbb-0000-4000-8000-000000000002", version="0.3.0"))
    whole = json.dumps(report("cccccccc-0000-4000-8000-000000000003"), indent=1)
    (folder / "trace_cut.json").write_text(whole[: len(whole) // 3])
    (folder / "trace_x_performance_detailed.json").write_text("{")
    return folder


def test_old_runs_become_runs(cli: Cli, old: Path) -> None:
    code, out, err = cli("migrate", "--from-dir", "old-runs", "--dry-run")
    assert (code, out) == (0, "2 would be migrated, 0 were there already, 1 skipped\n")
    assert not cli.db.exists()
    code, out, err = cli("migrate", "--from-dir", "old-runs")
    assert (code, out) == (0, "2 migrated to runs/corevital.db, 0 were there already, 1 skipped\n")
    assert "skipped old-runs/trace_cut.json: no JSON at line" in err
    told = json.loads(cli("migrate", "--from-dir", "old-runs", "--json")[1])
    assert (told["migrated"], told["already_there"], len(told["skipped"])) == (0, 2, 1)
    shown = cli("show", "aaaaaaaa")[1]
    for part in ("high risk 0.93", "repetition loop", "Entropy peaked at step 3", "org/first", "schema 0.4.0"):
        assert part in shown, part
    assert "2 │" in cli("show", "aaaaaaaa", "--layers")[1]
    listed = cli("runs", "--flag", "repetition_loop", "--csv")[1]
    assert len(listed.splitlines()) == 3
    stored = cli.db.read_bytes()
    assert PROMPT_TEXT.encode() not in stored
    assert b"Smeaton" not in stored


@pytest.mark.parametrize("version", ["0.3.0", "0.4.0"])
def test_a_migrated_report_comes_out_as_it_was(cli: Cli, tmp_path: Path, version: str) -> None:
    source = report(version=version)
    write_file(tmp_path / "old", source)
    arguments = ("migrate", "--from-dir", "old", "--to-db", "new.db", "--with-content")
    assert cli(*arguments)[0] == 0
    exported = json.loads(cli("export", "last", "--db", "new.db")[1])
    assert differences(source, exported) == []
    assert missing(source, exported) == []
    assert ANSWER in cli("show", "last", "--db", "new.db")[1]


def test_a_label_outlives_a_second_migration(cli: Cli, old: Path) -> None:
    cli("migrate", "--from-dir", "old-runs")
    with open_store(cli.db) as store:
        run = store.run("aaaaaaaa").summary
    set_label(cli.db, run.trace_id, run.span_id, "incorrect")
    cli("migrate", "--from-dir", "old-runs")
    assert json.loads(cli("runs", "--label", "incorrect", "--json")[1])[0]["trace_id"] == run.trace_id
    code, _, err = cli("migrate", "--from-dir", "nowhere")
    assert code == 1
    assert "nowhere: is no folder" in err


@pytest.mark.parametrize("form", ["report", "otlp", "csv", "parquet"])
def test_every_format_is_written_into_a_link_and_a_device(cli: Cli, tmp_path: Path, form: str) -> None:
    cli.store(make_spans(1))
    (tmp_path / "link").symlink_to("target")
    (tmp_path / ".link.part").symlink_to("victim")
    (tmp_path / "victim").write_text("precious")
    assert cli("export", "--format", form, "--out", "link")[0] == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").stat().st_size > 100
    assert (tmp_path / "victim").read_text() == "precious"
    assert cli("export", "--format", form, "--out", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()
    code, _, err = cli("export", "--format", form, "--out", "/dev/full")
    assert (code, "--out /dev/full: cannot be written (No space left on device)." in err) == (1, True), err
