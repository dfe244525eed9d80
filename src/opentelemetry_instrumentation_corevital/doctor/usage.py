"""What somebody wants to use: the store, OTLP or both; from the environment, unless it is said."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .findings import Area, Finding, ok

SIGNALS: Final = ("traces", "metrics", "logs")
_STORE: Final = "corevital_sqlite"
_OTLP: Final = "otlp"
_ENDPOINTS: Final = tuple(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", "TRACES_", "METRICS_", "LOGS_"))
_START: Final = "opentelemetry.instrumentation.auto_instrumentation"
"""Imported by a program that `opentelemetry-instrument` has started."""
_CHANGE: Final = "or --use store, otlp, both"


class Use(StrEnum):
    """Where runs are to go."""

    STORE = "store"
    OTLP = "otlp"
    BOTH = "both"


_NAMED: Final = {Use.STORE: "the store", Use.OTLP: "OTLP", Use.BOTH: "the store and OTLP"}
_EXPORTERS: Final = {Use.STORE: _STORE, Use.OTLP: _OTLP, Use.BOTH: f"{_OTLP},{_STORE}"}


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used, and how that is known."""

    named: str
    """In words, as in "the store"."""
    why: str
    """What says so."""
    otlp: bool
    """Whether OTLP is used: an exporter of it that nobody asked for may fail."""
    environment: Mapping[str, str]
    """The variables with which OpenTelemetry is started."""


def usage(told: Use | None, environment: Mapping[str, str] = os.environ) -> Usage:
    """Return what is used.

    Args:
        told: what the user says; None: what the environment says, as options of `opentelemetry-instrument` set it.
        environment: the variables.
    """
    if told is not None:
        return _chosen(told, f"as --use {told} says", environment)
    if file := environment.get("OTEL_CONFIG_FILE"):
        return Usage("what OTEL_CONFIG_FILE configures", f"it is {file}", True, environment)
    given = {name: environment[name] for name in _variables() if environment.get(name)}
    traces, endpoint = _variable("traces"), next((name for name in _ENDPOINTS if environment.get(name)), None)
    if traces in given:
        return _named_by_exporters(given, environment, endpoint)
    if endpoint:
        return Usage(_NAMED[Use.OTLP], f"as {endpoint} is set", True, environment)
    if given:
        return Usage(_NAMED[Use.OTLP], f"the default, as {traces} is not set", True, environment)
    return _chosen(Use.STORE, "assumed: no variable names an exporter", environment)


def check(used: Usage) -> Iterator[Finding]:
    """Yield what is looked at, and how to have another use looked at."""
    yield ok(Area.USE, used.named, f"{used.why}; {_CHANGE}")


def _variable(signal: str) -> str:
    return f"OTEL_{signal.upper()}_EXPORTER"


def _variables() -> list[str]:
    return [_variable(signal) for signal in SIGNALS]


def _chosen(use: Use, why: str, environment: Mapping[str, str]) -> Usage:
    """A signal that was switched off stays off."""
    kept = {name: value for name, value in environment.items() if name != "OTEL_CONFIG_FILE"}
    switched_off = {name for name in _variables()[1:] if environment.get(name) == "none"}
    exporters = {name: _EXPORTERS[use] for name in _variables() if name not in switched_off}
    return Usage(_NAMED[use], why, use is not Use.STORE, {**kept, **exporters})


def _named_by_exporters(given: Mapping[str, str], environment: Mapping[str, str], endpoint: str | None) -> Usage:
    traces = _variable("traces")
    chosen = _names(given[traces])
    # The distribution sets what was not set to `otlp`. Without an address, nobody asked for that beside a store.
    by_default = {_OTLP} if _START in sys.modules and not endpoint and not _sent(chosen) else set[str]()
    others = [name for name in given if name != traces and not _names(given[name]) <= chosen | by_default]
    exporters = chosen.union(*(_names(given[name]) for name in others))
    stored, sent = _STORE in exporters, _sent(exporters)
    use = Use.BOTH if stored and sent else Use.STORE if stored else Use.OTLP if sent else None
    different = sorted(name for name in exporters if name != _STORE and not name.startswith(_OTLP))
    named = " and ".join([*([_NAMED[use]] if use else []), *different]) or "nothing"
    why = f"as {' and '.join([traces, *others])} {'say' if others else 'says'}"
    return Usage(named, why, sent, environment)


def _names(value: str) -> set[str]:
    return {name.strip() for name in value.split(",")} - {"none", ""}


def _sent(exporters: set[str]) -> bool:
    return any(name.startswith(_OTLP) for name in exporters)
