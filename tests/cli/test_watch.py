"""`corevital watch`: runs of other processes while they go on, in terminals and into pipes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.cli import watching
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.command_line import Cli
from tests.support.spans import make_spans
from tests.support.step_logs import StepLogs, Telemetry
from tests.support.terminals import MAIN, ROOT, Terminal, terminal, wide

PROGRAM = Path(__file__).parent / "programs" / "steps_on_demand.py"
VERDICT = "low risk 0.25, repetition loop"


class OtherProcess:
    """A run of another process that goes on as it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.trace_id = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def step(self, count: int, *warnings: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count} {' '.join(warnings)}\n")
        self._process.stdin.flush()
        assert self._line() == "stored"

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0


@contextmanager
def other_process(db: Path, *arguments: str) -> Iterator[OtherProcess]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(PROGRAM), str(db), *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        try:
            yield OtherProcess(process)
        finally:
            if process.poll() is None:
                process.kill()


@pytest.fixture
def telemetry(cli: Cli) -> Iterator[Telemetry]:
    telemetry = Telemetry(cli.db)
    yield telemetry
    telemetry.close()


def shows(shown: Terminal, *parts: str) -> None:
    """Wait until the screen shows all of the parts."""
    shown.until(lambda: all(part in "\n".join(shown.screen) for part in parts))


# --- in a terminal ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80])
def test_a_run_is_followed_while_another_process_writes_it(cli: Cli, columns: int) -> None:
    with other_process(cli.db) as other:
        other.step(4)
        run = other.trace_id[:8]
        with terminal("watch", run, "--db", str(cli.db), "--interval", "0.05", columns=columns) as shown:
            shows(shown, "The history of the", "step 4  risk 0.06", "entropy 4.00 bit")
            assert "宇宙" not in "".join(shown.screen)
            other.step(3, "norm_jump")
            shows(shown, "宇宙", "is a", "step 7  ")
            lines = shown.screen
            assert lines.index("step 4: norm jump (risk so far 0.08)") > lines.index("The history of the 宇宙")
            other.step(8)
            shows(shown, "😀 AndThe history of", "step 15")
            other.end()
            assert shown.ended() == 0
        assert VERDICT in " ".join(shown.screen)
        assert f"run {other.trace_id[:12]} of serve" in shown.screen
        assert not [line for line in shown.screen if "entropy" in line], "the line below goes"
        assert wide(shown.screen) <= columns
        assert shown.written.rindex("\x1b[?25h") > shown.written.rindex("\x1b[?25l"), "the cursor is back"


def test_without_a_run_whatever_goes_on_is_followed_until_ctrl_c(cli: Cli) -> None:
    with terminal("watch", "--db", str(cli.db), "--interval", "0.05") as shown:
        shows(shown, "is not there yet")
        for _ in range(2):
            with other_process(cli.db) as other:
                other.step(2)
                shows(shown, f"run {other.trace_id[:12]} of serve", "The history", "step 2")
                other.end()
                shows(shown, f"run {other.trace_id[:12]}: {VERDICT}", "no run goes on; waiting")
        shown.interrupt()
        assert shown.ended() == 0
        assert "Traceback" not in shown.written
        assert shown.written.rindex("\x1b[?25h") > shown.written.rindex("\x1b[?25l")


