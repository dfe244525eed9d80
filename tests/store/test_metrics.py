"""Metrics of every kind read back with SQL, and a file that does not grow with time."""

import json
import time
from pathlib import Path

import pytest
from opentelemetry import context as context_api
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from opentelemetry_instrumentation_corevital.store import SQLiteMetricExporter
from tests.support.logs_and_metrics import KEY, Metered, gauge, in_span
from tests.support.spans import rows, run_code

POINTS = "SELECT {} FROM metric_points JOIN metrics ON metrics.id = metric_id"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def test_metrics_of_every_kind_come_back(path: Path) -> None:
    exponential = View(instrument_name="spread", aggregation=ExponentialBucketHistogramAggregation())
    metered = Metered(SQLiteMetricExporter(path), views=[exponential])
    before = time.time_ns()
    meter = metered.meter
    meter.create_counter("runs", "{run}", "runs judged").add(3, {"model": "m"})
    meter.create_up_down_counter("open").add(-2)
    meter.create_gauge("risk", "1").set(0.75, {"model": "m", "level": "high"})
    histogram = meter.create_histogram("duration", "s", explicit_bucket_boundaries_advisory=[1.0, 2.0])
    spread = meter.create_histogram("spread")
    token = context_api.attach(in_span())
    for value in (0.5, 1.5, 7.0):
        histogram.record(value, {"model": "m"})
        spread.record(value)
    context_api.detach(token)
    metered.collect()
    metered.shutdown()
    columns = "name, unit, type, temporality, is_monotonic, metric_points.attributes, value, count, sum, min, max"
    assert rows(path, f"{POINTS.format(columns)} ORDER BY name") == [
        ("duration", "s", "histogram", 2, 0, '{"model":"m"}', None, 3, 9.0, 0.5, 7.0),
        ("open", "", "sum", 2, 0, "{}", -2.0, None, None, None, None),
        ("risk", "1", "gauge", 0, 0, '{"level":"high","model":"m"}', 0.75, None, None, None, None),
        ("runs", "{run}", "sum", 2, 1, '{"model":"m"}', 3.0, None, None, None, None),
        ("spread", "", "exponential_histogram", 2, 0, "{}", None, 3, 9.0, 0.5, 7.0),
    ]
    details = dict(rows(path, POINTS.format("name, detail") + " WHERE detail IS NOT NULL"))
    assert json.loads(details["duration"]) == {"explicit_bounds": [1.0, 2.0], "bucket_counts": [1, 1, 1]}
    found = json.loads(details["spread"])
    assert set(found) == {"scale", "zero_count", "positive", "negative"}
    assert sum(found["positive"]["bucket_counts"]) == 3
    assert isinstance(found["positive"]["offset"], int)
    assert rows(path, "SELECT description FROM metrics WHERE name = 'runs'") == [("runs judged",)]
    ((start_ns, time_ns),) = rows(path, POINTS.format("start_ns, time_ns") + " WHERE name = 'runs'")
    assert before <= start_ns <= time_ns <= time.time_ns()
    ((exemplars,),) = rows(path, POINTS.format("exemplars") + " WHERE name = 'duration'")
    kept = json.loads(exemplars)
    assert kept
    assert {(one["trace_id"], one["span_id"]) for one in kept} == {KEY}
    assert {one["value"] for one in kept} <= {0.5, 1.5, 7.0}
    assert rows(path, "SELECT DISTINCT service_name FROM metrics JOIN resources ON resources.id = resource_id") == [
        ("tests",)
    ]


def test_cumulative_metrics_and_gauges_do_not_grow_with_time(path: Path) -> None:
    metered = Metered(SQLiteMetricExporter(path))
    counter, level = metered.meter.create_counter("runs"), metered.meter.create_gauge("level")
    histogram = metered.meter.create_histogram("duration")

    def minute(index: int) -> None:
        counter.add(1, {"model": "m"})
        level.set(index, {"model": "m"})
        histogram.record(index)
        metered.collect()

    minute(0)
    first = dict(rows(path, POINTS.format("name, start_ns")))
    for index in range(1, 30):
        minute(index)
    metered.shutdown()
    assert rows(path, f"{POINTS.format('name, value, count')} ORDER BY name") == [
        ("duration", None, 30),
        ("level", 29.0, None),
        ("runs", 30.0, None),
    ]
    assert dict(rows(path, POINTS.format("name, start_ns"))) == first
    assert rows(path, "SELECT count(*) FROM metrics") == [(3,)]


