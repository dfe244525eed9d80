"""What is logged of an exception: types and places; its message only where message content is captured."""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import opentelemetry_instrumentation_corevital
from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from opentelemetry_instrumentation_corevital._internal import safety
from opentelemetry_instrumentation_corevital._internal.error_text import allow_messages, describe
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from opentelemetry_instrumentation_corevital.store.writer import StoreWriter
from tests.support.in_memory import Telemetry, instrumented
from tests.support.spans import make_spans
from tests.support.tiny_models import prompt, tiny_model

SECRET = "the whole prompt"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    allow_messages(False)


class Broken:
    """A judgement whose errors quote what it saw, twice over."""

    role = "broken"

    def on_run_ending(self, _span: Any, _run: Any) -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(f"cannot judge {SECRET}") from error


def everything_of(record: logging.LogRecord) -> str:
    """Return what a handler could export of a record."""
    return f"{record.getMessage()} {vars(record)} {record.exc_info and record.exc_info[1]!r}"


def test_no_message_is_logged_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=safety.logger.name)
    with instrumented(Telemetry(), judgements=[Broken()]):
        tiny_model().generate(prompt(), max_new_tokens=3, do_sample=False)
    records = [record for record in caplog.records if record.name.startswith(safety.logger.name)]
    assert [record.levelname for record in records] == ["WARNING", "DEBUG"]
    assert SECRET not in " ".join(map(everything_of, records))
    assert "ValueError at test_error_text.py:" in records[1].getMessage()
    assert "in Broken.on_run_ending" in records[1].getMessage()
    assert "caused by KeyError at test_error_text.py:" in records[1].getMessage()


def test_messages_are_logged_where_content_is_captured(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=safety.logger.name)
    with instrumented(Telemetry(), judgements=[Broken()], capture_message_content="span_only"):
        tiny_model().generate(prompt(), max_new_tokens=3, do_sample=False)
    assert f"ValueError: cannot judge {SECRET}" in caplog.records[-1].getMessage()
    caplog.clear()
    with instrumented(Telemetry(), judgements=[Broken()]):
        tiny_model().generate(prompt(), max_new_tokens=3, do_sample=False)
    assert SECRET not in " ".join(map(everything_of, caplog.records)), "content is off again"


def test_an_instrument_that_is_refused_allows_no_messages() -> None:
    with pytest.raises(TypeError, match="judgements"):
        CoreVitalInstrumentor().instrument(judgements=[object()], capture_message_content="span_only")
    assert SECRET not in describe(ValueError(SECRET))


def test_the_store_logs_no_message_either(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(SECRET)

    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(StoreWriter, "_transaction", fail)
    exporter = SQLiteSpanExporter(tmp_path / "x.db")
    exporter.export(make_spans(1))
    exporter.shutdown()
    assert "RuntimeError" in caplog.text
    assert SECRET not in " ".join(map(everything_of, caplog.records))


def test_every_exception_of_a_chain_is_named_once() -> None:
    first, second = ValueError(SECRET), TypeError(SECRET)
    first.__cause__, second.__cause__ = second, first
    assert describe(first) == "ValueError at an unknown place, caused by TypeError at an unknown place"


def test_nothing_of_ours_logs_an_exception_by_itself() -> None:
    """`logger.exception` and `exc_info` hand the message to every handler: `describe` is the one way."""
    folder = Path(opentelemetry_instrumentation_corevital.__file__).parent
    found = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr == "exception" or any(each.arg == "exc_info" for each in node.keywords):
                found.append(f"{path.relative_to(folder)}:{node.lineno}")
    assert found == []
