"""What a source has of a run, made a run: every value is checked here, whatever the source is."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from .. import semconv
from ..presentation.shapes import Dropped
from .checked_attributes import Findings, checked_attributes, read_attributes
from .labels import Label
from .stored_run import RunSummary, StoredEvent, StoredRun

MOST_DATA: Final = 128 * 1024**2
"""Bytes of a run's data that are read; CoreVital itself stores at most 13 million of a sequence."""
MOST_EVENTS: Final = 65_536
"""Events of a span that are read."""
_MOST_EVENTS_JSON: Final = 64 * 1024**2
"""Characters of all their attributes."""


def stored_run(
    summary: RunSummary,
    attributes: Any,
    events: Iterable[tuple[Any, Any, Any]],
    *,
    label: Label | None = None,
    data: Any = None,
    data_bytes: int | None = None,
    call: Any = None,
    dropped: Sequence[Any] = (0, 0),
) -> StoredRun:
    """Return a run; what is wrong with its values is in its `damage`.

    Args:
        summary: of the run.
        attributes: of its span, as JSON.
        events: name, time and attributes as JSON of each of its span's events, in order.
        label: what a person said of it.
        data: its run data; None where they were not read.
        data_bytes: how many bytes they have; None: there are none.
        call: attributes of the span above, as JSON, if that may be the call's.
        dropped: how many attributes and events the SDK's limits took.
    """
    findings = Findings()
    return StoredRun(
        summary,
        checked_attributes(read_attributes(attributes, findings), findings),
        tuple(_events(events, findings)),
        label,
        _data(data, data_bytes, findings),
        _of_call(call),
        Dropped(*(count if isinstance(count, int) and count >= 0 else 0 for count in dropped)),
        findings,
    )


def _events(events: Iterable[tuple[Any, Any, Any]], findings: Findings) -> Iterable[StoredEvent]:
    room = _MOST_EVENTS_JSON
    for number, (name, time_ns, text) in enumerate(events):
        room -= len(text) if isinstance(text, str) else 0
        if room < 0 or number >= MOST_EVENTS:
            findings.add("events", f"are more than are read; the first {number} are")
            return
        where = f"event {number}: "
        if not isinstance(name, str) or not isinstance(time_ns, int):
            findings.add(f"{where}name", "is no text, or its time is no integer")
            continue
        found = read_attributes(text, findings, f"{where}attributes")
        yield StoredEvent(name, time_ns, checked_attributes(found, findings, "event attribute", where))


def _data(data: Any, size: int | None, findings: Findings) -> bytes | None:
    if size is None or isinstance(data, bytes):
        return data if isinstance(data, bytes) else None
    findings.add("run_data", f"has {size} bytes; {MOST_DATA} are the most" if data is None else "is no archive")
    return None


def _of_call(text: Any) -> dict[str, Any] | None:
    """Return the attributes of the span above, if it is a call's; what is wrong with them is another span's fault."""
    if text is None:
        return None
    unknown = Findings()
    found = checked_attributes(read_attributes(text, unknown), unknown)
    return found if semconv.SEQUENCE_COUNT in found else None
