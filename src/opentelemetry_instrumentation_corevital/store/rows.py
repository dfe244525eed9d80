"""Spans as rows of the store. Pure functions; the tuples of column names are shared by the writer and the tests."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import format_span_id, format_trace_id

from .. import semconv

RESOURCE_COLUMNS: Final = ("digest", "service_name", "attributes", "schema_url")
SCOPE_COLUMNS: Final = ("digest", "name", "version", "attributes", "schema_url")
SPAN_COLUMNS: Final = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "name",
    "kind",
    "start_ns",
    "end_ns",
    "status_code",
    "status_message",
    "attributes",
    "dropped_attributes",
    "dropped_events",
    "dropped_links",
)
EVENT_COLUMNS: Final = ("trace_id", "span_id", "seq", "time_ns", "name", "attributes")
LINK_COLUMNS: Final = ("trace_id", "span_id", "seq", "linked_trace_id", "linked_span_id", "trace_state", "attributes")
RUN_COLUMNS: Final = (
    "trace_id",
    "span_id",
    "sequence_index",
    "start_ns",
    "end_ns",
    "service_name",
    "model",
    "strategy",
    "risk_score",
    "risk_level",
    "nan_detected",
    "inf_detected",
    "repetition_loop_detected",
    "high_entropy_steps",
    "failure_risk",
    "warnings",
    "prompt_hash",
    "prompt_hash_source",
    "input_tokens",
    "output_tokens",
    "finish_reason",
    "error_type",
    "narrative",
)

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SpanRows:
    """Everything that the store keeps of one span."""

    resource: Row
    scope: Row
    span: Row
    events: tuple[Row, ...]
    links: tuple[Row, ...]
    run: Row | None
    bytes: int
    """About how much memory the rows take."""


def span_rows(span: ReadableSpan) -> SpanRows:
    """Return a finished span's rows."""
    context = span.get_span_context()
    if context is None:
        raise ValueError("a span without a context cannot be stored")
    trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
    attributes = dict(span.attributes or {})
    resource = _resource_row(span.resource)
    start_ns, end_ns = span.start_time or 0, span.end_time or span.start_time or 0
    row = (
        trace_id,
        span_id,
        format_span_id(span.parent.span_id) if span.parent is not None else None,
        context.trace_state.to_header() if context.trace_state else "",
        span.name,
        span.kind.value + 1,
        start_ns,
        end_ns,
        span.status.status_code.value,
        span.status.description or "",
        to_json(attributes),
        span.dropped_attributes,
        span.dropped_events,
        span.dropped_links,
    )
    events = tuple(
        (trace_id, span_id, seq, event.timestamp, event.name, to_json(event.attributes))
        for seq, event in enumerate(span.events)
    )
    links = tuple(
        (
            trace_id,
            span_id,
            seq,
            format_trace_id(link.context.trace_id),
            format_span_id(link.context.span_id),
            link.context.trace_state.to_header() if link.context.trace_state else "",
            to_json(link.attributes),
        )
        for seq, link in enumerate(span.links)
    )
    run = None
    if semconv.STEPS_TOTAL in attributes:
        run = _run_row(trace_id, span_id, start_ns, end_ns, resource[1], attributes)
    size = 2048 + len(row[10]) + sum(200 + len(event[5]) for event in events) + 300 * len(links)
    return SpanRows(resource, _scope_row(span.instrumentation_scope), row, events, links, run, size)


def to_json(attributes: Mapping[str, Any] | None) -> str:
    """Return attributes as compact JSON; bytes become base64 text and a number that is not finite is left out."""
    return json.dumps(_plain(attributes or {}), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = ((str(key), _plain(item)) for key, item in value.items())
        return {key: item for key, item in items if item is not None}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool | int) or value is None:
        return value
    return [_plain(item) for item in value]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _resource_row(resource: Resource) -> Row:
    attributes = to_json(resource.attributes)
    name = str(resource.attributes.get("service.name", ""))
    return (_digest(attributes, resource.schema_url), name, attributes, resource.schema_url)


def _scope_row(scope: InstrumentationScope | None) -> Row:
    if scope is None:
        return (_digest(""), "", "", "{}", "")
    attributes = to_json(getattr(scope, "attributes", None))
    version, url = scope.version or "", scope.schema_url or ""
    return (_digest(scope.name, version, attributes, url), scope.name, version, attributes, url)


def _run_row(
    trace_id: str, span_id: str, start_ns: int, end_ns: int, service: str, attributes: Mapping[str, Any]
) -> Row:
    get = attributes.get
    finish = get(semconv.GEN_AI_RESPONSE_FINISH_REASONS) or (None,)
    return (
        trace_id,
        span_id,
        get(semconv.SEQUENCE_INDEX, 0),
        start_ns,
        end_ns,
        service,
        get(semconv.MODEL_NAME, get(semconv.GEN_AI_REQUEST_MODEL)),
        get(semconv.DECODING_STRATEGY),
        get(semconv.RISK_SCORE),
        get(semconv.RISK_LEVEL),
        get(semconv.HEALTH_NAN),
        get(semconv.HEALTH_INF),
        get(semconv.HEALTH_REPETITION_LOOP),
        get(semconv.HEALTH_HIGH_ENTROPY_STEPS),
        get(semconv.EARLY_WARNING_FAILURE_RISK),
        json.dumps(list(get(semconv.WARNINGS, ()))),
        get(semconv.FINGERPRINT_PROMPT_HASH),
        get(semconv.FINGERPRINT_PROMPT_HASH_SOURCE),
        get(semconv.SEQUENCE_INPUT_TOKENS, get(semconv.GEN_AI_USAGE_INPUT_TOKENS)),
        get(semconv.SEQUENCE_OUTPUT_TOKENS, get(semconv.GEN_AI_USAGE_OUTPUT_TOKENS)),
        finish[0],
        get(semconv.ERROR_TYPE),
        get(semconv.NARRATIVE),
    )
