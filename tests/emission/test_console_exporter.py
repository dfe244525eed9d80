"""Runs on the console: what is printed of which spans, where, and that nothing comes out of `export()`."""

import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console

from opentelemetry_instrumentation_corevital import ConsoleRunExporter, config, semconv
from opentelemetry_instrumentation_corevital.presentation.panel import verdict_panel
from opentelemetry_instrumentation_corevital.store.span_run import run_of_span
from tests.support.in_memory import instrumented
from tests.support.spans import make_call, make_spans
from tests.support.terminals import drawn, standard_output_in_a_terminal, wide
from tests.support.tiny_models import prompt, tiny_model

HIGH = {
    semconv.RISK_SCORE: 0.9,
    semconv.RISK_LEVEL: "high",
    semconv.ENTROPY_MEAN: 1.33,
    semconv.NARRATIVE: "The run generated 40 tokens. From step 12 on it repeated itself, 8.9 copies by the end.",
}
SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


def printed(spans: list[ReadableSpan], style: Any = None) -> str:
    out = io.StringIO()
    assert ConsoleRunExporter(style, out=out).export(spans) is SUCCESS
    return out.getvalue()


def on_terminal(spans: list[ReadableSpan], monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> str:
    with standard_output_in_a_terminal(columns, monkeypatch) as written:
        assert ConsoleRunExporter().export(spans) is SUCCESS
    return written.decode()


def name_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"[:12]


# --- what a run looks like ---------------------------------------------------------------------------------------


def test_a_pipe_gets_one_plain_line_of_each_run() -> None:
    spans = make_spans(2, **HIGH)
    first, second = printed(spans).splitlines()
    assert first == f"run {name_of(spans[0])}: high risk 0.90, repetition loop, 40 tokens, length, org/model"
    assert second.startswith(f"run {name_of(spans[1])}: ")


def test_a_terminal_gets_three_coloured_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = make_spans(**HIGH)
    written = on_terminal(spans, monkeypatch)
    assert re.search(r"\x1b\[1;31m", written), "a high risk is bold red"
    assert drawn(written, 80) == [
        "high risk 0.90: repetition loop, repetition risk  40 tokens, length  model",
        "  From step 12 on it repeated itself, 8.9 copies by the end.",
        f"  entropy ▄█▂  mean 1.33 bit  run {name_of(spans[0])}",
        "",
    ]


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_three_lines_fit_whatever_the_width_and_the_names(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {
        semconv.GEN_AI_REQUEST_MODEL: "模型" * 60,
        semconv.NARRATIVE: "It ended. " + "宇宙の歴史 " * 100,
        semconv.SERIES_ENTROPY: [float(step % 7) for step in range(256)],
        semconv.WARNINGS: ["entropy_rising", "context_loss", "\x1b[2Jforeign"],
    }
    written = on_terminal(make_spans(2, **{**HIGH, **long}), monkeypatch, columns)
    assert "\x1b[2J" not in written
    lines = drawn(written, columns)
    assert len(lines) == 2 * 3 + 1
    assert wide(lines) <= columns
    assert all("run " in line for line in lines[2::3])


def test_the_panel_is_that_of_the_command() -> None:
    spans = make_spans(**HIGH)
    panel, name = printed(spans, "panel").rstrip("\n").rsplit("\n", 1)
    console = Console(width=80, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(verdict_panel(dict(spans[0].attributes or {})))
    assert panel == capture.get().rstrip("\n")
    assert name == f"run {name_of(spans[0])}"


def test_json_is_a_line_with_the_columns_of_the_list() -> None:
    spans = make_spans(2, **HIGH)
    for span, line in zip(spans, printed(spans, "json").splitlines(), strict=True):
        run = run_of_span(span)
        assert run is not None
        assert json.loads(line) == json.loads(json.dumps(run.summary.as_dict()))
        assert json.loads(line)["repetition_loop_detected"] is True


def test_what_was_not_measured_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = {semconv.STEPS_RECORDED: 0, semconv.GEN_AI_OPERATION_NAME: "chat", semconv.ERROR_TYPE: "ValueError"}
    spans = span_with(bare)
    assert printed(spans) == f"run {name_of(spans[0])}: risk not judged, ValueError\n"
    assert drawn(on_terminal(spans, monkeypatch), 80) == [
        "risk not judged  ValueError",
        "  no narrative",
        f"  entropy not measured  run {name_of(spans[0])}",
        "",
    ]


def span_with(attributes: dict[str, Any]) -> list[ReadableSpan]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("scope").start_span("span", attributes=attributes).end()
    return list(exporter.get_finished_spans())


# --- which spans -------------------------------------------------------------------------------------------------


def test_each_sequence_of_a_call_has_an_entry_and_the_call_has_none() -> None:
    spans = make_call(3)
    assert [line.partition(": ")[0] for line in printed(spans).splitlines()] == [
        f"run {name_of(spans[0])}:{index}" for index in range(3)
    ]


def test_real_calls_are_printed_and_spans_of_others_are_not() -> None:
    out = io.StringIO()
    with instrumented() as telemetry:
        telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(ConsoleRunExporter(out=out)))
        model = tiny_model()
        with telemetry.tracer_provider.get_tracer("program").start_as_current_span("request"):
            model.generate(prompt(), max_new_tokens=4, do_sample=False)
            model.generate(prompt(), max_new_tokens=4, do_sample=True, num_return_sequences=2)
    one, *sequences = out.getvalue().splitlines()
    below = next(each for each in telemetry.spans if semconv.STEPS_RECORDED in (each.attributes or {}))
    assert below.context is not None
    assert one.startswith(f"run {below.context.span_id:016x}"[:16]), "its trace holds another call"
    assert [line.partition(",")[0].rpartition(":")[0][-2:] for line in sequences] == [":0", ":1"]
    assert out.getvalue().count("4 tokens") == 3


def test_nothing_is_printed_after_the_shutdown() -> None:
    out = io.StringIO()
    exporter = ConsoleRunExporter(out=out)
    assert exporter.force_flush()
    exporter.shutdown()
    assert exporter.export(make_spans()) is FAILURE
    assert out.getvalue() == ""


# --- where it cannot be printed ----------------------------------------------------------------------------------


class Broken(io.StringIO):
    """Standard output that nobody reads, or anything else that fails."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed"), RuntimeError("no"), OSError(28, "full")])
def test_export_never_raises(error: Exception) -> None:
    exporter = ConsoleRunExporter(out=Broken(error))
    assert [exporter.export(make_spans()) for _ in range(2)] == [FAILURE, FAILURE]


def test_closed_and_missing_standard_output_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for out in (closed, None):
        monkeypatch.setattr(sys, "stdout", out)
        assert ConsoleRunExporter().export(make_spans()) is FAILURE


def test_an_encoding_without_bars_still_shows_the_verdict() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    assert ConsoleRunExporter("panel", out=out).export(make_spans(**HIGH)) is SUCCESS
    text = raw.getvalue().decode("ascii")
    assert "high risk 0.90" in text
    assert text.startswith("+-"), "the box is ASCII"


def test_one_span_that_cannot_be_shown_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    bad, good = make_spans(2)
    bad._context = None
    out = io.StringIO()
    exporter = ConsoleRunExporter(out=out)
    with caplog.at_level(logging.WARNING):
        assert [exporter.export([bad, good]) for _ in range(2)] == [FAILURE, FAILURE]
    assert out.getvalue().count(name_of(good)) == 2
    (told,) = [record.getMessage() for record in caplog.records]
    assert "could not be printed (ValueError)" in told


# --- the option --------------------------------------------------------------------------------------------------


@contextmanager
def variable(value: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    config._warned_of.clear()
    with monkeypatch.context() as patched:
        patched.setenv("OTEL_COREVITAL_CONSOLE", value)
        yield
    config._warned_of.clear()


def first_of(exporter: ConsoleRunExporter, out: io.StringIO) -> str:
    out.seek(0)
    out.truncate()
    assert exporter.export(make_spans()) is SUCCESS
    return out.getvalue()[0]


def test_the_variable_and_before_it_the_keyword_say_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    exporter = ConsoleRunExporter(out=out)
    with variable("JSON", monkeypatch):
        assert first_of(exporter, out) == "{"
        with instrumented(console="panel"):
            assert first_of(exporter, out) == "╭"
        assert first_of(ConsoleRunExporter("compact", out=out), out) == "r"


def test_an_unknown_value_is_told_once_and_taken_for_the_default(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = io.StringIO()
    with variable("short", monkeypatch), caplog.at_level(logging.WARNING):
        assert first_of(ConsoleRunExporter(out=out), out) == "r"
        with instrumented():  # nor is it a reason to leave CoreVital off
            assert first_of(ConsoleRunExporter(out=out), out) == "r"
    assert [record.getMessage() for record in caplog.records] == [
        "CoreVital: OTEL_COREVITAL_CONSOLE='short' is none of compact, panel, json; it is taken for compact"
    ]


def test_a_batch_processor_can_be_made_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What README's line relies on."""
    out = io.StringIO()
    provider = TracerProvider(shutdown_on_exit=False)
    with monkeypatch.context() as patched:
        patched.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        provider.add_span_processor(BatchSpanProcessor(ConsoleRunExporter(out=out)))
    provider.get_tracer("scope").start_span("span", attributes={semconv.STEPS_TOTAL: 1}).end()
    end = time.monotonic() + 4  # the default is 5 s
    while not out.getvalue() and time.monotonic() < end:
        time.sleep(0.02)
    assert out.getvalue().startswith("run ")
    provider.shutdown()
