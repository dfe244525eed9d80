"""Conditions on runs as SQL. Every condition is one on a real column of `runs`."""

import json
from dataclasses import fields
from typing import Any, Final

from .filters import RunFilter
from .labels import ANY_OR_NONE, OUTCOMES, LabelSource

_SECOND_NS: Final = 10**9
_MOST: Final = 2**63 - 1
_INDEXED: Final = ("model", "level", "flag", "label", "stop_reason", "intervened", "experiment", "request_hash")
"""Conditions that have an index of their own."""
_LABELLED: Final = f"label IN ({', '.join(map(repr, OUTCOMES))})"
_JUDGED: Final = "expected_found IN (0, 1)"
_OUTCOME_KNOWN: Final = {
    LabelSource.ANY: f"({_LABELLED} OR {_JUDGED})",
    LabelSource.GIVEN: _LABELLED,
    LabelSource.EXPECTED: _JUDGED,
}
"""Without values in it, so that SQLite sees that the index `runs_outcome` has all these runs."""
_FIELDS: Final = tuple(field.name for field in fields(RunFilter))
_HAS_TEXT: Final = (
    "(model LIKE ? ESCAPE '!' OR service_name LIKE ? ESCAPE '!' OR experiment LIKE ? ESCAPE '!' "
    "OR (trace_id >= ? AND trace_id < ?) OR (span_id >= ? AND span_id < ?) "
    "OR (label IS NOT NULL AND (trace_id, span_id) IN "
    "(SELECT trace_id, span_id FROM labels WHERE note LIKE ? ESCAPE '!')))"
)
_LOWER: Final = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})


def index(wanted: RunFilter) -> str:
    """Return the hint that names the index to use: none where one condition alone has an index of its own.

    A planner without statistics takes the wrong one, and then looks up every row.
    """
    given = [name for name in _FIELDS if getattr(wanted, name) is not None]
    without = wanted.label == "none" or wanted.intervened is False  # an index has what is there
    alone = len(given) == 1 and given[0] in _INDEXED and not without
    return "" if alone else filters_index(wanted)


def filters_index(wanted: RunFilter) -> str:
    """Return the hint for a walk over runs with several conditions: few runs have an outcome."""
    return f"INDEXED BY {'runs_filters' if wanted.outcome_known is None else 'runs_outcome'}"


def where(wanted: RunFilter) -> tuple[str, tuple[Any, ...]]:
    """Return the clause that a run has to meet, empty where any does, and its values."""
    conditions, values = conditions_of(wanted)
    return all_of(conditions), tuple(values)


def conditions_of(
    wanted: RunFilter, *, oldest_ns: int | None = None, newest_ns: int | None = None
) -> tuple[list[str], list[Any]]:
    """Return conditions in SQL, all of which have to be met, and their values.

    Args:
        wanted: what to look for.
        oldest_ns: only runs that started then or later.
        newest_ns: only runs that started then or earlier.
    """
    duration = None if wanted.longer_than is None else wanted.longer_than * _SECOND_NS
    # One bound at each end: of two the planner takes any, and walks from there along the index at every page.
    last = None if wanted.until_ns is None else wanted.until_ns - 1
    oldest = max(_given(wanted.since_ns, oldest_ns), default=None)
    newest = min(_given(last, newest_ns), default=None)
    given = [
        ("model = ?", wanted.model),
        ("risk_score > ?", wanted.risk_above),
        ("risk_score < ?", wanted.risk_below),
        ("risk_level = ?", wanted.level),
        ("stop_reason = ?", wanted.stop_reason),
        ("baseline_source = ?", wanted.baseline_source),
        ("service_name = ?", wanted.service),
        ("experiment = ?", wanted.experiment),
        ("request_hash = ?", wanted.request_hash),
        ("start_ns >= ?", _int64(oldest)),
        ("start_ns <= ?", _int64(newest)),
        ("end_ns - start_ns > ?", _int64(duration)),
        ("output_tokens > ?", _int64(wanted.tokens_above)),
        # An element of a JSON list of names is in its text as it is.
        ("instr(warnings, ?)", None if wanted.warning is None else json.dumps(wanted.warning)),
    ]
    if wanted.prompt_hash is not None:
        start = wanted.prompt_hash
        given += [("prompt_hash >= ?", start), ("prompt_hash < ?", start + "g")]  # hexadecimal digits end at f
    if wanted.label is not None and wanted.label not in ANY_OR_NONE:
        given.append(("label = ?", wanted.label))
    conditions = [condition for condition, value in given if value is not None]
    values = [value for _, value in given if value is not None]
    if wanted.label in ANY_OR_NONE:
        conditions.append(f"label IS {'NOT ' if wanted.label == 'any' else ''}NULL")
    if wanted.intervened is not None:
        conditions.append(f"intervention IS {'NOT ' if wanted.intervened else ''}NULL")
    if wanted.outcome_known is not None:
        conditions.append(_OUTCOME_KNOWN[wanted.outcome_known])
    if wanted.flag is not None:
        conditions.append(f"{wanted.flag} = 1")
    if wanted.text is not None:
        start, within = wanted.text.translate(_LOWER), f"%{like(wanted.text)}%"
        conditions.append(_HAS_TEXT)
        values += [within] * 3 + [start, start + "g"] * 2 + [within]
    return conditions, values


def all_of(conditions: list[str]) -> str:
    """Return conditions as a clause; empty where there are none."""
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def like(text: str) -> str:
    """Return a text for a pattern with the escape `!`: every character stands for itself, ASCII letters in any case."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _given(*bounds: int | None) -> list[int]:
    return [bound for bound in bounds if bound is not None]


def _int64(value: float | None) -> int | None:
    """Return a whole number that SQLite can hold: what is beyond its range is beyond every row, too."""
    return None if value is None else int(min(max(value, -_MOST), _MOST))
