"""Declarations of verdicts: those that there are hold together, and what is wrong with one is found here."""

from dataclasses import replace
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.catalogue import verdicts
from opentelemetry_instrumentation_corevital.catalogue.verdict import Sentence, problems

LOOP = verdicts.FLAG["repetition_loop_detected"]
SCORE = next(each for each in verdicts.CARRIED if each.path == "risk.score")
WARNING, SIGNAL = verdicts.EARLY_WARNINGS[1], verdicts.COMPOUND[0]


def test_what_is_declared_is_right() -> None:
    verdicts.check()


def test_checking_names_everything_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(LOOP, weight=2.0)
    monkeypatch.setattr(verdicts, "FLAGS", (*verdicts.FLAGS, wrong))
    with pytest.raises(ValueError, match="is declared twice") as caught:
        verdicts.check()
    assert "weight 2.0" in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"name": "nan_detected"}, "the name nan_detected is declared twice"),
        ({"name": "repetition_risk"}, "the name repetition_risk is declared twice"),
        ({"name": "high_entropy_steps"}, "the column high_entropy_steps is declared twice"),
        ({"name": "high_entropy_steps"}, "the attribute corevital.health.high_entropy_steps is declared twice"),
        ({"name": "looping"}, "ends in _detected"),
        ({"name": "x; DROP TABLE runs_detected"}, "lower case"),
        ({"word": "nan"}, "the word nan is declared twice"),
        ({"word": "two words"}, "is not one lower-case word"),
        ({"weight": -0.1}, "its weight -0.1 is not in [0, 1]"),
        ({"weight": float("nan")}, "its weight nan is not in [0, 1]"),
        ({"about": "weather"}, "nothing called weather"),
        ({"since": 0}, "no version 0 of the store"),
        ({"needs": ("weather",)}, "nothing is absent under weather"),
        ({"name": "nan_detected", "label": "NaN"}, "the label NaN is declared twice"),
        ({"needs": ()}, "may not be empty"),
        ({"sentences": ()}, "may not be empty"),
        ({"sentences": (Sentence("at {step"),)}, "'at {step' is no format"),
        ({"sentences": (Sentence("at {} of {0}"),)}, "is no format with names"),
    ],
)
def test_a_wrong_flag_is_found(changed: dict[str, Any], problem: str) -> None:
    flags = [replace(flag, **changed) if flag is LOOP else flag for flag in verdicts.FLAGS]
    assert any(problem in each for each in problems(flags, verdicts.EARLY_WARNINGS, (), verdicts.CARRIED))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"type": "map"}, "there is no type map"),
        ({"type": "double[]"}, "no column of type double[]"),
        ({"column": ""}, "only a column has one"),
        ({"since": 0}, "a column has a version"),
        ({"role": "weather"}, "there is no role weather"),
        ({"between": (1.0, 0.0)}, "has no number"),
        ({"longest": 10}, "text a length"),
        ({"type": "string"}, "numbers have a range"),
        ({"carriers": ("pigeon",)}, "there is no carrier pigeon"),
        ({"column": "nan_detected"}, "the column nan_detected is declared twice"),
        ({"column": "x; DROP TABLE runs"}, "a column is one word"),
        ({"view": "RiskLevel"}, "the column of the view RiskLevel is declared twice"),
        ({"path": "Risk score"}, "needs a path"),
        ({"meaning": ""}, "a meaning"),
        ({"longest": 0}, "no text has at most 0"),
        ({"path": "health.nan_detected"}, "the attribute corevital.health.nan_detected is declared twice"),
    ],
)
def test_a_wrong_attribute_is_found(changed: dict[str, Any], problem: str) -> None:
    carried = [replace(each, **changed) if each is SCORE else each for each in verdicts.CARRIED]
    assert any(problem in each for each in problems(verdicts.FLAGS, (), (), carried))


def test_a_wrong_warning_and_a_wrong_compound_signal_are_found() -> None:
    found = problems(
        (),
        [replace(WARNING, needs="weather"), WARNING],
        [replace(SIGNAL, severity=0.0)],
        (),
    )
    assert found == [
        "the name entropy_rising is declared twice",
        "entropy_rising: nothing is absent under weather",
        "context_loss: its severity 0.0 is not in (0, 1]",
    ]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"name": "Two words"}, "Two words: it is not one word in lower case"),
        ({"name": "entropy"}, "the name entropy is declared twice"),
        ({"name": "risk; DROP"}, "is not one word"),
        ({"signal": "weather"}, "entropy_rising: there is no signal weather"),
        ({"sentence": ""}, "may not be empty"),
    ],
)
def test_a_wrong_warning_is_found(changed: dict[str, Any], problem: str) -> None:
    assert any(problem in each for each in problems((), [replace(WARNING, **changed)], (), ()))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [({"name": ""}, "one word"), ({"needs": ()}, "needs may not be empty"), ({"name": "attention"}, "twice")],
)
def test_a_wrong_compound_signal_is_found(changed: dict[str, Any], problem: str) -> None:
    assert any(problem in each for each in problems((), (), [replace(SIGNAL, **changed)], ()))


def test_a_sentence_fits_evidence_that_has_all_it_names() -> None:
    told = Sentence("{count:.1f} copies of {period}", given=(("exact", True),))
    assert told.of({"count": 3, "period": 8, "exact": True}) == "3.0 copies of 8"
    assert told.of({"count": 3, "period": 8, "exact": False}) is None
    assert told.of({"count": 3, "exact": True}) is None
