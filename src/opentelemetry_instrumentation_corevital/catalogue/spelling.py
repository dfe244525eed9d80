"""How flags and warnings are spelt: in one way for people, and by their names for programs.

For people it is the label of a flag (`repetition loop`), and the name of a warning with blanks (`entropy rising`). For
programs it is the name (`repetition_loop_detected`), in attributes, columns, JSON, CSV and filters.
"""

from collections.abc import Mapping
from typing import Final

from . import verdicts

_WARNINGS: Final = (
    *(warning.name for warning in verdicts.EARLY_WARNINGS),
    *(signal.name for signal in verdicts.COMPOUND),
    verdicts.HIGH_ENTROPY_SHARE,
)
LABELS: Final[Mapping[str, str]] = {
    **{name: flag.label for flag in verdicts.FLAGS for name in (flag.name, flag.short)},
    **{name: name.replace("_", " ") for name in _WARNINGS},
}
"""Every flag, with and without `_detected`, and every warning -> how people read it."""
_REASONS: Final = {"no_baseline": "too few runs yet say what is usual for the model"}
_FLAGS: Final = {spelt.lower(): flag.name for flag in verdicts.FLAGS for spelt in (flag.name, flag.short, flag.label)}


def for_people(name: str) -> str:
    """Return how people read the name of a flag, a warning or a factor of the risk, whoever gave it."""
    return LABELS.get(name, name.replace("_", " "))


def factor_for_people(factor: str) -> str:
    """Return a factor of the risk such as `repetition_loop_detected=0.900` as `repetition loop 0.900`."""
    name, separator, part = factor.rpartition("=")
    return f"{for_people(name)} {part}" if separator else for_people(factor)


def reason_for_people(reason: str) -> str:
    """Return how people read why something is absent."""
    return _REASONS.get(reason, reason)


def flag_for_programs(given: str) -> str | None:
    """Return the name of a flag that somebody spelt as people or programs do, or without `_detected`.

    None: there is no such flag.
    """
    return _FLAGS.get(given.strip().lower())
