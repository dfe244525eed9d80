"""What to look for among runs. Every condition is one on a real column of `runs`."""

import math
from dataclasses import dataclass, fields
from typing import Any, Final

from .. import semconv
from .database import StoreError
from .labels import ANY_OR_NONE

FLAGS: Final = tuple(semconv.HEALTH_FLAGS)
LEVELS: Final = ("low", "medium", "high")
_SECOND_NS: Final = 10**9
_MOST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Conditions that a run has to meet, all of them; None: any.

    Attributes:
        model: its model.
        risk_above: its risk is above this.
        level: its risk level: low, medium or high.
        flag: this flag is raised, one of `FLAGS`; `_detected` may be left out.
        since_ns: it started at this Unix time or later, in nanoseconds.
        until_ns: it started before this Unix time, in nanoseconds.
        prompt_hash: its prompt hash begins so.
        label: its label; `any` for any label, `none` for none.
        longer_than: it took more than so many seconds.
        tokens_above: it generated more than so many tokens.
    """

    model: str | None = None
    risk_above: float | None = None
    level: str | None = None
    flag: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    prompt_hash: str | None = None
    label: str | None = None
    longer_than: float | None = None
    tokens_above: int | None = None

    def index(self) -> str:
        """Return the hint that names the index to use: none where one condition alone has an index of its own.

        A planner without statistics takes the wrong one, and then looks up every row.
        """
        given = [name for name in _FIELDS if getattr(self, name) is not None]
        alone = len(given) == 1 and given[0] in ("model", "level", "flag", "label") and self.label != "none"
        return "" if alone else "INDEXED BY runs_filters"

    def where(self) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL condition and its values.

        Raises:
            StoreError: for a flag or level that there is not, or a number that is none.
        """
        duration = None if self.longer_than is None else self.longer_than * _SECOND_NS
        given = [
            ("model = ?", self.model),
            ("risk_score > ?", _number(self.risk_above)),
            ("risk_level = ?", self._level()),
            ("start_ns >= ?", _int64(self.since_ns)),
            ("start_ns < ?", _int64(self.until_ns)),
            ("end_ns - start_ns > ?", _int64(duration)),
            ("output_tokens > ?", _int64(self.tokens_above)),
        ]
        if self.prompt_hash is not None:
            start = self.prompt_hash.lower()
            given += [("prompt_hash >= ?", start), ("prompt_hash < ?", start + "g")]  # hexadecimal digits end at f
        if self.label is not None and self.label not in ANY_OR_NONE:
            given.append(("label = ?", self.label))
        conditions = [condition for condition, value in given if value is not None]
        if self.label in ANY_OR_NONE:
            conditions.append(f"label IS {'NOT ' if self.label == 'any' else ''}NULL")
        if self.flag is not None:
            conditions.append(f"{self._flag()} = 1")
        values = tuple(value for _, value in given if value is not None)
        return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), values

    def _flag(self) -> str:
        name = str(self.flag)
        column = name if name.endswith("_detected") else f"{name}_detected"
        if column not in FLAGS:
            raise StoreError(f"unknown flag {name!r}; flags are {', '.join(FLAGS)}.")
        return column

    def _level(self) -> str | None:
        if self.level is not None and self.level not in LEVELS:
            raise StoreError(f"unknown level {self.level!r}; levels are {', '.join(LEVELS)}.")
        return self.level


def _number(value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise StoreError("a filter is not a number (NaN).")
    return value


def _int64(value: float | None) -> int | None:
    """Return a whole number that SQLite can hold: what is beyond its range is beyond every row, too."""
    value = _number(value)
    return None if value is None else int(min(max(value, -_MOST), _MOST))


_FIELDS: Final = tuple(field.name for field in fields(RunFilter))
