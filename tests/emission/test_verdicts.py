"""A run's verdicts are the same on every carrier, since one function makes the attributes of all of them."""

from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.assessment.verdict_attributes import (
    call_attributes,
    carried_attributes,
    verdict_attributes,
)
from opentelemetry_instrumentation_corevital.catalogue.verdicts import CARRIED, FLAGS
from opentelemetry_instrumentation_corevital.emission.judgements import ROLES
from opentelemetry_instrumentation_corevital.store.span_rows import RUN_COLUMNS, span_rows
from opentelemetry_instrumentation_corevital.store.stored_run import COLUMNS, summary_of
from tests.support.described_spans import long_run
from tests.support.largest_run import run_with_everything, usual
from tests.support.made_runs import add_layers
from tests.support.verdict_carriers import Attributes, reported

EVERY = [*semconv.HEALTH_FLAGS.values(), *semconv.VERDICTS.values()]


def verdicts_of(attributes: Any) -> Attributes:
    """Return the verdicts among a carrier's attributes, lists as lists, in their order."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items() if k in EVERY}


def test_a_run_that_has_everything_has_the_same_verdicts_everywhere() -> None:
    run = run_with_everything(1)
    run.columns["margin"][1500:] = 0.9  # a compound signal, too
    (span,), logs = reported([run], usual=usual())
    said = verdicts_of(span.attributes)
    assert said == verdict_attributes(run)
    of_answers = {semconv.RISK_ANSWER, semconv.RISK_ANSWER_FACTORS}
    assert said.keys() == set(EVERY) - of_answers, "a run that failed has every verdict but that on its answer"
    by_role = [name for role in ROLES for name in verdict_attributes(run, role)]  # type: ignore[arg-type]
    no_judgement = {
        semconv.WARNINGS,
        semconv.ASSESSMENT,
        *verdict_attributes(run, "outcome"),
        *verdict_attributes(run, "baseline"),
    }
    assert [name for name in said if name not in no_judgement] == by_role
    routed = carried_attributes(run, "route")
    outcome = [semconv.STOP_REASON, semconv.INTERVENTION_KIND]
    assert list(routed) == [*outcome, semconv.RISK_SCORE, semconv.RISK_LEVEL, *semconv.HEALTH_FLAGS.values()]
    assert routed == {name: said[name] for name in routed}
    assert {name for name, _ in logs} == {semconv.EVALUATION_EVENT, semconv.RUN_DATA_EVENT, semconv.CONTENT_EVENT}
    for _, attributes in logs:
        assert list(verdicts_of(attributes).items()) == list(routed.items())
    row = span_rows(span).run
    assert row is not None
    summary = summary_of(tuple({**dict(zip(RUN_COLUMNS, row, strict=True)), "label": None}[name] for name in COLUMNS))
    for flag in FLAGS:
        assert getattr(summary, flag.name) == said[flag.attribute]
    for each in CARRIED:
        if each.column and each.attribute not in of_answers:
            stored = getattr(summary, each.column)
            assert (list(stored) if isinstance(stored, tuple) else stored) == said[each.attribute], each.column


def test_a_span_with_few_attributes_keeps_the_most_needed() -> None:
    run = run_with_everything(1)
    (span,), _ = reported([run], limit=22)
    kept = carried_attributes(run, "keep")
    assert list(kept)[:2] == [semconv.NARRATIVE, semconv.WARNINGS]
    assert verdicts_of(span.attributes) | kept == verdicts_of(span.attributes)
    assert kept.keys() - carried_attributes(run, "route").keys() == {
        semconv.NARRATIVE,
        semconv.WARNINGS,
        semconv.ASSESSMENT,
    }


@pytest.mark.parametrize("judged", [True, False])
def test_a_calls_span_has_the_worst_of_its_sequences(judged: bool) -> None:
    runs = []
    for index in range(3):
        run = add_layers(long_run(60), 6)
        run.sequence_index, run.sequence_count = index, 3
        if not judged:
            run.columns = {}
        elif index == 1:
            run.columns["hidden_nan"][5:, 2] = 4
        runs.append(run)
    (*children, call), _ = reported(runs)
    for run, child in zip(runs, children, strict=True):
        assert verdicts_of(child.attributes) == verdict_attributes(run)
    said = {name: value for name, value in call.attributes.items() if name in call_attributes(runs)}
    assert said == call_attributes(runs)
    line = "high 1.00: NaN in layer 2 from step 5, and 2 more flags"
    worst = {semconv.RISK_SCORE: 1.0, semconv.RISK_LEVEL: "high", semconv.ASSESSMENT: line} if judged else {}
    assert said == {semconv.SEQUENCE_COUNT: 3, semconv.SEQUENCE_FLAGGED: int(judged), **worst}
    assert verdicts_of(call.attributes) == worst


def test_what_was_not_judged_and_what_no_attribute_holds_is_not_there() -> None:
    run = long_run(3)
    assert verdict_attributes(run) == {semconv.WARNINGS: []}
    reported([run])
    assert run.risk is not None
    line = verdict_attributes(run, "assessment")
    assert line == {semconv.ASSESSMENT: "low 0.00: nothing found"}
    object.__setattr__(run.risk, "score", np.float32("nan"))
    assert semconv.RISK_SCORE not in verdict_attributes(run, "risk")
    assert call_attributes([run, run]) == {semconv.SEQUENCE_COUNT: 2, semconv.SEQUENCE_FLAGGED: 0}
