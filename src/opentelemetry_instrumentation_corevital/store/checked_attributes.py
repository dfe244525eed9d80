"""The border at which foreign data become a run: what was stored is held against what is declared of each name.

A store's file may have been written by any program, from what any sender sent. So whatever is read of a run passes
here once: type, range and length of known names, and the shape of everything else. A value that is wrong is left out,
as one that was not measured, and the reason is kept; no other value, and no other run, suffers from it.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .. import semconv
from .._internal.json_text import MOST_JSON, json_object, too_deep
from .._internal.printable import one_line, original
from .._internal.values import fits_int64
from ..catalogue import definitions
from ..catalogue.signal import SLACK

REPORT: Final = "report"
"""Column of the run data of a migrated run: what the report says beside its numbers, as the bytes of its JSON."""
RUN_DATA: Final = "run_data"
"""What run data are called where it is told what is wrong with them."""
_MOST_NAMED: Final = 20
_MOST_NAME: Final = 128
_MOST_REASON: Final = 400
_MOST_DAMAGE: Final = 64 * 1024
"""Characters of a row's damage as JSON: more than all of its names and reasons together."""

Damage = Mapping[str, str]
"""Name of a value that is left out -> what is wrong with it; the value itself is told where it is a number."""


@dataclass(slots=True)
class Findings:
    """What is wrong with a run's values, as far as it was read: a few names, and how many there are beyond."""

    named: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, reason: str) -> None:
        """Note that a value is left out; the first reason for a name stays."""
        if len(self.named) < _MOST_NAMED:
            self.named.setdefault(one_line(name, _MOST_NAME), reason)


def checked_attributes(
    attributes: Mapping[str, Any], findings: Findings, kind: definitions.Kind = "attribute", where: str = ""
) -> dict[str, Any]:
    """Return the attributes whose values are what is declared of their names; those of unknown names as they are.

    Args:
        attributes: of a span or an event, as JSON has them.
        findings: gets what is left out, and why.
        kind: what carries them.
        where: goes before the names that are noted.
    """
    kept = {}
    for name, value in attributes.items():
        definition = semconv.DEFINITIONS.get((kind, name))
        why = too_deep(value) if definition is None else problem(definition, value)
        if why is None:
            kept[name] = value
        else:
            findings.add(f"{where}{name}", why)
    return kept


def problem(definition: definitions.Definition, value: Any) -> str | None:
    """Return what is wrong with the value of a known name; None: nothing."""
    kind = definition.type.removesuffix("[]")
    wrong = _CHECKS.get(kind)
    if wrong is None:  # the name of an event, which has no value
        return None
    if kind == definition.type:
        return wrong(definition, value)
    if not isinstance(value, list | tuple):
        return f"is {_a(value)}, not a list"
    if len(value) > definitions.MOST_ITEMS:
        return f"has {len(value)} items; {definitions.MOST_ITEMS} are the most"
    return next((f"item {index} {why}" for index, item in enumerate(value) if (why := wrong(definition, item))), None)


def _text(definition: definitions.Definition, value: Any) -> str | None:
    if not isinstance(value, str):
        return f"is {_a(value)}, not a text"
    if definition.longest is not None and len(value) > definition.longest:
        return f"has {len(value)} characters; {definition.longest} are the most"
    return None