def test_of_several_runs_the_newest_is_followed_and_the_others_are_counted(cli: Cli, telemetry: Telemetry) -> None:
    first, second = StepLogs(telemetry), StepLogs(telemetry)
    first.step(3)
    second.step(5)
    with terminal("watch", "--db", str(cli.db), "--interval", "0.05", columns=100) as shown:
        shows(shown, f"{first.trace_id[:12]}  step 3", f"{second.trace_id[:12]}  step 5")
        shows(shown, f"run {second.trace_id[:12]} of serve", "+1 run")
        first.end()
        shows(shown, f"run {first.trace_id[:12]}: {VERDICT}, 3 tokens, length")
        second.end()
        shows(shown, f"run {second.trace_id[:12]}: {VERDICT}, 5 tokens, length", "no run goes on; waiting")
        shown.interrupt()
        assert shown.ended() == 0


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=lambda each: next(iter(each)))
def test_a_terminal_that_should_not_or_cannot_draw_gets_plain_lines(cli: Cli, variables: dict[str, str]) -> None:
    with other_process(cli.db) as other:
        other.step(14)
        with terminal("watch", "last", "--db", str(cli.db), "--interval", "0.05", **variables) as shown:
            shows(shown, "😀 AndThe history")
            other.step(1, "norm_jump")
            other.end()
            assert shown.ended() == 0
    assert "\x1b" not in shown.written
    assert (
        shown.written.replace("\r\n", "\n")
        .split("\n", 1)[1]
        .startswith(
            "The history of the 宇宙 is a vast tapestry.\n😀 AndThe history of\nstep 14: norm jump (risk so far 0.28)\n"
            "step 15  risk 0.28  entropy 5.00 bit"
        )
    )


# --- into a pipe -----------------------------------------------------------------------------------------------------


def test_once_prints_what_there_is_and_ends(cli: Cli, telemetry: Telemetry) -> None:
    call = StepLogs(telemetry)
    call.step(5)
    call.step(1, warnings=["repetition_risk"])
    code, out, err = cli("watch", "--once")
    assert (code, err) == (0, "")
    assert out == f"{call.trace_id[:12]}  step 6  risk 0.10  entropy 1.00 bit  ▂▄▅▇█▂  repetition risk\n"
    for name in (call.trace_id[:6], call.span_id, "last", f"{call.trace_id}:0"):
        code, out, err = cli("watch", name, "--once")
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            f"run {call.trace_id[:12]} of serve",
            "The history of the 宇宙 is",
            "step 5: repetition risk (risk so far 0.10)",
            "step 6  risk 0.10  entropy 1.00 bit  ▂▄▅▇█▂  repetition risk",
        ]


def test_without_content_there_is_no_text_and_a_line_says_why(cli: Cli, telemetry: Telemetry) -> None:
    call = StepLogs(telemetry, content=False)
    call.step(3)
    code, out, _ = cli("watch", "last", "--once")
    assert code == 0
    assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT" in out
    assert "history" not in out
    assert "step 3  risk 0.04  entropy 3.00 bit" in out


def test_risk_that_is_not_told_is_no_zero(cli: Cli, telemetry: Telemetry) -> None:
    call = StepLogs(telemetry)
    call.step(3, risk_so_far=None)
    code, out, _ = cli("watch", "last", "--once")
    assert code == 0
    assert "capture=full tells them" in out
    assert out.splitlines()[-1] == "step 3  entropy 3.00 bit  ▃▆█"


def test_a_run_that_is_over_is_one_line(cli: Cli, telemetry: Telemetry) -> None:
    call = StepLogs(telemetry)
    call.step(2)
    call.end(**{semconv.RISK_SCORE: 0.91, semconv.RISK_LEVEL: "high"})
    line = f"run {call.trace_id[:12]}: high risk 0.91, repetition loop, 2 tokens, length"
    for name in ("last", call.trace_id[:7]):
        code, out, err = cli("watch", name)
        assert (code, err) == (0, "")
        assert out.splitlines()[-1] == line
    cli.store(make_spans())  # whose steps never came by themselves
    with open_store(cli.db) as store:
        stored = store.runs(limit=1)[0]
    code, out, err = cli("watch", "last")
    assert (code, out, err) == (0, f"run {stored.trace_id[:12]}: {VERDICT}, 40 tokens, length\n", "")
    assert cli("watch", "--once") == (0, "No run goes on.\n", "")


def test_one_of_several_sequences(cli: Cli, telemetry: Telemetry) -> None:
    call = StepLogs(telemetry, sequences=3)
    call.step(3)
    for name in (call.trace_id, f"{call.trace_id}:2"):
        _, out, _ = cli("watch", name, "--once")
        assert out.count("The history of") == 1
        assert "+2 sequences, risk up to 0.04" in out
    call.end()
    _, out, _ = cli("watch", call.trace_id)
    assert [line for line in out.splitlines() if line.endswith("3 tokens")] == [
        f"run {call.trace_id[:12]}{':' + str(index)}: low risk {index / 10:.2f}, 3 tokens" for index in range(3)
    ]
    _, out, _ = cli("watch", f"{call.trace_id}:1")
    assert out.splitlines()[-1] == f"run {call.trace_id[:12]}:1: low risk 0.10, 3 tokens"


