"""What every kind of telemetry has in common when it becomes rows: JSON, checked values, resources and scopes."""

import hashlib
import json
import math
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .._internal.values import clean, fits_int64, plain
from ..catalogue import prompt_names

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """Telemetry that had to be given up while others were stored; no record: a value of one that is stored."""

    records: int
    reason: str
    own: bool = True
    """Whether the record that was written is among them."""


class Record(Protocol):
    """One thing to store: a span, a log record, a chunk of run data, a metric with its points."""

    @property
    def bytes(self) -> int:
        """Return about how much memory it takes."""

    def write(self, connection: sqlite3.Connection) -> Sequence[Lost]:
        """Write it inside an open transaction; return what had to be given up, mostly nothing.

        Raises:
            sqlite3.Error, OverflowError or UnicodeError: if no row can hold it, or the file takes none.
        """


# --- values ------------------------------------------------------------------------------------------------------


def to_json(attributes: Mapping[str, Any] | None) -> str:
    """Return attributes as compact JSON.

    What JSON or OTLP has no number for (NaN, infinities, an integer beyond 64 bits) is left out with its key (`plain`).
    """
    return dump(plain(attributes or {}))


def dump(value: Any) -> str:
    """Return a value that `plain` made as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def text(value: Any) -> str | None:
    """Return text, None for a value of another type."""
    return clean(value) if isinstance(value, str) else None


def integer(value: Any) -> int | None:
    """Return an int64, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and fits_int64(value) else None


def number(value: Any) -> float | None:
    """Return a finite float, None for anything else."""
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if numeric and math.isfinite(value) else None


def size_of(*rows: Row) -> int:
    """Return about how many bytes of memory rows take."""
    return sum(sys.getsizeof(row) + sum(sys.getsizeof(cell) for cell in row) for row in rows)


# --- statements --------------------------------------------------------------------------------------------------


def insert(table: str, columns: Sequence[str], verb: str = "INSERT") -> str:
    """Return the statement that inserts a row with these columns."""
    marks = ", ".join("?" * len(columns))
    return f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({marks})"


def id_of(connection: sqlite3.Connection, table: str, columns: Sequence[str], row: Row, *, key: int) -> int:
    """Return the id of the row whose first `key` columns are those of `row`; insert it where there is none."""
    same = " AND ".join(f"{column} = ?" for column in columns[:key])
    found = connection.execute(f"SELECT id FROM {table} WHERE {same}", row[:key]).fetchone()
    if found is None:
        found = (connection.execute(insert(table, columns), row).lastrowid,)
    return int(found[0])


# --- where telemetry comes from ----------------------------------------------------------------------------------

_RESOURCE_COLUMNS: Final = ("digest", "service_name", "attributes", "schema_url")
_SCOPE_COLUMNS: Final = ("digest", "name", "version", "attributes", "schema_url")


@dataclass(frozen=True, slots=True)
class Source:
    """The resource and the scope of a piece of telemetry."""

    resource: Row
    scope: Row
    experiment: str | None = None
    """What the resource says that its runs belong to."""

    @property
    def service_name(self) -> str:
        """Return the service's name, empty where it has none."""
        return str(self.resource[1])

    @property
    def bytes(self) -> int:
        """Return about how much memory the rows take."""
        return size_of(self.resource, self.scope)

    @property
    def digests(self) -> tuple[str, str]:
        """Return what tells this source from all others."""
        return str(self.resource[0]), str(self.scope[0])

    def ids(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Return the ids of the rows of the resource and the scope, which are made where they are missing."""
        return (
            id_of(connection, "resources", _RESOURCE_COLUMNS, self.resource, key=1),
            id_of(connection, "scopes", _SCOPE_COLUMNS, self.scope, key=1),
        )


def source(resource: Resource, scope: InstrumentationScope | None) -> Source:
    """Return the rows of a resource and a scope of the SDK."""
    if scope is None:
        return source_of(resource.attributes, resource.schema_url)
    return source_of(
        resource.attributes,
        resource.schema_url,
        name=scope.name,
        version=scope.version or "",
        scope_attributes=getattr(scope, "attributes", None),
        scope_url=scope.schema_url or "",
    )


def source_of(
    resource: Mapping[str, Any],
    resource_url: str = "",
    *,
    name: str = "",
    version: str = "",
    scope_attributes: Mapping[str, Any] | None = None,
    scope_url: str = "",
) -> Source:
    """Return the rows of a resource and a scope, wherever they come from."""
    attributes, service = to_json(resource), text(resource.get("service.name")) or ""
    more, experiment = to_json(scope_attributes), text(resource.get(prompt_names.EXPERIMENT)) or None
    return Source(
        (_digest(attributes, resource_url), service, attributes, resource_url),
        (_digest(name, version, more, scope_url), name, version, more, scope_url),
        experiment if experiment is None or len(experiment) <= prompt_names.MOST_PROMPT_ID else None,
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
