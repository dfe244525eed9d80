"""Versions of the schema, and the way forward from each."""

import sqlite3
from contextlib import closing
from importlib.resources import files
from typing import Final

from .. import semconv

SCHEMA_VERSION: Final = 3

NOW_NS: Final = "CAST(strftime('%s', 'now') AS INTEGER) * 1000000000"

_ATTRIBUTE: Final = (
    "UPDATE runs SET {column} = (SELECT json_extract(attributes, '$.\"{name}\"') FROM spans "
    "WHERE spans.trace_id = runs.trace_id AND spans.span_id = runs.span_id)"
)
_CHANGES: Final[dict[int, dict[str, tuple[str, ...]]]] = {
    1: {
        "runs": (
            "ALTER TABLE runs ADD COLUMN attention_collapse_detected INTEGER",
            "ALTER TABLE runs ADD COLUMN mid_layer_anomaly_detected INTEGER",
        ),
    },
    2: {
        "spans": (
            "ALTER TABLE spans ADD COLUMN ingested_ns INTEGER",
            f"UPDATE spans SET ingested_ns = {NOW_NS}",  # nothing is too old on the day of the upgrade
        ),
        "runs": (
            "ALTER TABLE runs ADD COLUMN risk_method TEXT",
            "ALTER TABLE runs ADD COLUMN entropy_mean REAL",
            "ALTER TABLE runs ADD COLUMN surprisal_mean REAL",
            "ALTER TABLE runs ADD COLUMN margin_mean REAL",
            "ALTER TABLE runs ADD COLUMN label TEXT",
            "ALTER TABLE runs ADD COLUMN duration_ns INTEGER GENERATED ALWAYS AS (end_ns - start_ns) VIRTUAL",
            _ATTRIBUTE.format(column="risk_method", name=semconv.RISK_METHOD),
            _ATTRIBUTE.format(column="entropy_mean", name=semconv.ENTROPY_MEAN),
            _ATTRIBUTE.format(column="surprisal_mean", name=semconv.SURPRISAL_MEAN),
            _ATTRIBUTE.format(column="margin_mean", name=semconv.MARGIN_MEAN),
        ),
        "logs": (
            "ALTER TABLE logs ADD COLUMN digest BLOB",
            "ALTER TABLE logs ADD COLUMN ingested_ns INTEGER",
            f"UPDATE logs SET ingested_ns = {NOW_NS}",
        ),
        "metric_points": (
            "ALTER TABLE metric_points ADD COLUMN ingested_ns INTEGER",
            f"UPDATE metric_points SET ingested_ns = {NOW_NS}",
        ),
    },
}
"""Version -> table -> what it lacks of the next version's. Tables that are missing come whole from schema.sql."""


def bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, or change those of an older version, inside the caller's transaction.

    Args:
        connection: of the file.
        version: of the file; 0 where it has no tables yet.
    """
    if version >= SCHEMA_VERSION:
        return
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for older in range(version, SCHEMA_VERSION):
        changes = _CHANGES.get(older, {})
        for statement in (each for table in tables & changes.keys() for each in changes[table]):
            connection.execute(statement)
    make_what_is_missing(connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def make_what_is_missing(connection: sqlite3.Connection) -> None:
    """Make the tables and indexes that a file lacks."""
    for statement in statements():
        connection.execute(statement)


def differences(connection: sqlite3.Connection) -> list[str]:
    """Return how a file's tables and indexes differ from what this version makes, a sentence each; empty: not at all.

    What is there in addition is nobody's business: people add views and indexes of their own.
    """
    with closing(sqlite3.connect(":memory:")) as fresh:
        make_what_is_missing(fresh)
        wanted = _objects(fresh)
    found, problems = _objects(connection), []
    for name, (kind, columns) in wanted.items():
        there = found.get(name)
        if there is None:
            problems.append(f"the {kind} {name} is missing")
        elif there[0] != kind:
            problems.append(f"{name} is a {there[0]}, not a {kind}")
        elif kind == "table" and (lacks := sorted(set(columns) - set(there[1]))):
            problems.append(f"the table {name} has no column {', '.join(lacks)}")
        elif kind == "index" and columns != there[1]:
            problems.append(f"the index {name} is on {', '.join(there[1])}, not {', '.join(columns)}")
    return problems


def _objects(connection: sqlite3.Connection) -> dict[str, tuple[str, list[str]]]:
    """Return the kind and the columns of every table, view, index and trigger, by name."""
    objects: dict[str, tuple[str, list[str]]] = {}
    for kind, name in connection.execute(
        "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY rowid"
    ).fetchall():
        quoted = name.replace('"', '""')
        pragma = f'PRAGMA index_info("{quoted}")' if kind == "index" else f'PRAGMA table_xinfo("{quoted}")'
        column = 2 if kind == "index" else 1
        objects[name] = (kind, [str(row[column]) for row in connection.execute(pragma)])
    return objects


def statements() -> list[str]:
    """Return the statements of schema.sql."""
    found, statement = [], ""
    for line in files(__package__).joinpath("schema.sql").read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            found.append(statement)
            statement = ""
    return found
