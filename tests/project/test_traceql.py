"""The TraceQL of docs/integrations.md asks for attributes that there are, with values of their types."""

import re
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store.filters import LEVELS, STOP_REASONS

PAGE = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text("utf-8")
QUERIES = [line for block in re.findall(r"```traceql\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]

WORDS = {semconv.RISK_LEVEL: LEVELS, semconv.STOP_REASON: STOP_REASONS}
VALUES = {
    "string": r'"[^"]*"',
    "boolean": r"true|false",
    "double": r"-?\d+(\.\d+)?",
    "int": r"-?\d+",
}
OPERATORS = {"string": {"=", "!=", "=~", "!~"}, "boolean": {"=", "!="}}
NUMBERS = {"=", "!=", "<", "<=", ">", ">="}


def test_the_page_has_queries() -> None:
    assert len(QUERIES) >= 5
    assert "{ span.corevital.risk.score > 0.7 }" in QUERIES
    assert any(semconv.ASSESSMENT in query for query in QUERIES)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_there_is(query: str) -> None:
    assert query.count("{") == query.count("}") == 1
    names = re.findall(r"span\.([a-z0-9_.]+)", query)
    assert names
    assert {("attribute", name) for name in names} <= semconv.DEFINITIONS.keys()
    for name, operator, value in re.findall(r"span\.([a-z0-9_.]+)\)? ?([=!<>~]+) ?(\"[^\"]*\"|\S+)", query):
        kind = semconv.DEFINITIONS["attribute", name].type
        assert re.fullmatch(VALUES[kind], value), (name, kind, value)
        assert operator in OPERATORS.get(kind, NUMBERS), (name, kind, operator)
        if name in WORDS and operator == "=":
            assert value.strip('"') in WORDS[name]
