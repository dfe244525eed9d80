"""The page of an evaluation: nothing of a store leaves its place, and pictures have what their tables have."""

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.evaluation.evaluate import evaluate
from opentelemetry_instrumentation_corevital.evaluation.labelled_answers import ANSWER, BASELINES, Answers
from opentelemetry_instrumentation_corevital.evaluation.rejection import risk_coverage
from opentelemetry_instrumentation_corevital.evaluation.reliability import reliability
from opentelemetry_instrumentation_corevital.presentation.evaluation_text import (
    best_baseline,
    headline,
    interval_text,
    not_counted,
)
from opentelemetry_instrumentation_corevital.presentation.pages.evaluation_charts import (
    coverage_chart,
    reliability_chart,
)
from opentelemetry_instrumentation_corevital.presentation.pages.evaluation_file import evaluation_file
from tests.support.html_files import Outline, unnamed

HOSTILE = "</script><img src=x onerror=alert(1)>"


def answers(model: str = "org/a", task: str = "one", n: int = 60, *, shift: float = 0.0) -> Answers:
    rng = np.random.default_rng(n)
    risk = rng.random(n)
    scores = {ANSWER: np.clip(risk + shift, 0, 1), **{name: rng.random(n) for name in BASELINES}}
    prompts = tuple(f"{task} {run}" for run in range(n))
    return Answers(model, task, rng.random(n) < risk, prompts, rng.integers(1, 9, n), scores, {})


def test_names_are_text_and_the_policy_holds() -> None:
    result = evaluate([answers(HOSTILE, HOSTILE)], draws=20)
    text = evaluation_file(result, HOSTILE, source=HOSTILE)
    outline = Outline(text)
    assert "img" not in outline.tags
    assert outline.references == []
    assert unnamed(outline) == []


def test_the_curves_table_is_what_the_curve_shows() -> None:
    scores, wrong = np.arange(20.0), np.arange(20) >= 15
    chart = coverage_chart("x", {"score": risk_coverage(scores, wrong)}, base=0.25)
    assert [row[1] for row in chart["table"]["rows"]] == [
        *["0.0\u202f%"] * 7,
        "6.2\u202f%",
        "16.7\u202f%",
        "25.0\u202f%",
    ]
    few = coverage_chart("x", {"score": risk_coverage(scores[:3], wrong[:3])})
    assert few["table"]["rows"][0] == ["10\u202f%", "\u2013"], "nobody can accept a tenth of three answers"
    assert few["data"]["base"] is None


def test_a_diagram_of_several_models_names_them_in_its_table() -> None:
    bins = reliability(np.array([0.1, 0.9]), np.array([False, True]))
    one, two = (reliability_chart("x", dict.fromkeys(names, bins)) for names in (["a"], ["a", "b"]))
    assert one["table"]["head"][0] == "answer risk, mean"
    assert [row[0] for row in two["table"]["rows"]] == ["a", "a", "b", "b"]
    assert one["data"]["series"][0]["points"] == [
        [0.1, 0.0, 0.0, pytest.approx(0.7934, abs=1e-4), 1],
        [0.9, 1.0, pytest.approx(0.2066, abs=1e-4), 1.0, 1],
    ]


def test_the_conclusions_follow_the_figures() -> None:
    true, off = (evaluate([answers(n=400, shift=shift)], draws=100) for shift in (0.0, 0.4))
    ranking, calibration = headline(true)
    assert "the answer risk is 0." in ranking
    assert " ahead (95 % interval" in ranking
    assert "chance" not in ranking
    assert calibration.endswith("no more than chance explains.")
    assert headline(off)[1].endswith("the probabilities are further off than chance.")
    assert true.mean is not None
    assert f"The best baseline, {best_baseline(true.mean)}, has" in ranking
    assert not_counted(true) is None
    few = evaluate([answers(n=400), answers(task="few", n=4)], draws=20)
    assert (not_counted(few) or "").startswith("1 group is not in the mean")
    assert interval_text(None) == ""
