"""What a check found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; a run is recorded and arrives all the same."""
    PROBLEM = "problem"
    """Because of it a run is not recorded, does not arrive, or loses something."""


class Area(StrEnum):
    """What a finding is about, in the order in which they are told."""

    USE = "use"
    INSTALLED = "installed"
    INSTRUMENTED = "instrumented"
    SETTINGS = "settings"
    EXPORTERS = "exporters"
    MACHINE = "machine"
    ARRIVAL = "test telemetry"
    LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    area: Area
    level: Level
    subject: str
    """A package, a variable, an exporter."""
    text: str
    advice: str = ""
    """What to do; empty where nothing is to be done."""


def ok(area: Area, subject: str, text: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(area, Level.OK, subject, text)


def note(area: Area, subject: str, text: str, advice: str = "") -> Finding:
    """Return a finding that is worth knowing."""
    return Finding(area, Level.NOTE, subject, text, advice)


def problem(area: Area, subject: str, text: str, advice: str) -> Finding:
    """Return a finding that stands in the way."""
    return Finding(area, Level.PROBLEM, subject, text, advice)
