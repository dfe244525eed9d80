"""Versions of the schema, and the migration from each to the next."""

import sqlite3
from contextlib import closing
from importlib.resources import files
from typing import Final

from .. import semconv
from ..catalogue import prompt_names
from .fingerprint_rows import fill as fill_fingerprints
from .run_columns import FLAG_INDEXES, PROMPT_COLUMNS, VERDICT_COLUMNS

NOW_NS: Final = "CAST(strftime('%s', 'now') AS INTEGER) * 1000000000"

_ATTRIBUTE: Final = (
    "UPDATE runs SET {column} = (SELECT json_extract(attributes, '$.\"{name}\"') FROM spans "
    "WHERE spans.trace_id = runs.trace_id AND spans.span_id = runs.span_id)"
)
_EXPERIMENT: Final = (
    f"(SELECT json_extract(resources.attributes, '$.\"{prompt_names.EXPERIMENT}\"') FROM spans JOIN resources "
    "ON resources.id = spans.resource_id WHERE spans.trace_id = runs.trace_id AND spans.span_id = runs.span_id "
    f"AND json_type(resources.attributes, '$.\"{prompt_names.EXPERIMENT}\"') = 'text')"
)


def _of_prompt(name: str) -> str:
    """Return what a run's event of its prompt has of a name, as SQL: a newer program may have sent it before."""
    definition = semconv.DEFINITIONS["event attribute", name]
    kinds = "'true', 'false'" if definition.type == "boolean" else "'text'"
    return (
        f"(SELECT json_extract(attributes, '$.\"{name}\"') FROM span_events WHERE name = '{prompt_names.PROMPT_EVENT}' "
        "AND span_events.trace_id = runs.trace_id AND span_events.span_id = runs.span_id "
        f"AND json_type(attributes, '$.\"{name}\"') IN ({kinds}) ORDER BY seq LIMIT 1)"
    )


_BY_HAND: Final[dict[int, dict[str, tuple[str, ...]]]] = {
    1: {},
    2: {
        "spans": (
            "ALTER TABLE spans ADD COLUMN ingested_ns INTEGER",
            f"UPDATE spans SET ingested_ns = {NOW_NS}",  # nothing is too old on the day of the upgrade
        ),
        "runs": (
            "ALTER TABLE runs ADD COLUMN entropy_mean REAL",
            "ALTER TABLE runs ADD COLUMN surprisal_mean REAL",
            "ALTER TABLE runs ADD COLUMN margin_mean REAL",
            "ALTER TABLE runs ADD COLUMN label TEXT",
            "ALTER TABLE runs ADD COLUMN duration_ns INTEGER GENERATED ALWAYS AS (end_ns - start_ns) VIRTUAL",
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
    3: {"runs": ("ALTER TABLE runs ADD COLUMN damage TEXT",)},  # NULL: what was refused before is named by `show` alone
    6: {
        "runs": (
            "DROP INDEX IF EXISTS runs_filters",  # has more columns now, and is made anew
            "ALTER TABLE runs ADD COLUMN experiment TEXT",
            "ALTER TABLE runs ADD COLUMN prompt_id TEXT",
            "ALTER TABLE runs ADD COLUMN request_hash TEXT",
            "ALTER TABLE runs ADD COLUMN expected_found INTEGER",
            f"UPDATE runs SET experiment = {_EXPERIMENT}",
            *(f"UPDATE runs SET {column} = {_of_prompt(name)}" for column, name in PROMPT_COLUMNS.items()),
        ),
    },
    # Both have more columns now, and are made anew; so is the table of fingerprints, which is filled from spans.
    7: {"runs": ("DROP INDEX IF EXISTS runs_filters", "DROP INDEX IF EXISTS runs_tokens")},
}
"""Version -> table -> what it lacks of the next version's, beside columns of verdicts."""

_FINGERPRINTS_SINCE: Final = 8

SCHEMA_VERSION: Final = max(*(older + 1 for older in _BY_HAND), *(column.since for column in VERDICT_COLUMNS))


def changes(older: int) -> dict[str, tuple[str, ...]]:
    """Return what a version lacks of the next, by table. Tables that are missing come whole from schema.sql."""
    by_hand = _BY_HAND.get(older, {})
    return {**by_hand, "runs": (*_verdict_changes(older + 1), *by_hand.get("runs", ()))}


def _verdict_changes(version: int) -> list[str]:
    """Return the statements that add the columns of verdicts which are new in a version, and fill them from spans."""
    new = [column for column in VERDICT_COLUMNS if column.since == version]
    if not new:
        return []
    names, values = ", ".join(each.name for each in new), ", ".join(each.from_json("attributes") for each in new)
    same = "spans.trace_id = runs.trace_id AND spans.span_id = runs.span_id"
    return [
        "DROP INDEX IF EXISTS runs_filters",  # which has the flags, and is made anew
        "DROP INDEX IF EXISTS runs_counts",
        *(f"ALTER TABLE runs ADD COLUMN {column.declaration()}" for column in new),
        f"UPDATE runs SET ({names}) = (SELECT {values} FROM spans WHERE {same})",
    ]


def bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, or change those of an older version, inside the caller's transaction.

    Args:
        connection: of the file.
        version: of the file; 0 where it has no tables yet.
    """
    if version >= SCHEMA_VERSION:
        return
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for older in range(max(version, 1), SCHEMA_VERSION):
        for table, lacking in changes(older).items():
            for statement in lacking if table in tables else ():
                connection.execute(statement)
    make_what_is_missing(connection)
    if 0 < version < _FINGERPRINTS_SINCE:
        fill_fingerprints(connection)
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
    for line in _schema().splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            found.append(statement)
            statement = ""
    return found


def _schema() -> str:
    """Return schema.sql with the columns and indexes of verdicts."""
    columns = ",\n  ".join(column.declaration() for column in VERDICT_COLUMNS)
    index = "CREATE INDEX IF NOT EXISTS {} ON runs (start_ns) WHERE {} = 1;"
    places = {
        "  {verdict columns}": f"  {columns}",
        "  {flag columns}": f"  {', '.join(FLAG_INDEXES.values())}",
        "\n{flag indexes}\n": "\n" + "\n".join(index.format(*each) for each in FLAG_INDEXES.items()) + "\n",
    }
    text = files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
    for place, sql in places.items():
        text = text.replace(place, sql)
    return text
