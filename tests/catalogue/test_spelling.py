"""Flags and warnings have one spelling for people and one for programs, wherever they are shown or given."""

import json

import pytest
from rich.console import Console

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue.absence import REASONS
from opentelemetry_instrumentation_corevital.catalogue.spelling import (
    _REASONS,
    LABELS,
    factor_for_people,
    for_people,
)
from opentelemetry_instrumentation_corevital.catalogue.verdicts import COMPOUND, EARLY_WARNINGS, FLAGS
from opentelemetry_instrumentation_corevital.presentation.panel import verdict_panel
from opentelemetry_instrumentation_corevital.presentation.run_table import runs_table, verdict_line
from opentelemetry_instrumentation_corevital.store import RunFilter, StoreError
from opentelemetry_instrumentation_corevital.store.span_run import run_of_span
from opentelemetry_instrumentation_corevital.store.stored_run import StoredRun
from tests.support.spans import make_spans

EARLY = tuple(each.name for each in EARLY_WARNINGS)
WARNINGS = ("high_entropy_share", *EARLY[1:], *(each.name for each in COMPOUND))
"""Those that lasted: all but the first early warning."""


def judged() -> StoredRun:
    """Return a run with every flag and every warning, but for one that did not last."""
    numbers = {name: {"step": 3, "value": 1.5} for name in (*EARLY, *WARNINGS)}
    verdicts = {
        **{flag.attribute: True for flag in FLAGS},
        semconv.RISK_FACTORS: [f"{flag.name}=0.100" for flag in FLAGS],
        semconv.WARNINGS: WARNINGS,
        semconv.HEALTH_EVIDENCE: json.dumps({"high_entropy_steps": {"steps": 12}}),
        semconv.EARLY_WARNING_SIGNALS: EARLY,
        semconv.EARLY_WARNING_EVIDENCE: json.dumps(numbers),
        semconv.EARLY_WARNING_FAILURE_RISK: 0.5,
        semconv.COMPOUND_SIGNALS: [each.name for each in COMPOUND],
        semconv.COMPOUND_EVIDENCE: json.dumps(numbers),
    }
    run = run_of_span(make_spans(**verdicts)[0])
    assert run is not None
    assert not run.damage
    return run


def printed(what: object) -> str:
    console = Console(width=1000, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def line(panel: str, name: str) -> str:
    """Return a line of a panel and those that go on with it."""
    after = panel.partition(f"│ {name} ")[2].splitlines()
    more = [each for each in after[1:] if each.startswith("│  ")]
    return " ".join(" ".join([after[0], *more[: len(more)]]).replace("│", " ").split())


def test_people_never_see_a_programs_name() -> None:
    run = judged()
    panel, table = printed(verdict_panel(run.attributes)), printed(runs_table([run.summary], 1000)[0])
    for shown in (panel, table, printed(verdict_line(run.summary)), run._repr_html_(), run.summary._repr_html_()):
        for name, label in LABELS.items():
            assert name not in shown or name == label or name in ("nan", "inf"), name
    for flag in FLAGS:
        assert all(flag.label in shown for shown in (panel, table, run._repr_html_()))


def test_the_panel_and_the_list_have_the_same_warnings() -> None:
    run = judged()
    panel, table = printed(verdict_panel(run.attributes)), printed(runs_table([run.summary], 1000)[0])
    told, passed = panel.partition("│ not lasting")[0].partition("│ warnings")[2], line(panel, "not lasting")
    for name in WARNINGS:
        assert for_people(name) in table
        assert for_people(name) in told
        assert for_people(name) not in passed
    assert for_people(EARLY[0]) not in table
    assert for_people(EARLY[0]) not in told
    assert for_people(EARLY[0]) in passed
    assert "step 3: entropy rising (value 1.5)" in told
    assert "high entropy share (steps 12)" in told


def test_a_panel_has_one_risk() -> None:
    panel = printed(verdict_panel(judged().attributes))
    assert panel.replace("repetition risk", "").count("risk") == 1


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.word)
def test_a_filter_takes_a_flag_in_every_spelling(flag: object) -> None:
    name, short, label = flag.name, flag.short, flag.label  # type: ignore[attr-defined]
    assert {RunFilter(flag=given).flag for given in (name, short, label, label.upper(), f" {name} ")} == {name}


def test_what_is_no_flag_is_refused_with_the_names_of_those_there_are() -> None:
    with pytest.raises(StoreError, match=r"unknown flag 'loop'; flags are nan_detected, .*repetition_loop_detected"):
        RunFilter(flag="loop")


def test_no_two_things_read_alike() -> None:
    by_label: dict[str, set[str]] = {}
    for name, label in LABELS.items():
        by_label.setdefault(label, set()).add(name.removesuffix("_detected"))
    assert {label: names for label, names in by_label.items() if len(names) > 1} == {}


@pytest.mark.parametrize(
    ("factor", "read"),
    [
        ("repetition_loop_detected=0.900", "repetition loop 0.900"),
        ("repetition_loop=0.9", "repetition loop 0.9"),  # of a migrated report
        ("somebody_elses=1", "somebody elses 1"),
        ("a=b=0.5", "a=b 0.5"),
        ("alone", "alone"),
        ("", ""),
    ],
)
def test_factors_read_as_names_and_parts(factor: str, read: str) -> None:
    assert factor_for_people(factor) == read


def test_programs_get_names() -> None:
    row = judged().summary.as_dict()
    assert row["warnings"] == WARNINGS
    assert all(row[flag.name] is True for flag in FLAGS)


def test_a_reason_is_a_sentence_for_people_and_a_code_for_programs() -> None:
    assert set(_REASONS) <= set(REASONS)
    run = run_of_span(make_spans(**{semconv.CAPTURE_ABSENT: json.dumps({"layer_anomaly_detected": "no_baseline"})})[0])
    assert run is not None
    panel = printed(verdict_panel(run.attributes))
    assert "layer anomaly: too few runs yet say what is usual for the model" in panel
