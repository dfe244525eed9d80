"""Every example of docs/store.md and of the commands' own help, run over a store with runs and a baseline in it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.baselines.learned_files import to_bytes
from opentelemetry_instrumentation_corevital.cli.app import app, run_command
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter, open_store
from tests.support.in_memory import instrumented
from tests.support.legacy_reports import report, write_database, write_file
from tests.support.spans import make_spans
from tests.support.taught_baselines import added, taught
from tests.support.tiny_models import prompt, sharpen, tiny_model

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "store.md"
README = ROOT / "README.md"
ENDLESS = ("calibrate", "doctor", "collect", "watch", "dashboard", "cost")
"""Commands that generate, look at the environment, or never end."""
JUDGEMENT = ROOT / "docs" / "judgement.md"


def commands(group: Any = None, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every command's name and help."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command.help or ""


def blocks(language: str, page: Path = PAGE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("OTEL_COREVITAL_SQLITE_PATH", raising=False)
    spans, logs = SQLiteSpanExporter("runs/corevital.db"), SQLiteLogExporter("runs/corevital.db")
    spans.export(make_spans(3))
    spans.export(make_spans(2, **{semconv.GEN_AI_REQUEST_MODEL: "org/other", semconv.RISK_SCORE: 0.8}))
    with instrumented(capture="full") as telemetry:  # the newest, with run data
        sharpen(tiny_model()).generate(prompt(), max_new_tokens=12, do_sample=False, eos_token_id=None)
        spans.export(telemetry.spans)
        logs.export(telemetry.log_exporter.get_finished_logs())
    spans.shutdown()
    logs.shutdown()
    with open_store("runs/corevital.db") as store:
        for run, outcome in zip(store.runs(model="org/other"), ("correct", "incorrect"), strict=True):
            store.set_label(run, outcome)
    (tmp_path / "old-runs").mkdir()
    write_file(tmp_path / "old-runs", report())
    (tmp_path / "labels.csv").write_text("id,outcome\nlast,correct\n")
    baseline = to_bytes(added(taught(*range(3))))
    for name in ("a.baseline", "b.baseline"):
        (tmp_path / name).write_bytes(baseline)
    write_database(tmp_path / "old-runs" / "old.db", report("bbbbbbbb-0000-4000-8000-000000000002", version="0.3.0"))
    return tmp_path


def test_every_command_of_the_page_does_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) > 25
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "corevital"
        assert run_command(arguments) == 0, (line, capsys.readouterr().err)
        out, _ = capsys.readouterr()
        assert out.strip() or "--out" in line, line
    for made in ("run.html", "report.json", "reports", "telemetry.json", "runs.parquet", "copy.db"):
        assert (folder / made).exists(), made


def test_the_commands_of_the_readme_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("sh", README) for line in block.splitlines()]
    # Those generate, look at the environment, need a server, or never end.
    reading = [line for line in lines if re.match(rf"corevital (?!run |push |{'|'.join(ENDLESS)})", line)]
    assert len(reading) >= 8
    for line in reading:
        assert run_command(shlex.split(line, comments=True)[1:]) == 0, (line, capsys.readouterr().err)


def test_the_commands_about_baselines_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("sh", JUDGEMENT) for line in block.splitlines()]
    about = [line for line in lines if line.startswith("corevital baseline ")]
    assert len(about) == 5
    for line in about:
        assert run_command(shlex.split(line, comments=True)[1:]) == 0, (line, capsys.readouterr().err)
        assert "org/model" in capsys.readouterr().out or " reset " in line, line
    assert (folder / "both.baseline").exists()


def test_the_pages_have_an_example_of_every_command() -> None:
    pages = (README, *sorted((ROOT / "docs").glob("*.md")))
    text = "".join(page.read_text(encoding="utf-8") for page in pages if page.name != "api.md")
    for name, _ in commands():
        assert f"corevital {name}" in text, name


def test_every_help_has_an_example_that_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store("runs/corevital.db") as store:
        some = store.runs(limit=None)[-1].trace_id[:12]
    assert run_command(["export", "--format", "otlp", "--out", "telemetry.json"]) == 0
    for name, text in commands():
        found = re.search(r"Example: corevital (.+)", " ".join(text.split()))
        assert found, f"corevital {name} --help has no example"
        if name in ("run", *ENDLESS) or "--prompt" in found[1].split():
            continue  # test_run.py, test_calibrate.py, tests/doctor/; never ending: test_watch.py, tests/receiver/
        arguments = shlex.split(found[1].replace("0682cfe782b5", some))
        assert run_command(arguments) == 0, (found[1], capsys.readouterr().err)


def test_the_python_of_the_page_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(compile(code, str(PAGE), "exec"), {})
    out = capsys.readouterr().out
    assert "org/other    0.8" in out
    assert "entropy" in out