def _integer(definition: definitions.Definition, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"is {_a(value)}, not an integer"
    return _range(definition, value) if fits_int64(value) else "is an integer beyond 64 bits"


def _number(definition: definitions.Definition, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is {_a(value)}, not a number"
    if isinstance(value, int) and not fits_int64(value):
        return "is an integer beyond 64 bits"
    return _range(definition, value) if math.isfinite(value) else "is not finite"


def _boolean(_: definitions.Definition, value: Any) -> str | None:
    return None if isinstance(value, bool) else f"is {_a(value)}, not true or false"


_CHECKS: Final[Mapping[str, Callable[[definitions.Definition, Any], str | None]]] = {
    "string": _text,
    "int": _integer,
    "double": _number,
    "boolean": _boolean,
}


def _range(definition: definitions.Definition, value: float) -> str | None:
    slack = SLACK if definition.type.startswith("double") else 0
    if definition.lowest is not None and value < definition.lowest - slack:
        return f"is {value:.6g}; {definition.lowest:g} is the least"
    if definition.highest is not None and value > definition.highest + slack:
        return f"is {value:.6g}; {definition.highest:g} is the most"
    return None


def _a(value: Any) -> str:
    """Return what kind of value it is; its text may be content, and is never told."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "bytes" if isinstance(value, bytes) else "an object" if isinstance(value, Mapping) else "a list"


def read_attributes(text: Any, findings: Findings, name: str = "attributes") -> dict[str, Any]:
    """Return attributes as they are stored, empty where they cannot be read at all."""
    found = json_object(text)
    if found is None:
        findings.add(name, "cannot be read: it is no JSON object, or too large a one")
        return {}
    return found


# --- what is wrong, kept in a row of `runs` ---------------------------------------------------------------------


def damage_json(damage: Damage) -> str | None:
    """Return what is wrong as a row has it; None where nothing is."""
    return json.dumps(dict(damage), ensure_ascii=False, separators=(",", ":")) if damage else None


def read_damage(text: Any, findings: Findings) -> None:
    """Note what a row says was wrong with the run when it came.

    Args:
        text: as `damage_json` made it, or anything else.
        findings: gets it, or that it cannot be read.
    """
    if text is None:
        return
    found = json_object(text) if isinstance(text, str) and len(text) <= _MOST_DAMAGE else None
    if found is None or not all(isinstance(why, str) for why in found.values()):
        findings.add("damage", "is no JSON object of texts")
        return
    for name, why in found.items():
        findings.add(original(name), one_line(original(why), _MOST_REASON))  # ours are printable already


# --- the columns of a row of `runs` ------------------------------------------------------------------------------

_IDS: Final = {"trace_id": 32, "span_id": 16}
_HEX: Final = re.compile("[0-9a-f]+")
_TIMES: Final = ("start_ns", "end_ns")
_NAME: Final = definitions.Definition("", "attribute", "string", "", "", longest=definitions.LONGEST_NAME)
_TIME: Final = definitions.Definition("", "attribute", "int", "ns", "", lowest=0)


def checked_row(
    row: Mapping[str, Any], attributes: Mapping[str, tuple[str, ...]], flags: Iterable[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of a row of `runs`, None in place of those that are wrong, and what is wrong with which.

    What was wrong with values when they came, the column `damage`, is among what is wrong and no value.

    Args:
        row: value by column, as SQLite returns it: of any type.
        attributes: column -> the attributes that it is a copy of.
        flags: columns with truth values, which SQLite has as 0 and 1.
    """
    findings, values, truths = Findings(), dict(row), frozenset(flags)
    read_damage(values.pop("damage", None), findings)
    for column, value in row.items():
        if column == "damage":
            continue
        values[column], why = checked_cell(column, value, attributes, truth=column in truths)
        if why is not None:
            findings.add(attributes.get(column, (column,))[0], why)
    for column, length in _IDS.items():
        if not is_id(row.get(column), length):
            values[column] = row[column] if isinstance(row.get(column), str) else ""
            findings.add(column, f"is not {length} hexadecimal digits")
    if values.get("start_ns") is None:
        values["start_ns"] = 2**63 - 1  # where SQLite sorts what is no number: ahead of all others
    if values.get("end_ns") is None:
        values["end_ns"] = values["start_ns"]
    if values.get("sequence_index") is None:
        values["sequence_index"] = 0
    values["service_name"] = values.get("service_name") or ""
    return values, findings.named


def checked_cell(
    column: str, value: Any, attributes: Mapping[str, tuple[str, ...]], *, truth: bool
) -> tuple[Any, str | None]:
    """Return a value of a column of `runs`, None in place of a wrong one, and what is wrong with it.

    Args:
        column: its name.
        value: as SQLite returns it: of any type.
        attributes: column -> the attributes that it is a copy of.
        truth: whether it is a truth value, which SQLite has as 0 or 1.
    """
    if value is None:
        return None, None
    if truth:
        return (bool(value), None) if value in (0, 1) else (None, "is neither 0 nor 1")
    if column == "warnings":
        return _names(value, attributes[column][0])
    why = _problem_of_cell(column, value, attributes.get(column, ()))
    return (value if why is None else None), why


def checked_name(value: Any) -> str | None:
    """Return the name of a model that a column has; None where it is none."""
    return value if value is not None and problem(_NAME, value) is None else None


def _problem_of_cell(column: str, value: Any, names: tuple[str, ...]) -> str | None:
    if column in _IDS:
        return None
    if names:
        definition = semconv.DEFINITIONS["attribute", names[0]]
        if definition.type == "string[]":  # the first of them
            definition = _NAME
    else:
        definition = _TIME if column in _TIMES else _NAME
    return problem(definition, value)


def is_id(value: Any, length: int) -> bool:
    """Whether a value is so many hexadecimal digits."""
    return isinstance(value, str) and len(value) == length and _HEX.fullmatch(value) is not None


def _names(value: Any, name: str) -> tuple[tuple[str, ...] | None, str | None]:
    """Return a list of names that a column has as JSON, and what is wrong with it."""
    try:
        found = json.loads(value) if isinstance(value, str) and len(value) <= MOST_JSON else ...
    except (ValueError, RecursionError, MemoryError):
        found = ...
    if found is None:
        return None, None
    why = "is no JSON list" if found is ... else problem(semconv.DEFINITIONS["attribute", name], found)
    return (None if why is not None or found is ... else tuple(found)), why
