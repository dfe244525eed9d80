"""Calls that go on, and their steps: what a source of runs has of them before their spans come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .. import semconv
from .._internal.short_repr import short_repr
from .checked_attributes import Findings, checked_attributes, is_id, read_attributes

HOW_STEPS_COME: Final = (
    "Steps are stored while a run goes on where OTEL_COREVITAL_STEP_EVENTS=logs is set and log events go to this store "
    "(--logs_exporter corevital_sqlite, or by OTLP to corevital collect)."
)
"""What somebody has to set who sees none."""


@dataclass(frozen=True, slots=True)
class RunningCall:
    """A `generate()` call of which steps have come, and whose span may not have."""

    trace_id: str
    span_id: str
    """Of the call's span, which comes when the call is over."""
    service_name: str
    last_key: int
    """`LiveStep.key` of its newest step."""
    arrived_ns: int
    """Unix time at which the source got that step."""

    __repr__ = short_repr


@dataclass(frozen=True, slots=True)
class LiveStep:
    """One step of one sequence of a call, as its log event has it. None: the event does not have it."""

    key: int
    """Its place in the order in which the source got steps: a later one has a larger key, at all calls."""
    arrived_ns: int
    """Unix time at which the source got it."""
    attributes: Mapping[str, Any]
    """Of the log event, checked: what is wrong with its type or range is not there."""

    __repr__ = short_repr

    @property
    def step_index(self) -> int:
        """Return the step, from 0."""
        return int(self.attributes[semconv.STEP_INDEX])

    @property
    def sequence_index(self) -> int:
        """Return the sequence of the call, from 0."""
        return int(self.attributes.get(semconv.SEQUENCE_INDEX, 0))

    @property
    def token_text(self) -> str | None:
        """Return the text that its token adds; None where content is not stored."""
        return self.attributes.get(semconv.STEP_TOKEN_TEXT)

    @property
    def entropy(self) -> float | None:
        """Return the entropy in bit."""
        return self.attributes.get(semconv.STEP_ENTROPY)

    @property
    def surprisal(self) -> float | None:
        """Return the chosen token's surprisal in bit."""
        return self.attributes.get(semconv.STEP_SURPRISAL)

    @property
    def risk_so_far(self) -> float | None:
        """Return the risk of the run up to this step."""
        return self.attributes.get(semconv.STEP_RISK_SO_FAR)

    @property
    def warning_signals(self) -> tuple[str, ...] | None:
        """Return the warnings that hold at this step; None where steps are told without them."""
        found = self.attributes.get(semconv.STEP_WARNINGS)
        if found is None:
            return None if self.risk_so_far is None else ()
        return tuple(found)

    @property
    def flags(self) -> None:
        """Return None: the log events of steps do not have flags."""
        return None


def live_call(trace_id: Any, span_id: Any, service_name: Any, last_key: int, arrived_ns: Any) -> RunningCall | None:
    """Return a call; None where its ids are none."""
    if not (is_id(trace_id, 32) and is_id(span_id, 16)):
        return None
    name = service_name if isinstance(service_name, str) else ""
    return RunningCall(trace_id, span_id, name, last_key, arrived_ns if isinstance(arrived_ns, int) else 0)


def live_step(key: int, arrived_ns: Any, attributes: Any) -> LiveStep | None:
    """Return a step; None where its event does not say which step it is.

    Args:
        key: its place among all that came.
        arrived_ns: when it came.
        attributes: of its log event, as JSON.
    """
    unknown = Findings()  # nobody can be told of them while the run goes on; its span has what counts
    found = checked_attributes(read_attributes(attributes, unknown), unknown, "event attribute")
    index = found.get(semconv.SEQUENCE_INDEX, 0)  # declared of spans, so not checked as an event's
    if semconv.STEP_INDEX not in found or isinstance(index, bool) or not isinstance(index, int) or index < 0:
        return None
    return LiveStep(key, arrived_ns if isinstance(arrived_ns, int) else 0, found)
