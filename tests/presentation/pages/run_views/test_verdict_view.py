"""The verdict on a run's page: evidence, what to do, and what is not known."""

import json
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue.verdicts import COMPOUND, EARLY_WARNINGS, FLAGS
from opentelemetry_instrumentation_corevital.presentation.pages.run_views.verdict_view import (
    advice_of,
    answer_view,
    blame_view,
    flags_view,
    risk_view,
    warnings_view,
)
from opentelemetry_instrumentation_corevital.store import StoredRun
from tests.support.stored_runs import stored_with


def stored(folder: Path, **changes: Any) -> StoredRun:
    return stored_with(folder, **changes)


def test_a_raised_flag_comes_first_with_its_evidence_and_what_to_do(tmp_path: Path) -> None:
    evidence = {"repetition_loop_detected": {"onset_step": 12, "period": 4}}
    run = stored(tmp_path, **{semconv.HEALTH_REPETITION_LOOP: True, semconv.HEALTH_EVIDENCE: json.dumps(evidence)})
    first, *rest = flags_view(run)
    assert (first["name"], first["state"], first["step"]) == ("repetition loop", "raised", 12)
    assert first["evidence"] == "onset step 12, period 4"
    assert first["advice"].startswith("Cut the answer back to `onset_step`")
    assert len(rest) == len(FLAGS) - 1


def test_the_answer_risk_has_its_factors_or_says_why_there_is_none(tmp_path: Path) -> None:
    told = {semconv.RISK_ANSWER: 0.8, semconv.RISK_ANSWER_METHOD: "logistic-1", semconv.RISK_ANSWER_SUPPORT: True}
    run = stored(tmp_path / "a", **told, **{semconv.RISK_ANSWER_FACTORS: ["surprisal_scaled=+0.900"]})
    factors = [("surprisal scaled", "+0.900")]
    assert answer_view(run) == {"probability": 0.8, "method": "logistic-1", "factors": factors, "why_absent": ""}
    absent = {semconv.RISK_ANSWER_SUPPORT: False, semconv.CAPTURE_ABSENT: json.dumps({"answer_risk": "too long"})}
    found = answer_view(stored(tmp_path / "b", **absent))
    assert found is not None
    assert (found["probability"], found["why_absent"]) == (None, "too long")
    assert answer_view(stored(tmp_path / "c")) is None, "a run of an older version"


def test_a_flag_that_was_not_judged_says_why(tmp_path: Path) -> None:
    absent = {"mid_layer_anomaly_detected": "no_baseline"}
    run = stored(tmp_path, **{semconv.CAPTURE_ABSENT: json.dumps(absent)})
    (found,) = (each for each in flags_view(run) if each["name"] == "middle-layer anomaly")
    assert found["why"] == "too few runs yet say what is usual for the model"


def test_factors_are_names_and_parts_of_the_score(tmp_path: Path) -> None:
    run = stored(tmp_path, **{semconv.RISK_FACTORS: ["repetition_loop_detected=0.900", "odd", "x=nan", "y=1e9"]})
    assert risk_view(run)["factors"][:2] == [{"name": "repetition loop", "part": 0.9}, {"name": "odd", "part": None}]
    assert all(each["part"] is None or 0 <= each["part"] <= 1 for each in risk_view(run)["factors"])


def test_warnings_come_in_their_order_and_those_that_did_not_last_behind(tmp_path: Path) -> None:
    evidence = {"entropy_rising": {"step": 30, "value": 5.0}, "repetition_risk": {"step": 9, "lasting": False}}
    run = stored(
        tmp_path,
        **{
            semconv.WARNINGS: ["entropy_rising"],
            semconv.EARLY_WARNING_SIGNALS: ["repetition_risk", "entropy_rising"],
            semconv.EARLY_WARNING_EVIDENCE: json.dumps(evidence),
        },
    )
    found = warnings_view(run)
    assert found is not None
    assert [(each["name"], each["step"], each["lasted"]) for each in found] == [
        ("entropy rising", 30, True),
        ("repetition risk", 9, False),
    ]
    assert found[0]["evidence"] == "value 5.0"


def test_blamed_layers_have_reasons_and_severities_even_where_some_were_dropped(tmp_path: Path) -> None:
    run = stored(tmp_path, **{semconv.BLAME_LAYERS: [7, 3], semconv.BLAME_REASONS: ["norm: 9"]})
    layers = blame_view(run)["layers"]
    assert [each["layer"] for each in layers] == [7, 3]
    assert layers[0] == {"layer": 7, "reason": "norm: 9", "severity": None}
    assert "not known" in layers[1]["reason"]


@pytest.mark.parametrize("name", [each.name for each in (*FLAGS, *EARLY_WARNINGS, *COMPOUND)])
def test_the_catalogue_says_what_to_do_about_each_in_words_of_its_own(name: str) -> None:
    advice = advice_of(name)
    assert advice
    assert not advice.startswith("As `"), "advice that refers to another one is replaced by it"
    assert "{{" not in advice
