"""The answer risk in words: the number and what moved it, or why there is none."""

import json
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.presentation.answer_text import answer_text
from opentelemetry_instrumentation_corevital.presentation.panel import verdict_lines
from opentelemetry_instrumentation_corevital.presentation.run_table import runs_table
from opentelemetry_instrumentation_corevital.presentation.shown_run import ShownSummary
from opentelemetry_instrumentation_corevital.run import AnswerRisk, Run
from tests.support.made_runs import make_run

TOO_LONG = "longer than the answers that it was fitted on (32 tokens)"
TOLD = {
    semconv.RISK_ANSWER: 0.8123,
    semconv.RISK_ANSWER_SUPPORT: True,
    semconv.RISK_ANSWER_FACTORS: ["surprisal_scaled=+0.900", "margin_mean=-0.400"],
}
ABSENT = {semconv.RISK_ANSWER_SUPPORT: False, semconv.CAPTURE_ABSENT: json.dumps({"answer_risk": TOO_LONG})}


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        (TOLD, "0.81 (surprisal scaled +0.900, margin mean -0.400)"),
        ({semconv.RISK_ANSWER: 0.5}, "0.50"),
        (ABSENT, f"none: {TOO_LONG}"),
        ({semconv.RISK_ANSWER_SUPPORT: False}, "none: it is outside the support"),
        ({}, None),
    ],
)
def test_the_panel_has_one_line_of_it(attributes: dict[str, Any], line: str | None) -> None:
    lines = dict(verdict_lines(attributes))
    assert lines.get("answer risk") == line
    assert "not there" not in lines, "the reason is told once"
    assert answer_text(attributes, json.loads(attributes.get(semconv.CAPTURE_ABSENT, "{}"))) == line


def answering(probability: float | None) -> Run:
    run = make_run(3)
    run.answer = AnswerRisk(probability, probability is not None, "logistic-1", (), None)
    return run


def test_a_list_has_a_column_where_one_run_has_it() -> None:
    some = [ShownSummary(answering(each)) for each in (0.8123, None)]
    table, left_out = runs_table(some, 200)
    (column,) = (each for each in table.columns if each.header == "answer")
    assert [str(cell) for cell in column.cells] == ["0.81", "-"]
    assert "answer" not in left_out
    table, _ = runs_table(some[1:], 200)
    assert "answer" not in [each.header for each in table.columns]