def test_what_steers_a_terminal_comes_as_text(cli: Cli, telemetry: Telemetry) -> None:
    steering = "\x1b[2J\x1b]0;title\x07\u202e\r"
    call = StepLogs(telemetry)
    call.step(2, token_text=steering, warnings=[steering])
    _, out, _ = cli("watch", "last", "--once")
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(out)
    assert "\\x1b[2J\\x1b]0;title\\x07\\u202e\\x0d" in out


def test_a_collector_may_send_steps_out_of_order_and_twice(cli: Cli, telemetry: Telemetry) -> None:
    call = StepLogs(telemetry)
    for step in (2, 0, 1, 1, 0, 3):
        call.emit(step)
    _, out, _ = cli("watch", "last", "--once")
    assert "The history of the\n" in out


def test_steps_that_come_after_the_span_are_waited_for(
    cli: Cli, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = StepLogs(telemetry)
    call.step(2)
    call.end(**{semconv.GEN_AI_USAGE_OUTPUT_TOKENS: 4})
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            call.step(2)

    monkeypatch.setattr(watching.time, "sleep", sleep)
    code, out, _ = cli("watch", call.trace_id)
    assert code == 0
    assert "The history of the\n" in out
    assert len(waits) == 3


def test_a_run_whose_process_is_gone_is_said_to_wait(
    cli: Cli, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = StepLogs(telemetry)
    call.step(2)
    later = time.time_ns() + 95 * 10**9
    with monkeypatch.context() as patched:
        patched.setattr(watching.time, "time_ns", lambda: later)
        assert "no step for 95 s" in cli("watch", "--once")[1]
    monkeypatch.setattr(watching.time, "time_ns", lambda: later + 900 * 10**9)
    assert cli("watch", "--once") == (0, "No run goes on.\n", "")


def test_wrong_use_is_one_sentence(cli: Cli, telemetry: Telemetry) -> None:
    sets = "OTEL_COREVITAL_STEP_EVENTS=logs"
    assert cli("watch", "--once", "--db", "none.db")[:2] == (1, "")
    assert "none.db: there is no such file" in cli("watch", "last", "--db", "none.db")[2]
    cli.store(make_spans())
    for words, parts in (
        (("watch", "--once"), ("holds no step of a run that goes on", sets)),
        (("watch", "abcdef"), ("run abcdef: ", "holds neither such a run nor a step of one", sets)),
        (("watch", "abc"), ("give at least four characters",)),
        (("watch", "last:x"), ("after the colon comes the number of the sequence",)),
        (("watch", "last", "--interval", "0"), ("--interval",)),
        (("watch", "--db", "postgres://user:secret@host/db"), ("scheme postgres:",)),
    ):
        code, out, err = cli(*words)
        assert (code, out) == (1, ""), words
        assert all(part in " ".join(err.split()) for part in parts), err
        assert "secret" not in err
    first = StepLogs(telemetry)
    second = StepLogs(telemetry, parent=first.context)
    for call in (first, second):
        call.step()
    code, _, err = cli("watch", first.trace_id)
    assert code == 1
    assert f"several that go on begin so: {first.span_id}, {second.span_id}; name one" in " ".join(err.split())
    assert cli("watch", second.span_id, "--once")[0] == 0


def test_it_ends_when_nobody_reads(cli: Cli, telemetry: Telemetry) -> None:
    call = StepLogs(telemetry)
    call.step(40)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", MAIN, "watch", "last", "--db", str(cli.db), "--interval", "0.05"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"run ")
        process.stdout.close()
        for _ in range(600):
            if process.poll() is not None:
                break
            call.step()
            time.sleep(0.1)
        assert (process.poll(), process.stderr.read() if process.stderr else b"") == (0, b"")
