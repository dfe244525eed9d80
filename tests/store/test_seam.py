"""SQL stays in the store, and what describes a source of runs knows no database."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

import opentelemetry_instrumentation_corevital
from tests.support.spans import run_code

PACKAGE = opentelemetry_instrumentation_corevital.__name__
SOURCE = Path(opentelemetry_instrumentation_corevital.__file__).parent
NEUTRAL = (
    "arriving_steps",
    "comparison",
    "store_error",
    "filters",
    "intervals",
    "labels",
    "opening",
    "source",
    "stored_run",
)
"""Modules of the store that any source of runs uses."""
STATEMENT = re.compile(
    r"\b(SELECT\s.+\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|VIEW|TRIGGER)\s|PRAGMA\s+\w|BEGIN\s+IMMEDIATE|ATTACH\s+DATABASE)"
    # Clauses, of which a statement could be put together.
    r"|\b(?-i:WHERE|ORDER\s+BY|GROUP\s+BY|JOIN|LIMIT)\s+\S",
    re.IGNORECASE | re.DOTALL,
)
EXECUTES = ("execute", "executemany", "executescript")


def sql_in(code: str) -> Iterator[str]:
    """Yield what of a module's code speaks to a database: imports, calls, statements; docstrings are prose."""
    tree = ast.parse(code)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Constant) and node.value == "sqlite3":
            names = ["sqlite3"]  # import_module("sqlite3")
        if any(name.partition(".")[0] in ("sqlite3", "_sqlite3", "aiosqlite", "sqlalchemy") for name in names):
            yield f"line {node.lineno}: {names}"
        if isinstance(node, ast.Attribute) and node.attr in EXECUTES:
            yield f"line {node.lineno}: .{node.attr}"
        text = None
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            text = node.value
        if text is not None and STATEMENT.search(text):
            yield f"line {node.lineno}: {text[:60]!r}"


def test_there_is_no_sql_outside_of_the_store() -> None:
    modules = [path for path in SOURCE.rglob("*.py") if path.parent.name != "store"]
    assert len(modules) > 100
    found = {str(path.relative_to(SOURCE)): list(sql_in(path.read_text(encoding="utf-8"))) for path in modules}
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize(
    "code",
    [
        "import sqlite3",
        "from sqlite3 import connect",
        "importlib.import_module('sqlite3')",
        "connection.execute(sql)",
        "run = connection.executemany",
        "sql = 'SELECT model, count(*) FROM runs'",
        "sql = f'select {columns}\\n from {table} where x = 1'",
        "sql = 'INSERT OR REPLACE INTO runs VALUES (?)'",
        "sql = f'UPDATE {table} SET x = 1'",
        "sql = 'DELETE FROM runs'",
        "sql = 'CREATE TABLE runs (x)'",
        "sql = 'PRAGMA user_version'",
        "sql += ' WHERE model = ?'",
        "sql = base + 'ORDER BY start_ns'",
    ],
)
def test_sql_is_found(code: str) -> None:
    assert list(sql_in(code))


@pytest.mark.parametrize(
    "code",
    ["x = 'select runs of a model'", "x = 'update the set'", "def f():\n    'SELECT x FROM y '", "x = 'where it is'"],
)
def test_prose_is_none(code: str) -> None:
    assert not list(sql_in(code))


@pytest.mark.parametrize("name", NEUTRAL)
def test_what_any_source_uses_knows_no_database(name: str) -> None:
    assert not list(sql_in((SOURCE / "store" / f"{name}.py").read_text(encoding="utf-8")))


def test_the_protocol_is_there_without_sqlite() -> None:
    done = run_code(
        """
        import sys
        sys.modules["sqlite3"] = None
        from opentelemetry_instrumentation_corevital.store import Cursor, RunFilter, RunPage, RunSource, StoredRun
        from opentelemetry_instrumentation_corevital.store.opening import SOURCES, open_store
        """
    )
    assert done.returncode == 0, done.stderr


def test_no_module_of_the_store_imports_what_imports_it() -> None:
    graph = grimp.build_graph(PACKAGE)  # imports for types and inside of functions are among them
    modules = sorted(name for name in graph.modules if name.startswith(f"{PACKAGE}.store."))
    assert len(modules) > 30
    assert [name for name in modules if name in graph.find_upstream_modules(name)] == []
    inside = {name: set(graph.find_upstream_modules(name)) for name in modules}
    circles = [(a, b) for a in modules for b in inside[a] & set(modules) if a in inside[b]]
    assert circles == []
