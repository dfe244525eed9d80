"""Everything that a store has, to compare two."""

from pathlib import Path
from typing import Any

import numpy as np
from opentelemetry import context as context_api
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.store import (
    SQLiteLogExporter,
    SQLiteMetricExporter,
    SQLiteSpanExporter,
)
from tests.support.logs_and_metrics import Metered, chunk_records, emitted, in_span, log
from tests.support.spans import make_call, make_spans, rows

TABLES = ("spans", "span_events", "span_links", "runs", "logs", "metrics", "metric_points", "run_data")


def fill(path: Path) -> None:
    """Store everything that there is."""
    spans = [*make_spans(3, double=1.0, flags=[True, False], names=["a", "b"]), *make_call(2)]
    spans[0]._links = [Link(SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(1)), {"why": "retry"})]
    spans[1]._status = Status(StatusCode.ERROR, "it failed")
    assert spans[0].context is not None
    context = in_span(spans[0].context.trace_id, spans[0].context.span_id)
    exporter = SQLiteSpanExporter(path)
    exporter.export(spans)
    data = to_npz({f"made{number}": np.random.default_rng(number).random(2**15) for number in range(3)})
    records = [log({"a": [1, 2.5, None]}, context=context, attributes={"n": 1}), log("no span")]
    logs = SQLiteLogExporter(path)
    logs.export(emitted(*records, *chunk_records(data, 100_000, context=context)))
    views = [View(instrument_name="spread", aggregation=ExponentialBucketHistogramAggregation())]
    metered = Metered(SQLiteMetricExporter(path), views=views)
    token = context_api.attach(context)
    metered.meter.create_counter("runs", "{run}", "runs judged").add(3, {"model": "m"})
    metered.meter.create_gauge("risk").set(0.5)
    for name in ("duration", "spread"):
        metered.meter.create_histogram(name).record(1.5)
    context_api.detach(token)
    metered.collect()
    metered.shutdown()
    logs.shutdown()
    exporter.shutdown()
    assert exporter.dropped == 0


def contents(path: Path, table: str) -> list[tuple[Any, ...]]:
    """Return a table's rows without row numbers and times of arrival; resources and scopes by what they say."""
    columns = [name for (name,) in rows(path, f"SELECT name FROM pragma_table_info('{table}')")]
    kept = [c for c in columns if c not in ("id", "ingested_ns", "received_ns", "digest", "resource_id", "scope_id")]
    if table == "metric_points":
        kept[kept.index("metric_id")] = "(SELECT name FROM metrics WHERE id = metric_id)"
    if "resource_id" in columns:
        kept.append("(SELECT attributes FROM resources WHERE id = resource_id)")
        kept.append("(SELECT name || version FROM scopes WHERE id = scope_id)")
    return sorted(rows(path, f"SELECT {', '.join(kept)} FROM {table}"), key=repr)
