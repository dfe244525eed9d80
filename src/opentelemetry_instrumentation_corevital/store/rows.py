"""Spans as rows of the store. Pure functions; the tuples of column names are shared by the writer and the tests."""

import base64
import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

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
        _trace_state(context),
        _clean(span.name),
        span.kind.value + 1,
        start_ns,
        end_ns,
        span.status.status_code.value,
        _clean(span.status.description or ""),
        to_json(attributes),
        span.dropped_attributes,
        span.dropped_events,
        span.dropped_links,
    )
    events = tuple(
        (trace_id, span_id, seq, event.timestamp, _clean(event.name), to_json(event.attributes))
        for seq, event in enumerate(span.events)
    )
    links = tuple(
        (
            trace_id,
            span_id,
            seq,
            format_trace_id(link.context.trace_id),
            format_span_id(link.context.span_id),
            _trace_state(link.context),
            to_json(link.attributes),
        )
        for seq, link in enumerate(span.links)
    )
    scope = _scope_row(span.instrumentation_scope)
    run = None
    if semconv.STEPS_TOTAL in attributes:
        judged = (_run_value(attributes, *source) for source in _RUN_ATTRIBUTES.values())
        run = (trace_id, span_id, start_ns, end_ns, resource[1], *judged)
    size = sum(_bytes(each) for each in (resource, scope, row, run or (), *events, *links))
    return SpanRows(resource, scope, row, events, links, run, size)


def to_json(attributes: Mapping[str, Any] | None) -> str:
    """Return attributes as compact JSON.

    Bytes become base64 text. What JSON has no number for (NaN, infinities) is left out with its key; so is a list that
    holds one, since the positions of the others would shift.
    """
    return json.dumps(_plain(attributes or {}), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


_ABSENT: Final = object()


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, `_ABSENT` where it has none."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, int | float):
        return value if isinstance(value, int) or math.isfinite(value) else _ABSENT
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        items = {_clean(str(key)): _plain(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not _ABSENT}
    if isinstance(value, Sequence):
        values = [_plain(item) for item in value]
        return _ABSENT if any(item is _ABSENT for item in values) else values
    return _ABSENT


def _clean(text: str) -> str:
    """Return text that UTF-8 can hold: a lone surrogate, which a cut-off emoji leaves, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _trace_state(context: SpanContext) -> str:
    return context.trace_state.to_header() if context.trace_state else ""


def _bytes(row: Row) -> int:
    return sys.getsizeof(row) + sum(sys.getsizeof(cell) for cell in row)


# --- the columns of a run: a value of another type than ours is somebody else's, and left out ---------------------


def _text(value: Any) -> str | None:
    return _clean(value) if isinstance(value, str) else None


def _first_text(value: Any) -> str | None:
    return _text(value[0]) if isinstance(value, list | tuple) and value else None


def _names(value: Any) -> str:
    return json.dumps(
        [_clean(name) for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []
    )


def _integer(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if fits else None


def _index(value: Any) -> int:
    return _integer(value) or 0


def _number(value: Any) -> float | None:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if numeric and math.isfinite(value) else None


def _flag(value: Any) -> int | None:
    return int(value) if isinstance(value, bool) else None


_RUN_ATTRIBUTES: Final[Mapping[str, tuple[Callable[[Any], Any], tuple[str, ...]]]] = {
    "sequence_index": (_index, (semconv.SEQUENCE_INDEX,)),
    "model": (_text, (semconv.MODEL_NAME, semconv.GEN_AI_REQUEST_MODEL)),
    "operation": (_text, (semconv.GEN_AI_OPERATION_NAME,)),
    "strategy": (_text, (semconv.DECODING_STRATEGY,)),
    "risk_score": (_number, (semconv.RISK_SCORE,)),
    "risk_level": (_text, (semconv.RISK_LEVEL,)),
    "nan_detected": (_flag, (semconv.HEALTH_NAN,)),
    "inf_detected": (_flag, (semconv.HEALTH_INF,)),
    "repetition_loop_detected": (_flag, (semconv.HEALTH_REPETITION_LOOP,)),
    "high_entropy_steps": (_integer, (semconv.HEALTH_HIGH_ENTROPY_STEPS,)),
    "failure_risk": (_number, (semconv.EARLY_WARNING_FAILURE_RISK,)),
    "warnings": (_names, (semconv.WARNINGS,)),
    "prompt_hash": (_text, (semconv.FINGERPRINT_PROMPT_HASH,)),
    "prompt_hash_source": (_text, (semconv.FINGERPRINT_PROMPT_HASH_SOURCE,)),
    "input_tokens": (_integer, (semconv.SEQUENCE_INPUT_TOKENS, semconv.GEN_AI_USAGE_INPUT_TOKENS)),
    "output_tokens": (_integer, (semconv.SEQUENCE_OUTPUT_TOKENS, semconv.GEN_AI_USAGE_OUTPUT_TOKENS)),
    "finish_reason": (_first_text, (semconv.GEN_AI_RESPONSE_FINISH_REASONS,)),
    "error_type": (_text, (semconv.ERROR_TYPE,)),
    "narrative": (_text, (semconv.NARRATIVE,)),
}
"""Column -> how its value is read, and the attributes that may hold it: a sequence's own span, then a call's."""

RUN_COLUMNS: Final = ("trace_id", "span_id", "start_ns", "end_ns", "service_name", *_RUN_ATTRIBUTES)


def _run_value(attributes: Mapping[str, Any], read: Callable[[Any], Any], names: tuple[str, ...]) -> Any:
    return read(next((attributes[name] for name in names if name in attributes), None))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _resource_row(resource: Resource) -> Row:
    attributes = to_json(resource.attributes)
    name = _text(resource.attributes.get("service.name")) or ""
    return (_digest(attributes, resource.schema_url), name, attributes, resource.schema_url)


def _scope_row(scope: InstrumentationScope | None) -> Row:
    if scope is None:
        return (_digest(""), "", "", "{}", "")
    attributes = to_json(getattr(scope, "attributes", None))
    version, url = scope.version or "", scope.schema_url or ""
    return (_digest(scope.name, version, attributes, url), scope.name, version, attributes, url)
