"""Columns of verdicts: what a migration fills them with, and that every row is written from what is declared."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue.verdict import SQL_TYPES, VerdictType
from opentelemetry_instrumentation_corevital.store.migrations import statements
from opentelemetry_instrumentation_corevital.store.run_columns import COLUMN_ATTRIBUTES, VERDICT_COLUMNS, VerdictColumn
from opentelemetry_instrumentation_corevital.store.stored_run import COLUMNS

VALUES: list[tuple[VerdictType, Any, Any]] = [
    ("boolean", True, 1),
    ("boolean", False, 0),
    ("boolean", 1, None),
    ("boolean", "true", None),
    ("int", 7, 7),
    ("int", 7.5, None),
    ("int", True, None),
    ("double", 0.25, 0.25),
    ("double", 1, 1.0),
    ("double", "0.25", None),
    ("string", "low", "low"),
    ("string", 3, None),
    ("string", ["low"], None),
    ("string[]", ["a", "b"], '["a","b"]'),
    ("string[]", [], "[]"),
    ("string[]", "a", "null"),
]


@pytest.mark.parametrize(("kind", "value", "stored"), VALUES)
def test_a_new_column_is_filled_from_the_spans_that_are_there(kind: VerdictType, value: Any, stored: Any) -> None:
    column = VerdictColumn("toy", "corevital.toy", kind, 4)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE runs (attributes TEXT)")
        for attributes in ({"corevital.toy": value}, {"toy": value}):
            connection.execute("INSERT INTO runs VALUES (?)", (json.dumps(attributes),))
        connection.execute(f"ALTER TABLE runs ADD COLUMN {column.declaration()}")
        connection.execute(f"UPDATE runs SET toy = {column.from_json('attributes')}")
        found = [value for (value,) in connection.execute("SELECT toy FROM runs ORDER BY rowid")]
    assert found == [stored, "null" if kind == "string[]" else None], "an attribute that is not there is absent"


def test_every_type_that_a_column_can_have_is_tried() -> None:
    assert {kind for kind, _, _ in VALUES} == SQL_TYPES.keys()


def test_the_tables_and_the_lists_have_every_column_that_is_declared() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements():
            connection.execute(statement)
        table = {name: kind for _, name, kind, *_ in connection.execute("PRAGMA table_xinfo(runs)")}
        filters = [name for _, _, name in connection.execute("PRAGMA index_info(runs_filters)")]
    for column in VERDICT_COLUMNS:
        assert table[column.name] == SQL_TYPES[column.type]
        assert semconv.DEFINITIONS["attribute", column.attribute].type == column.type
    assert filters[-len(semconv.HEALTH_FLAGS) :] == list(semconv.HEALTH_FLAGS)
    assert set(COLUMNS) == table.keys() - {"duration_ns"}
    assert COLUMN_ATTRIBUTES.keys() <= table.keys()
