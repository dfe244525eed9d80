"""Standard streams that are not UTF-8, full, closed or half read: the work is done, and the exit code is its own."""

import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.command_line import Cli
from tests.support.spans import make_spans

TEXT = "Größe → 零 😀 \udcff"
MAIN = "from opentelemetry_instrumentation_corevital.cli import main; main()"
READING = (
    ("runs",),
    ("runs", "--csv"),
    ("runs", "--json"),
    ("show", "last"),
    ("show", "last", "--steps"),
    ("show", "last", "--layers"),
    ("show", "last", "--csv"),
    ("show", "last", "--json"),
    ("compare",),
    ("compare", "last", "last"),
    ("export", "last", "--pretty"),
    ("export", "--format", "otlp"),
    ("export", "--format", "csv"),
    ("db", "stats"),
    ("db", "check"),
    ("label", "last", "--outcome", "correct"),
    ("db", "prune", "--days", "99999"),
    ("--help",),
    ("run", "--help"),
    ("--version",),
)
BY_NAME = pytest.mark.parametrize("words", READING, ids=" ".join)


@pytest.fixture
def filled(cli: Cli) -> Cli:
    messages = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": TEXT}]}])
    cli.store(make_spans(40, **{semconv.GEN_AI_OUTPUT_MESSAGES: messages, semconv.NARRATIVE: "Größe → 零 😀"}))
    return cli


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """Return standard error without the line that names the store."""
    lines = capsys.readouterr().err.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("read from "))


def run_into(stream: io.TextIOWrapper, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        return run_command(list(words))


@pytest.fixture
def unread() -> Iterator[io.TextIOWrapper]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield stream


@BY_NAME
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_an_encoding_that_lacks_characters(
    words: tuple[str, ...],
    encoding: str,
    filled: Cli,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding)
    assert run_into(stream, words, monkeypatch) == 0
    assert told(capsys) == ""
    text = written.getvalue().decode(encoding)
    assert text
    if "--json" in words or (words[0] == "export" and "csv" not in words):  # JSON has escapes: nothing is lost
        for line in [text] if words[-1] != "otlp" else text.splitlines():
            json.loads(line)
        if words[-1] != "otlp":
            assert "Größe → 零 😀" in json.dumps(json.loads(text), ensure_ascii=False)
    elif words == ("show", "last"):
        assert ("Größe" in text) is (encoding != "ascii")
        assert "Gr??e" in text or encoding != "ascii"


@BY_NAME
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_one_sentence_and_1(
    words: tuple[str, ...], filled: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        code = run_into(full, words, monkeypatch)
    assert (code, told(capsys)) == (
        1,
        "Error: standard output: cannot be written (No space left on device).\n",
    )


@BY_NAME
def test_a_reader_that_is_gone_is_no_error(
    words: tuple[str, ...],
    filled: Cli,
    unread: io.TextIOWrapper,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_into(unread, words, monkeypatch) == 0
    assert told(capsys) == ""


def test_an_export_stops_when_nobody_reads(
    filled: Cli, unread: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry_instrumentation_corevital.cli import report_export

    made: list[str] = []
    text_of = report_export.report_text
    monkeypatch.setattr(
        report_export, "report_text", lambda *args, **options: made.append("") or text_of(*args, **options)
    )
    unread.reconfigure(line_buffering=True)
    assert run_into(unread, ("export",), monkeypatch) == 0
    assert 1 <= len(made) <= 2, "of 40"


def test_the_code_of_a_run_stays(
    cli: Cli, tiny_folder: str, unread: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", "-m", tiny_folder, "-p", "w5", "--max-new-tokens", "5", "--fail-above", "0.0001")
    assert run_into(unread, run, monkeypatch) == 3
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w", encoding="utf-8") as full:
            assert run_into(full, run, monkeypatch) == 3
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert run_into(ascii_only, run, monkeypatch) == 3
    with open_store(cli.db) as store:
        assert len(store.runs()) >= 2, "the run was stored"


def test_the_code_of_a_damaged_store_stays(
    filled: Cli, unread: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    with sqlite3.connect(filled.db) as connection:
        connection.execute("UPDATE runs SET label = 'stray'")
    connection.close()
    assert run_into(unread, ("db", "check"), monkeypatch) == 4


def shell(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(MAIN)}"
    return subprocess.run(
        ["bash", "-c", f'corevital() {{ {command} "$@"; }}; set -o pipefail; {script}'],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("script", "code", "out"),
    [
        ("corevital show last | head -1 | wc -l", 0, "1\n"),
        ("corevital show nope --json 2>&-", 1, ""),
        ("corevital show nope 2>/dev/full >&-", 1, ""),
        ("corevital run -m none -p - <&- 2>&-", 1, ""),
    ],
)
def test_real_processes(script: str, code: int, out: str, filled: Cli) -> None:
    done = shell(script)
    assert (done.returncode, done.stdout) == (code, out), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "internal error" not in done.stderr


def test_a_file_never_gets_the_number_of_a_closed_stream(filled: Cli) -> None:
    done = shell("corevital show last --html page.html 0<&- 1>&- 2>&-; corevital db check")
    assert done.returncode == 0, done.stderr
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!")


def test_the_c_locale(filled: Cli) -> None:
    done = shell("corevital show last", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Gr??e" in done.stdout


def test_a_prompt_from_standard_input_is_utf_8(cli: Cli, tiny_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ("run", "-m", tiny_folder, "--prompt", "-", "--max-new-tokens", "2", "--no-store")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("w5 größe\r\n".encode()), encoding="ascii"))
    assert cli(*run)[0] == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"w5 \xff"), encoding="latin-1"))
    code, _, err = cli(*run)
    assert (code, err) == (1, "Error: standard input: cannot be read: it is not UTF-8 at byte 3.\n")
