"""Whether limits of the SDK, or of those who receive, would cut something off a run."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .findings import Area, Finding, note, ok, problem

_ATTRIBUTES: Final = 100
"""Most attributes of a span of ours."""
_EVENTS: Final = 112
"""Most events of it: 96 steps and 16 others."""
_EVENT_ATTRIBUTES: Final = 10
_LENGTH: Final = 2048
"""Characters of the longest values without content: JSON that says why, and what is absent."""
_GRPC_SPANS: Final = 64
_GRPC_LOGS: Final = 256


def check(limits: Mapping[str, int | None], exporters: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield findings on the limits that a span of this configuration met, and on the batches of exporters."""
    if limits:
        yield from _span_limits(limits)
    yield from _batches(exporters)


def _span_limits(limits: Mapping[str, int | None]) -> Iterator[Finding]:
    wanted = (
        ("attributes", _ATTRIBUTES, "attributes of a span", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 128),
        ("events", _EVENTS, "events of a span", "OTEL_SPAN_EVENT_COUNT_LIMIT", 128),
        ("event_attributes", _EVENT_ATTRIBUTES, "attributes of an event", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", 128),
        ("length", _LENGTH, "characters of a value", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", None),
    )
    for name, need, what, variable, default in wanted:
        limit = limits.get(name)
        if limit is not None and limit < need:
            advice = f"set {variable}={default} or more" if default else f"unset {variable}"
            if os.environ.get("OTEL_CONFIG_FILE"):
                advice = "raise it in OTEL_CONFIG_FILE, under tracer_provider: limits:"
            yield problem(Area.LIMITS, what, f"{limit}, but a run may have {need}: the SDK cuts the rest off", advice)
        else:
            yield ok(Area.LIMITS, what, f"{'no limit' if limit is None else limit}, and a run has at most {need}")


def _batches(exporters: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """A gRPC receiver refuses a message of over 4 MiB, and with it all of the batch."""
    large = dict[str, int]()
    for signal, most, variable in (
        ("traces", _GRPC_SPANS, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
        ("logs", _GRPC_LOGS, "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"),
    ):
        sizes = [
            each["batch"]
            for each in exporters
            if each["signal"] == signal and each.get("protocol") == "grpc" and each["batch"]
        ]
        if sizes and max(sizes) > most:
            large[f"{variable}={most}"] = max(sizes)
    if large:
        text = f"up to {max(large.values())}: a receiver may refuse one of over 4 MiB, as a whole"
        yield note(Area.LIMITS, "batches over gRPC", text, f"set {' and '.join(large)}")
