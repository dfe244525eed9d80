"""Log records come back as they were exported."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult, SimpleLogRecordProcessor

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter
from tests.support.logs_and_metrics import KEY, emitted, in_span, log
from tests.support.spans import rows
from tests.support.tiers import heavy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def exporter(path: Path) -> Iterator[SQLiteLogExporter]:
    exporter = SQLiteLogExporter(path)
    yield exporter
    exporter.shutdown()


def test_a_log_record_comes_back_as_it_was_exported(path: Path, exporter: SQLiteLogExporter) -> None:
    verdict = log(
        None,
        context=in_span(),
        event_name=semconv.EVALUATION_EVENT,
        attributes={semconv.EVALUATION_SCORE: 0.5, "raw": b"\x00\xff", "list": [1, 2]},
    )
    assert exporter.export(emitted(log("plain"), verdict)) is LogRecordExportResult.SUCCESS
    assert exporter.force_flush()
    columns = "time_ns, observed_ns, severity_number, severity_text, event_name, body, trace_id, span_id, flags"
    assert rows(path, f"SELECT {columns} FROM logs ORDER BY id") == [
        (1000, 2000, 13, "WARN", None, '"plain"', None, None, 0),
        (1000, 2000, 13, "WARN", semconv.EVALUATION_EVENT, None, *KEY, 1),
    ]
    ((attributes,),) = rows(path, "SELECT attributes FROM logs WHERE event_name IS NOT NULL")
    assert json.loads(attributes) == {semconv.EVALUATION_SCORE: 0.5, "raw": "AP8=", "list": [1, 2]}
    assert rows(
        path,
        "SELECT DISTINCT service_name, name, version FROM logs "
        "JOIN resources ON resources.id = resource_id JOIN scopes ON scopes.id = scope_id",
    ) == [("tests", "scope", "1.2")]
    assert rows(path, "SELECT count(*) FROM resources UNION ALL SELECT count(*) FROM scopes") == [(1,), (1,)]


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ("cut \ud83d", "cut ?"),
        ("", ""),
        (b"\x00\xff", "AP8="),
        (True, True),
        (7, 7),
        (2**80, str(2**80)),  # no carrier has a number for it
        ([1, "two", [b"\x00"]], [1, "two", ["AA=="]]),
        ({"a": {"b": [1.5]}, "none": None}, {"a": {"b": [1.5]}}),
        (float("nan"), "nan"),
        (ValueError("wrong"), "wrong"),
    ],
)
def test_a_body_of_any_kind_is_json(path: Path, exporter: SQLiteLogExporter, body: Any, stored: Any) -> None:
    exporter.export(emitted(log(body)))
    assert exporter.force_flush()
    assert exporter.dropped == 0
    assert [json.loads(text) for (text,) in rows(path, "SELECT body FROM logs")] == [stored]


def test_what_cannot_be_stored_does_not_take_others_along(path: Path, exporter: SQLiteLogExporter) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError

    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    far = log("far")
    far.timestamp = 2**70
    batch = emitted(log("first"), log(Unprintable()), log(deep), far, log("last"))
    assert exporter.export([*batch, object()]) is LogRecordExportResult.FAILURE  # type: ignore[list-item]
    assert exporter.force_flush()
    assert rows(path, "SELECT body FROM logs ORDER BY id") == [('"first"',), ('"last"',)]
    assert exporter.dropped == 4


@pytest.mark.parametrize("processor", [heavy(SimpleLogRecordProcessor), BatchLogRecordProcessor])
def test_the_stores_own_warnings_do_not_go_round_for_ever(tmp_path: Path, processor: Any) -> None:
    """In a program whose log is stored they come back as records, which are lost too."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            provider.get_logger(record.name).emit(log(record.getMessage()))

    path = tmp_path / "runs.db"
    path.write_text("not a database, and long enough to be read as a header of one " * 20)
    exporter = SQLiteLogExporter(path)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor(exporter))
    handler, root = Handler(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        root.info("hello")
        provider.force_flush()
        exporter.force_flush()
        first = exporter.dropped
        provider.force_flush()
        exporter.force_flush()
        root.info("hello again")
        provider.force_flush()
        exporter.force_flush()
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        provider.shutdown()
    assert 1 <= first <= 3
    assert exporter.dropped <= first + 2
    assert "not an SQLite database" in str(exporter.last_error)