def test_another_process_of_the_same_resource_has_points_of_its_own(path: Path) -> None:
    for amount in (1, 10):
        metered = Metered(SQLiteMetricExporter(path))
        metered.meter.create_counter("runs").add(amount)
        metered.collect()
        metered.shutdown()
    assert rows(path, POINTS.format("sum(value), count(*)")) == [(11.0, 2)]
    assert rows(path, "SELECT count(*) FROM metrics") == [(1,)]


def test_every_delta_is_kept(path: Path) -> None:
    exporter = SQLiteMetricExporter(path, preferred_temporality={Counter: AggregationTemporality.DELTA})
    metered = Metered(exporter)
    counter = metered.meter.create_counter("runs")
    for amount in (1, 2, 3):
        counter.add(amount)
        metered.collect()
    metered.shutdown()
    assert rows(path, POINTS.format("value, temporality") + " ORDER BY time_ns") == [(1.0, 1), (2.0, 1), (3.0, 1)]


def test_an_older_point_does_not_replace_a_newer_one(path: Path) -> None:
    exporter = SQLiteMetricExporter(path)
    for value, time_ns in ((2.0, 20), (4.0, 40), (3.0, 30)):
        exporter.export(gauge(value, time_ns=time_ns, b=1, a=2))
    assert exporter.force_flush()
    assert rows(path, "SELECT time_ns, value FROM metric_points") == [(40, 4.0)]
    exporter.export(gauge(5.0, time_ns=50, a=2, b=1))  # the same attributes in another order
    exporter.shutdown()
    assert rows(path, "SELECT attributes, time_ns, value FROM metric_points") == [('{"a":2,"b":1}', 50, 5.0)]


def test_numbers_that_are_none_are_absent_and_odd_metrics_are_counted(path: Path) -> None:
    exporter = SQLiteMetricExporter(path)
    assert exporter.export(gauge(float("nan"), time_ns=1, name="nan")) is MetricExportResult.SUCCESS
    assert exporter.export(gauge(2**70, time_ns=1, name="big")) is MetricExportResult.SUCCESS
    assert exporter.export(gauge(1, time_ns=2**70, name="far")) is MetricExportResult.FAILURE
    odd = gauge(1, time_ns=1)
    object.__setattr__(odd.resource_metrics[0].scope_metrics[0].metrics[0], "data", object())
    assert exporter.export(odd) is MetricExportResult.FAILURE
    assert exporter.force_flush()
    assert exporter.dropped == 2
    exporter.shutdown()
    assert exporter.export(gauge(1, time_ns=1)) is MetricExportResult.FAILURE
    assert rows(path, POINTS.format("name, value") + " ORDER BY name") == [("big", 2.0**70), ("nan", None)]


def test_the_sdk_finds_the_exporters_by_their_name(path: Path) -> None:
    code = """
        import os, sys
        os.environ |= {f"OTEL_{signal}_EXPORTER": "corevital_sqlite" for signal in ("TRACES", "LOGS", "METRICS")}
        os.environ["OTEL_COREVITAL_SQLITE_PATH"] = sys.argv[1]
        from opentelemetry import metrics, trace
        from opentelemetry._logs import LogRecord, get_logger
        from opentelemetry.sdk._configuration import _initialize_components
        _initialize_components()
        assert not os.path.exists(sys.argv[1])
        with trace.get_tracer("scope").start_as_current_span("span"):
            get_logger("scope").emit(LogRecord(body="log"))
            metrics.get_meter("scope").create_counter("metric").add(1)
    """
    found = run_code(code, str(path))
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stderr
    assert rows(path, "SELECT name FROM spans UNION ALL SELECT body FROM logs") == [("span",), ('"log"',)]
    assert ("metric",) in rows(path, "SELECT name FROM metrics")  # older SDKs measure themselves too
    assert rows(path, "SELECT spans.span_id = logs.span_id FROM spans, logs") == [(1,)]
    assert not Path(f"{path}-wal").exists(), "the file was not closed"
