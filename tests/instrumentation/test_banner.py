"""The line at start-up: what it says of where runs go, and who gets to see it."""

import io
import os
import sys

import pytest

from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.instrumentation import banner
from tests.support.in_memory import instrumented


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(banner, "_told", False)


def said(monkeypatch: pytest.MonkeyPatch, *, zero_code: bool = True, **options: object) -> str:
    """Return what is printed at the start-up on a terminal."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    banner.tell(load_settings(options), zero_code=zero_code)
    return sys.stderr.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"TRACES_EXPORTER": "corevital_console"}, "runs go to the console"),
        ({"TRACES_EXPORTER": "console, zipkin"}, "runs go to the console as JSON, zipkin"),
        ({"TRACES_EXPORTER": "otlp"}, "runs go to localhost:4317 (otlp)"),
        ({"TRACES_EXPORTER": "otlp_proto_http"}, "runs go to localhost:4318 (otlp)"),
        (
            {"TRACES_EXPORTER": "otlp", "EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "runs go to localhost:4318 (otlp)",
        ),
        (
            {"TRACES_EXPORTER": "otlp", "EXPORTER_OTLP_ENDPOINT": "https://me:secret@host.example:4318/key?token=1"},
            "runs go to host.example:4318 (otlp)",
        ),
        (
            {
                "TRACES_EXPORTER": "otlp,corevital_sqlite",
                "EXPORTER_OTLP_ENDPOINT": "http://other:1",
                "EXPORTER_OTLP_TRACES_ENDPOINT": "localhost:2",
                "COREVITAL_SQLITE_PATH": "runs/a.db",
            },
            "runs go to localhost:2 (otlp), runs/a.db",
        ),
        ({"TRACES_EXPORTER": "none"}, "runs go nowhere, since OTEL_TRACES_EXPORTER=none"),
        ({}, "runs go to the tracer provider that the program sets, if it does"),
        ({"SDK_DISABLED": "True", "TRACES_EXPORTER": "otlp"}, "runs go nowhere, since OTEL_SDK_DISABLED=true"),
        ({"CONFIG_FILE": "otel.yaml", "TRACES_EXPORTER": "otlp"}, "runs go where otel.yaml says"),
    ],
)
def test_it_says_where_runs_go(variables: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OTEL_{name}", value)
    assert said(monkeypatch) == f"CoreVital is on (summary): {where}\n"


def test_the_default_store_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "corevital_sqlite")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert said(monkeypatch).endswith(": runs go to ~/.local/share/corevital/corevital.db\n")


def test_it_says_how_much_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    line = said(monkeypatch, capture="full", capture_message_content="span_only")
    assert line.startswith("CoreVital is on (full, with content): ")


def test_it_comes_once_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch) != ""
    assert said(monkeypatch) == ""


@pytest.mark.parametrize(
    ("mode", "zero_code", "terminal", "wanted"),
    [
        ("auto", True, True, True),
        ("auto", True, False, False),
        ("auto", False, True, False),
        ("on", False, False, True),
        ("off", True, True, False),
    ],
)
def test_who_gets_it(mode: str, zero_code: bool, terminal: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    banner.tell(load_settings({"banner": mode}), zero_code=zero_code)
    assert bool(out.getvalue()) is wanted


@pytest.mark.parametrize(
    "arguments",
    [
        ["python", "-c", "from multiprocessing.resource_tracker import main;main(6)"],
        ["python", "-c", "from multiprocessing.spawn import spawn_main", "--multiprocessing-fork"],
        ["python", "/site-packages/torch/_inductor/compile_worker/__main__.py", "--workers=2"],
    ],
)
def test_helpers_of_the_program_say_nothing(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", arguments)
    assert said(monkeypatch, banner="on") == ""


def test_a_program_that_instruments_itself_gets_it_where_it_asks(capsys: pytest.CaptureFixture[str]) -> None:
    with instrumented():
        pass
    assert capsys.readouterr().err == ""
    with instrumented(banner="on"):
        pass
    assert capsys.readouterr().err == "CoreVital is on (summary): runs go to this program's tracer provider\n"


def test_yaml_says_on_and_off_as_booleans() -> None:
    assert [load_settings({"banner": value}).banner for value in (True, False, "OFF")] == ["on", "off", "off"]


def test_standard_error_that_is_gone_or_closed_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed = Terminal()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        banner.tell(load_settings({"banner": "on"}), zero_code=True)
        banner.tell(load_settings({}), zero_code=True)
    assert caplog.messages == []
