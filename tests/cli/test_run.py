"""`corevital run`, `runs` and `show`, with the real model and with every way to use them wrongly."""

import functools
import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.cli import app
from opentelemetry_instrumentation_corevital.cli import run_command as run_module
from opentelemetry_instrumentation_corevital.cli.own_telemetry import Otlp
from opentelemetry_instrumentation_corevital.loading import models
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.store import StoreWriter, open_store
from tests.support.processes import free_port, listening, process, wait_until
from tests.support.saved_models import word_tokenizer
from tests.support.tiny_models import tiny_model

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def corevital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in an empty folder; return its exit code, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = app.run_command(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


# --- what it does ------------------------------------------------------------------------------------------------


@pytest.mark.real_model
@pytest.mark.xdist_group("real_model")
def test_the_real_model_is_run_judged_stored_and_shown(
    corevital: Command, smollm2: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "load_model", lambda *args, **kwargs: smollm2)
    code, out, _ = corevital(
        "run", "--model", "smollm2", "--prompt", "Name three primary colours.", "--capture", "full"
    )
    assert code == 0
    for part in ("low risk", "Red is the most", "entropy", "surprisal  ", "stored in runs/corevital.db", "prompt hash"):
        assert part in out
    code, out, _ = corevital("runs")
    assert code == 0
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in out
    code, listed, _ = corevital("runs", "--json")
    (run,) = json.loads(listed)
    assert run["prompt_hash_source"] == "text"
    for name in ("last", run["trace_id"][:8]):
        code, out, _ = corevital("show", name, "--steps")
        assert code == 0
        assert "low risk" in out
        assert len(out.splitlines()) > run["output_tokens"]
    assert "Red" not in json.dumps(json.loads(corevital("show", "last", "--json")[1])), "content was not stored"


@pytest.mark.parametrize(
    ("given", "variable", "mode"),
    [((), None, "summary"), ((), "off", "off"), (("--prompt-analysis", "full"), "off", "full")],
)
def test_what_is_told_of_the_prompt(
    given: tuple[str, ...],
    variable: str | None,
    mode: str,
    corevital: Command,
    tiny_folder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv("OTEL_COREVITAL_PROMPT_ANALYSIS", variable)
    asked = ("run", "-m", tiny_folder, "-p", "w5 w6 w7 w8 w9", "--max-new-tokens", "3", *given)
    assert corevital(*asked)[0] == 0
    with open_store("runs/corevital.db") as store:
        found = store.run("last").prompt_analysis
    if mode == "off":
        assert found is None
        return
    assert found is not None
    assert found.surprisal_mean is not None
    assert found.basin is not None
    assert (found.connections is not None) == (mode == "full")


def test_a_run_from_a_folder_in_json(corevital: Command, tiny_folder: str) -> None:
    code, out, err = corevital(
        "run",
        "-m",
        tiny_folder,
        "-p",
        "w5 w6 w7",
        "--max_new_tokens",
        "9",
        "--seed",
        "3",
        "--temperature",
        "0.9",
        "--json",
    )
    assert (code, err) == (0, "")
    (run,) = json.loads(out)["runs"]
    assert run["attributes"]["gen_ai.request.model"] == "tiny"
    assert run["attributes"]["gen_ai.request.seed"] == 3
    assert run["attributes"]["gen_ai.request.temperature"] == 0.9
    assert run["attributes"]["corevital.capture.mode"] == "full"
    assert 1 <= len(run["tokens"]) <= 9
    assert set(run["tokens"][0]) == {"text", "entropy", "surprisal", "margin"}
    again = json.loads(
        corevital(
            "run",
            "-m",
            tiny_folder,
            "-p",
            "w5 w6 w7",
            "--max_new_tokens",
            "9",
            "--seed",
            "3",
            "--temperature",
            "0.9",
            "--json",
        )[1]
    )
    assert again["runs"][0]["tokens"] == run["tokens"]
    assert (
        again["runs"][0]["attributes"]["corevital.fingerprint.run_hash"]
        == (run["attributes"]["corevital.fingerprint.run_hash"])
    )


def test_the_prompt_from_a_file_and_from_standard_input(
    corevital: Command, tiny_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    hashes = set()
    (tmp_path / "prompt.txt").write_text("w9 w8\n")
    for source in (["--prompt-file", "prompt.txt"], ["--prompt", "-"], ["--prompt-file", "-"], ["--prompt", "w9 w8"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("w9 w8\n"))
        code, out, _ = corevital("run", "-m", tiny_folder, *source, "--max-new-tokens", "2", "--json", "--no-store")
        assert code == 0
        hashes.add(json.loads(out)["runs"][0]["attributes"]["corevital.fingerprint.prompt_hash"])
    assert len(hashes) == 1
    assert not (tmp_path / "runs").exists()


def test_content_is_stored_only_when_told(corevital: Command, tiny_folder: str, tmp_path: Path) -> None:
    arguments = ("run", "-m", tiny_folder, "-p", "w31 w32 w33", "--max-new-tokens", "4")
    for options, stored in (((), False), (("--store-content",), True)):
        database = tmp_path / f"{stored}.db"
        assert corevital(*arguments, *options, "--db", str(database))[0] == 0
        assert (b"w31 w32 w33" in database.read_bytes()) is stored
    assert "w31 w32 w33" in corevital("show", "last", "--db", str(tmp_path / "True.db"))[1]


def test_several_sequences_beams_and_full_screen(corevital: Command, tiny_folder: str) -> None:
    code, out, _ = corevital("run", "-m", tiny_folder, "-p", "w5", "--sample", "--num-return-sequences", "3")
    assert code == 0
    assert out.count("sequence ") >= 3
    trace = json.loads(corevital("runs", "--json")[1])[0]["trace_id"]
    code, _, err = corevital("show", trace[:10])
    assert code == 1
    assert f"{trace[:12]}:2" in err
    assert corevital("show", f"{trace[:10]}:2")[0] == 0
    code, out, _ = corevital("run", "-m", tiny_folder, "-p", "w5", "--num-beams", "2")
    assert code == 0
    assert "not measured" not in out
    assert re.search(r"─ (low|medium|high) risk \d\.\d\d ─", out)


def test_fail_above_sets_the_exit_code(corevital: Command, tiny_folder: str) -> None:
    arguments = ("run", "-m", tiny_folder, "-p", "w5", "--max-new-tokens", "5", "--no-store")
    risk = json.loads(corevital(*arguments, "--json")[1])["runs"][0]["attributes"]["corevital.risk.score"]
    assert 0 < risk < 1
    assert corevital(*arguments, "--fail-above", str(risk))[0] == 0
    assert corevital(*arguments, "--fail-above", str(risk - 0.01))[0] == 3


def test_a_planted_nan_is_above_everything(corevital: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    model.lm_head.register_forward_hook(lambda module, inputs, output: output * torch.nan)
    loaded = LoadedModel(model, word_tokenizer(), "broken")
    monkeypatch.setattr(run_module, "load_model", lambda *args, **kwargs: loaded)
    code, out, _ = corevital("run", "-m", "broken", "-p", "w5", "--max-new-tokens", "4", "--fail-above", "0.9")
    assert code == 3
    assert "high risk 1.00" in out
    assert "NaN: step 0" in out
    assert corevital("show", "last")[0] == 0


# --- where it puts a run -----------------------------------------------------------------------------------------

WORDS = "w31 w32 w33"


def reports_in(folder: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(Path(folder).glob("trace_*.json"))]


@pytest.mark.parametrize("content", [False, True])
def test_local_writes_a_report_and_no_store(corevital: Command, tiny_folder: str, content: bool) -> None:
    options = ("--sink", "local", "--out", "there/reports", *(["--store-content"] if content else []))
    code, out, _ = corevital("run", "-m", tiny_folder, "-p", WORDS, "--max-new-tokens", "6", *options)
    assert code == 0
    (path,) = Path("there/reports").iterdir()
    assert f"report in {path}" in out
    assert "stored in" not in out
    assert not list(Path().rglob("*.db*")), "a store is left behind"
    (report,) = reports_in("there/reports")
    assert report["schema_version"] == "0.4.0"
    assert report["trace_id"].replace("-", "") in path.name
    assert len(report["timeline"]) == report["generated"]["num_tokens"] == 6
    assert len(report["timeline"][0]["layers"]) == 2
    assert 0 <= report["extensions"]["risk"]["risk_score"] <= 1
    assert report["extensions"]["narrative"]["summary"] in " ".join(out.replace("│", " ").split())
    assert report["prompt"].get("text") == (WORDS if content else None)
    assert ("token_ids" in report["generated"]) is content
    assert len(path.read_text().splitlines()) == 1


def test_a_report_beside_the_store_is_that_of_export(corevital: Command, tiny_folder: str) -> None:
    arguments = ("run", "-m", tiny_folder, "-p", WORDS, "--max-new-tokens", "4", "--write-json", "--json-pretty")
    code, out, _ = corevital(*arguments, "--json")
    assert code == 0
    told = json.loads(out)
    (path,) = Path("runs").glob("trace_*.json")
    assert (told["database"], told["reports"]) == ("runs/corevital.db", [str(path)])
    assert path.read_text() == corevital("export", "last", "--pretty")[1]
    assert path.read_text().startswith('{\n  "schema_version"')


def test_out_is_the_folder_of_both(corevital: Command, tiny_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", "elsewhere.db")
    arguments = ("run", "-m", tiny_folder, "-p", WORDS, "--max-new-tokens", "2", "--sample", "--seed", "1")
    arguments = (*arguments, "--num-return-sequences", "2", "--out", "both", "--sink", "sqlite", "--write-json")
    assert corevital(*arguments)[0] == 0
    assert not Path("elsewhere.db").exists()
    reports = reports_in("both")
    assert len(reports) == 2, "one a sequence"
    runs = json.loads(corevital("runs", "--db", "both/corevital.db", "--json")[1])
    assert {run["span_id"] for run in runs} == {r["extensions"]["corevital"]["span_id"] for r in reports}


@pytest.mark.parametrize("content", [False, True])
def test_a_report_of_ours_becomes_the_run_that_it_was(corevital: Command, tiny_folder: str, content: bool) -> None:
    arguments = ("run", "-m", tiny_folder, "-p", WORDS, "--max-new-tokens", "6", "--sample", "--seed", "5")
    arguments = (*arguments, "--num-return-sequences", "2", "--store-content", "--write-json", "--out", "old")
    assert corevital(*arguments)[0] == 0
    more = ("--with-content",) if content else ()
    assert corevital("migrate", "--from-dir", "old", "--to-db", "new.db", *more)[1].startswith("2 migrated")
    assert corevital("migrate", "--from-dir", "old", "--to-db", "new.db")[1].startswith("0 migrated to new.db, 2 were")
    with open_store("old/corevital.db") as store, open_store("new.db") as new:
        assert new.runs() == store.runs()
        for run in store.runs():
            was, now = store.load(run), new.load(run)
            messages = {semconv.GEN_AI_INPUT_MESSAGES, semconv.GEN_AI_OUTPUT_MESSAGES}
            lost = was.attributes.keys() - now.attributes.keys()
            assert lost <= messages
            assert bool(lost) is not content
            assert now.attributes == {name: value for name, value in was.attributes.items() if name not in lost}
            for name in ("entropy", "hidden_l2_norm", "attention_entropy", "tokens"):
                assert (name in now.columns) is (content or name != "tokens"), name
                if name in now.columns:
                    assert (now.columns[name] == was.columns[name]).all()
    assert (b"w31 w32 w33" in Path("new.db").read_bytes()) is content
    assert corevital("export", "--db", "new.db", "--out", "again")[0] == 0
    exported = {report["extensions"]["corevital"]["span_id"]: report for report in reports_in("again")}
    for report in reports_in("old"):
        again = exported[report["extensions"]["corevital"]["span_id"]]
        assert again["extensions"]["risk"] == report["extensions"]["risk"]
        assert again["summary"] == report["summary"]
        if content:
            assert again["timeline"] == report["timeline"]


def test_a_report_that_cannot_be_written_is_told_beside_the_verdict(
    corevital: Command, tiny_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = models.load_model

    def then_block(*args: Any, **kwargs: Any) -> LoadedModel:
        Path("there").rmdir()
        Path("there").write_text("a file now")
        return load(*args, **kwargs)

    monkeypatch.setattr(run_module, "load_model", then_block)
    arguments = ("run", "-m", tiny_folder, "-p", "w5", "--max-new-tokens", "2", "--sink", "local", "--out", "there")
    code, out, err = corevital(*arguments)
    assert code == 1
    assert "risk" in out
    assert "--out there: cannot be made a folder (File exists)" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sink", "cloud"), "'cloud' is not one of 'sqlite', 'local'"),
        (("--sink", "local", "--db", "x.db"), "--db names the file of --sink sqlite"),
        (("--no-store", "--write-json"), "so --write-json does not go with it"),
        (("--no-store", "--sink", "local"), "so --sink does not go with it"),
        (("--no-store", "--out", "x"), "so --out does not go with it"),
        (("--json-pretty",), "--json-pretty indents reports"),
        (("--db", "x.db", "--out", "x"), "--db names the store already"),
        (("--sink", "local", "--out", "file"), "--out file: cannot be made a folder"),
        (("--otel-endpoint", "localhost:4317"), "--otel-endpoint localhost:4317: give a URL with its scheme"),
        (("--otel-endpoint", "ada:pa55word@h:1"), "--otel-endpoint ***@h:1: give a URL with its scheme"),
        (("--otel-endpoint", "http://"), "give a URL with its scheme"),
        (("--otel-endpoint", "http://host:port"), "give a URL with its scheme"),
    ],
)
def test_sinks_that_make_no_sense(
    corevital: Command, tmp_path: Path, options: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "load_model", lambda *_, **__: pytest.fail("the model was loaded"))
    (tmp_path / "file").touch()
    code, out, err = corevital("run", "-m", "x", "-p", "y", *options)
    assert (code, out) == (1, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("variables", "url", "asked", "expected"),
    [
        ({}, None, False, (None, "grpc")),
        ({}, None, True, ("http://localhost:4317", "grpc")),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, None, True, ("http://localhost:4318", "http")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there:1"}, None, True, ("http://there:1", "grpc")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there:1"}, "http://here:2/", False, ("http://here:2", "grpc")),
        ({}, "http://here:4318", False, ("http://here:4318", "http")),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://here:4318", False, ("http://here:4318", "grpc")),
    ],
)
def test_where_otlp_goes(
    variables: dict[str, str], url: str | None, asked: bool, expected: tuple[str | None, str], monkeypatch: Any
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    otlp = Otlp.of(url, asked=asked)
    assert (otlp.endpoint("TRACES"), otlp.protocol("TRACES")) == expected


# --- what it refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "x"), "--prompt"),
        (("--model", "x", "--prompt", "a", "--prompt-file", "b"), "one of them"),
        (("--model", "x", "--prompt", "   "), "prompt is empty"),
        (("--model", "x", "--prompt-file", "missing.txt"), "missing.txt: cannot be read: No such file"),
        (("--model", "x", "--prompt-file", "."), "cannot be read: Is a directory"),
        (("--model", "x", "--prompt-file", "/dev/zero"), "/dev/zero: cannot be read: holds more than 64 MiB"),
        (("--model", "x", "--prompt-file", "a\0b"), "cannot be read: a NUL character is in its name"),
        (("--model", "x", "--prompt", "a", "--seed", "9" * 20), "Invalid value for '--seed'"),
        (("--model", "x", "--prompt-file", "latin1.txt"), "not UTF-8 at byte 3"),
        (("--model", "nobody/nothing-at-all", "--prompt", "a"), "nobody/nothing-at-all"),
        (("--model", "empty", "--prompt", "a"), "no config.json"),
        (("--model", "x", "--prompt", "a", "--device", "tpu9"), "--device tpu9"),
        (("--model", "x", "--prompt", "a", "--dtype", "int4"), "--dtype int4"),
        (("--model", "x", "--prompt", "a", "--temperature", "0"), "above 0"),
        (("--model", "x", "--prompt", "a", "--greedy", "--top-p", "0.5"), "--greedy does not go with"),
        (("--model", "x", "--prompt", "a", "--num-return-sequences", "2"), "needs --sample"),
        (("--model", "x", "--prompt", "a", "--capture", "some"), "option 'capture' (from keyword)"),
        (("--model", "x", "--prompt", "a", "--prompt-analysis", "some"), "'off', 'summary' or 'full'"),
        (("--model", "x", "--prompt", "a", "--max-new-tokens", "0"), "max-new-tokens"),
        (("--model", "x", "--prompt", "a", "--db", "."), "is a folder"),
        (("--model", "x", "--prompt", "a", "--db", "text.db"), "not an SQLite database"),
        (("--model", "x", "--prompt", "a", "--db", "locked.db"), "is locked by another program"),
        (("--model", "x", "--prompt", "a", "--unknown"), "--unknown"),
    ],
)
def test_a_users_error_is_one_sentence_and_code_1(
    corevital: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr("opentelemetry_instrumentation_corevital.store.database.BUSY_SECONDS", 0.05)
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "text.db").write_text("some text " * 300)
    holder = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("DROP TABLE t")
    holder.execute("BEGIN EXCLUSIVE")
    code, out, err = corevital("run", *arguments)
    holder.close()
    assert code == 1
    assert out == ""
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "runs" / "corevital.db-wal").exists()


def test_a_database_that_fails_after_the_run_is_told_beside_the_verdict(
    corevital: Command, tiny_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = functools.partial(StoreWriter, patience=0.5)
    monkeypatch.setattr("opentelemetry_instrumentation_corevital.store.shared_writers.StoreWriter", impatient)
    database = tmp_path / "runs.db"
    load = models.load_model

    def then_lock(*args: Any, **kwargs: Any) -> LoadedModel:
        holder.execute("BEGIN EXCLUSIVE")
        return load(*args, **kwargs)

    monkeypatch.setattr(run_module, "load_model", then_lock)
    holder = sqlite3.connect(database, isolation_level=None)
    code, out, err = corevital("run", "-m", tiny_folder, "-p", "w5", "--max-new-tokens", "3", "--db", str(database))
    holder.close()
    assert code == 1
    assert "risk" in out, "the verdict is shown all the same"
    assert "is locked by another program" in err


def test_reading_what_is_not_there(corevital: Command, tmp_path: Path, tiny_folder: str) -> None:
    code, _, err = corevital("runs")
    assert code == 1
    assert "runs/corevital.db: there is no such file" in err
    assert corevital("run", "-m", tiny_folder, "-p", "w5", "--max-new-tokens", "2")[0] == 0
    assert "holds no run abcdef" in corevital("show", "abcdef")[2]
    assert "No run matches" in corevital("runs", "--risk-above", "0.999")[1]


def test_an_internal_error_is_code_2(corevital: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(run_module, "load_model", broken)
    code, _, err = corevital("run", "-m", "x", "-p", "y", "--no-store")
    assert code == 2
    assert "please report it" in err


def test_version(corevital: Command) -> None:
    assert corevital("--version")[1].startswith("corevital 0.")


def test_generated_control_characters_do_not_reach_the_terminal() -> None:
    from opentelemetry_instrumentation_corevital._internal.printable import printable

    assert printable("a\x1b[31mb\x07\r\n\tc\x9b") == r"a\x1b[31mb\x07\x0d" + "\n\tc" + r"\x9b"


def test_the_setting_names_the_store_that_is_written_and_read(
    corevital: Command, tiny_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", "mine.db")
    corevital("run", "-m", tiny_folder, "-p", "w5", "--max-new-tokens", "2")
    assert Path("mine.db").exists()
    assert len(json.loads(corevital("runs", "--json")[1])) == 1


@pytest.mark.wire
@pytest.mark.parametrize("way", ["environment", "option over HTTP", "option over gRPC"])
def test_runs_are_also_sent_to_an_otlp_endpoint_without_content(
    corevital: Command, tiny_folder: str, tmp_path: Path, otelcol: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    port = free_port()
    protocol = "grpc" if "gRPC" in way else "http"
    configuration = {
        "receivers": {"otlp": {"protocols": {protocol: {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"file": {"path": str(tmp_path / "received.jsonl"), "flush_interval": "100ms"}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                name: {"receivers": ["otlp"], "exporters": ["file"]} for name in ("traces", "metrics", "logs")
            },
        },
    }
    (tmp_path / "collector.yaml").write_text(yaml.safe_dump(configuration))
    arguments = ("run", "-m", tiny_folder, "-p", "w31 w32 w33", "--max-new-tokens", "4", "--store-content")
    if way == "environment":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    else:
        arguments = (*arguments, "--otel-endpoint", f"http://127.0.0.1:{port}")
    if protocol == "http":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with process([otelcol, "--config", str(tmp_path / "collector.yaml")], tmp_path / "collector.log", {}):
        wait_until(lambda: listening(port))
        code, out, _ = corevital(*arguments)
        received = wait_until((tmp_path / "received.jsonl").read_text)
    assert code == 0
    assert f"sent to http://127.0.0.1:{port}" in out
    assert "corevital.risk.score" in received
    assert "w31" not in received, "--store-content is about the store"
    assert b"w31 w32 w33" in Path("runs/corevital.db").read_bytes()


def test_an_endpoint_that_does_not_answer_is_told_without_its_password(
    corevital: Command, tiny_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://ada:pa55word@127.0.0.1:{free_port()}/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    code, out, err = corevital("run", "-m", tiny_folder, "-p", "w5", "--max-new-tokens", "2")
    assert code == 0
    assert "could not be sent to http://***@127.0.0.1" in out
    assert "pa55word" not in out + err
    assert len(json.loads(corevital("runs", "--json")[1])) == 1
