"""`--traces_exporter corevital_console` under `opentelemetry-instrument`: what a person sees, and when."""

from pathlib import Path

from tests.support.otlp_receivers import http_receiver
from tests.support.subprocesses import exporting, run, script
from tests.support.terminals import terminal, wide
from tests.support.zero_code_programs import program

START = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"


def test_a_pipe_gets_a_line_of_each_run_and_nothing_else() -> None:
    found = run([*exporting("corevital_console"), *program("tiny")])
    lines = found.stdout.splitlines()
    assert [line.startswith("run ") for line in lines if not line.startswith("tokens ")] == [True, True]
    assert len(lines) == 3
    assert "\x1b" not in found.stdout
    assert found.stderr == "", "neither a banner nor a warning"


def test_a_terminal_gets_the_banner_once_and_three_lines_of_each_run() -> None:
    """Also in a program that forks."""
    command = [*exporting("corevital_console"), *program("forks")]
    with terminal(script("opentelemetry-instrument"), *command[1:], code=START) as shown:
        assert shown.ended() == 0
    first, *lines = [line for line in shown.screen if line]
    assert first == "CoreVital is on (summary): runs go to the console"
    assert sum("CoreVital is on" in line for line in lines) == 0
    assert [line[:10] for line in lines] == ["low risk 0", "  Entropy ", "  entropy "] * 2
    assert wide(lines) <= 80


def test_readmes_line_is_prompt() -> None:
    """The run is printed while the program still goes on, long before the batch processor's usual 5 seconds."""
    found = run([*exporting("corevital_console"), "--bsp_schedule_delay=200", *program("waits_for_its_verdict")])
    assert found.stdout == "seen\n"


def test_everything_on_starts_without_a_warning(tmp_path: Path) -> None:
    both, database = "otlp,corevital_sqlite", tmp_path / "runs.db"
    with http_receiver() as received:
        found = run(
            [*exporting(f"{both},corevital_console", both, both), *program("tiny")],
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            OTEL_COREVITAL_SQLITE_PATH=str(database),
            OTEL_COREVITAL_BANNER="on",
        )
    where = f"{received.endpoint.partition('//')[2]} (otlp), {database}, the console"
    assert found.stderr == f"CoreVital is on (summary): runs go to {where}\n"
    assert found.stdout.count("low risk") == 2
