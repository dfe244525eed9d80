"""What policies did to a run is told on its span, in its events, metrics and narrative; how it ended everywhere."""

import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital.catalogue import intervention_names
from opentelemetry_instrumentation_corevital.catalogue.definitions import LONGEST_TRIGGER
from opentelemetry_instrumentation_corevital.catalogue.verdicts import CARRIED
from opentelemetry_instrumentation_corevital.run import (
    FINISH_REASONS,
    Intervention,
    InterventionKind,
    InterventionOutcome,
    RollbackMode,
    StopReason,
)
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.described_spans import assert_described, emit
from tests.support.in_memory import instrumented
from tests.support.made_runs import NOT_REPEATING, ROLLED_BACK, STOPPED, intervened, make_run
from tests.support.reported_runs import report
from tests.support.tiny_models import prompt, tiny_model

STOP_REASONS = get_args(StopReason)


def events(span: Any) -> list[Mapping[str, Any]]:
    return [event.attributes for event in span.events if event.name == intervention_names.EVENT]


# --- how it ended ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", STOP_REASONS)
def test_how_a_run_ended_is_on_its_span_and_its_log_events(reason: StopReason) -> None:
    telemetry, run = InMemoryTelemetry(), make_run()
    run.stop_reason, run.finish_reason = reason, FINISH_REASONS[reason]
    report(telemetry, run)
    attributes = dict(telemetry.span.attributes or {})
    assert attributes[semconv.STOP_REASON] == reason
    word = {"length": "length", "time": "length", "error": "error"}.get(reason, "stop")
    assert attributes[semconv.GEN_AI_RESPONSE_FINISH_REASONS] == (word,)
    told = {record.event_name: record.attributes[semconv.STOP_REASON] for record in telemetry.logs}
    assert told == {semconv.EVALUATION_EVENT: reason, semconv.RUN_DATA_EVENT: reason}


def test_a_batch_says_it_of_each_sequence_and_not_of_the_call() -> None:
    telemetry, first, second = InMemoryTelemetry(), intervened(STOPPED), make_run()
    second.stop_reason = "length"
    report(telemetry, first, second)
    *sequences, call = telemetry.spans
    assert [(span.attributes or {})[semconv.STOP_REASON] for span in sequences] == ["policy", "length"]
    assert [(span.attributes or {}).get(semconv.INTERVENTION_KIND) for span in sequences] == ["stop", None]
    assert [len(events(span)) for span in (*sequences, call)] == [1, 0, 0]
    assert not {semconv.STOP_REASON, semconv.INTERVENTION_KIND} & set(call.attributes or {})
    (counted,) = telemetry.metrics()[semconv.METRIC_INTERVENTIONS]
    assert counted.value == 1


def test_what_cannot_be_told_is_absent_with_its_reason() -> None:
    run = make_run()
    run.absent["stop_reason"] = "no stopping criterion was seen to end it"
    attributes = dict(emit(run).attributes or {})
    assert semconv.STOP_REASON not in attributes
    absent = json.loads(str(attributes[semconv.CAPTURE_ABSENT]))
    assert absent["stop_reason"] == "no stopping criterion was seen to end it"


def test_a_real_run_says_how_it_ended() -> None:
    with instrumented() as telemetry:
        tiny_model().generate(prompt(), max_new_tokens=3, do_sample=False, eos_token_id=None)
    assert (telemetry.span.attributes or {})[semconv.STOP_REASON] == "length"


# --- what policies did ---------------------------------------------------------------------------------------------


def test_attributes_are_those_of_the_last_and_every_one_is_an_event() -> None:
    run = intervened(ROLLED_BACK, STOPPED)
    span = emit(run)
    attributes = dict(span.attributes or {})
    assert {name: value for name, value in attributes.items() if ".intervention." in name} == {
        semconv.INTERVENTION_KIND: "stop",
        semconv.INTERVENTION_TRIGGER: "repetition_loop_detected",
        semconv.INTERVENTION_STEP: 30,
        semconv.INTERVENTION_OUTCOME: "stopped",
    }
    first, last = events(span)
    assert first == {
        semconv.INTERVENTION_KIND: "roll_back",
        semconv.INTERVENTION_TRIGGER: "repetition_risk",
        semconv.INTERVENTION_STEP: 20,
        intervention_names.TOKENS_LEFT: 20,
        semconv.INTERVENTION_OUTCOME: "continued",
        intervention_names.ROLLBACK_MODE: "crop",
        intervention_names.TO_STEP: 12,
        intervention_names.EVIDENCE: '{"period":4,"temperature":0.9}',
    }
    assert last[semconv.INTERVENTION_KIND] == "stop"
    times = [event.timestamp for event in span.events if event.name == intervention_names.EVENT]
    assert times == [ROLLED_BACK.time_ns, STOPPED.time_ns]
    assert [event.name for event in span.events][-2:] == [intervention_names.EVENT] * 2, "last of all"
    assert_described(span)


def test_a_run_without_one_has_none_of_it() -> None:
    telemetry = InMemoryTelemetry()
    report(telemetry, make_run())
    assert not [name for name in telemetry.span.attributes or {} if "intervention" in name]
    assert events(telemetry.span) == []
    assert semconv.METRIC_INTERVENTIONS not in telemetry.metrics()


def test_steps_told_as_log_events_leave_them_on_the_span() -> None:
    assert len(events(emit(intervened(STOPPED), step_events="logs"))) == 1


def test_of_many_the_last_are_told_and_what_is_cut_is_said() -> None:
    many = [Intervention("cool_down", "risk>0.9", step, "continued", 1_000_000_000 + step) for step in range(40)]
    span = emit(intervened(*many))
    assert [each[semconv.INTERVENTION_STEP] for each in events(span)] == list(range(25, 40))
    absent = json.loads(str((span.attributes or {})[semconv.CAPTURE_ABSENT]))
    assert absent["intervention_events"] == "25 cut: a span has the last 15"


def test_evidence_that_is_too_large_goes_before_anything_else_does() -> None:
    large = Intervention("stop", "mine", 3, "stopped", 1_000_000_001, evidence={"numbers": ["x" * 100] * 200})
    span = emit(intervened(large))
    (event,) = events(span)
    assert intervention_names.EVIDENCE not in event
    absent = json.loads(str((span.attributes or {})[semconv.CAPTURE_ABSENT]))
    assert absent["intervention_events"] == "evidence cut: span too large"
    assert absent.keys().isdisjoint(("step_events", "series", "layers"))


@pytest.mark.parametrize("recording", [True, False])
def test_the_counter_counts_each_whether_the_span_records_or_not(recording: bool) -> None:
    telemetry = InMemoryTelemetry()
    if not recording:
        telemetry.tracer_provider.sampler = ALWAYS_OFF
    report(telemetry, intervened(ROLLED_BACK, STOPPED, STOPPED))
    counted = {
        (
            point.attributes[semconv.INTERVENTION_KIND],
            point.attributes[semconv.INTERVENTION_TRIGGER],
            point.attributes[semconv.INTERVENTION_OUTCOME],
        ): point.value
        for point in telemetry.metrics()[semconv.METRIC_INTERVENTIONS]
    }
    assert counted == {
        ("roll_back", "repetition_risk", "continued"): 1,
        ("stop", "repetition_loop_detected", "stopped"): 2,
    }


def test_a_long_name_of_a_function_is_cut_to_what_readers_take() -> None:
    named = Intervention("stop", "f" * 5000, 3, "stopped", 1_000_000_001)
    span = emit(intervened(named))
    assert (span.attributes or {})[semconv.INTERVENTION_TRIGGER] == "f" * LONGEST_TRIGGER
    assert events(span)[0][semconv.INTERVENTION_TRIGGER] == "f" * LONGEST_TRIGGER


def test_every_word_is_described_where_its_name_is() -> None:
    meanings = {each.path: each.meaning for each in CARRIED}
    mode = semconv.DEFINITIONS["event attribute", intervention_names.ROLLBACK_MODE]
    meanings["intervention.rollback_mode"] = mode.meaning
    for path, words in (
        ("stop_reason", StopReason),
        ("intervention.kind", InterventionKind),
        ("intervention.outcome", InterventionOutcome),
        ("intervention.rollback_mode", RollbackMode),
    ):
        assert [word for word in get_args(words) if f"`{word}`" not in meanings[path]] == []


# --- the narrative ---------------------------------------------------------------------------------------------------


def narrative(run: Run) -> str:
    return str((emit(run).attributes or {})[semconv.NARRATIVE])


def test_the_narrative_says_what_a_policy_did() -> None:
    told = narrative(intervened(STOPPED))
    assert "and was stopped by a policy; its risk is" in told
    assert "A policy stopped it at step 30: repetition loop." in told
    assert "A policy rolled it back at step 20 to step 12: repetition risk." in narrative(intervened(ROLLED_BACK))


@pytest.mark.parametrize("kind", get_args(InterventionKind))
@pytest.mark.parametrize("outcome", get_args(InterventionOutcome))
def test_every_kind_and_outcome_makes_a_sentence(kind: Any, outcome: Any) -> None:
    told = narrative(intervened(Intervention(kind, "risk>0.9", 7, outcome, 1_000_000_007)))
    assert ": risk>0.9." in told
    assert ("could not" in told) is (outcome == "failed")


def test_of_many_it_names_two_and_says_how_many_more() -> None:
    told = narrative(intervened(ROLLED_BACK, STOPPED, ROLLED_BACK, ROLLED_BACK, STOPPED))
    assert told.count("A policy ") == 2
    assert "repetition loop; 3 more came between." in told


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("looping", [True, False])
def test_it_stays_two_to_four_sentences(count: int, looping: bool) -> None:
    tokens = NOT_REPEATING[:10].tolist() * 12 if looping else NOT_REPEATING[:120]
    run = intervened(*[STOPPED] * count, run=make_run(120, tokens=tokens))
    assert 2 <= narrative(run).count(". ") + 1 <= 4


def test_a_loop_that_a_policy_or_a_client_cut_off_is_still_a_loop() -> None:
    for reason, raised in (("policy", True), ("cancelled", True), ("length", True), ("eos", False)):
        run = make_run(120, tokens=NOT_REPEATING[:10].tolist() * 12)
        run.stop_reason, run.finish_reason = reason, FINISH_REASONS[reason]  # type: ignore[assignment, index]
        assert (emit(run).attributes or {})[semconv.HEALTH_REPETITION_LOOP] is raised, reason


def test_a_cancelled_run_names_no_error() -> None:
    run = make_run()
    run.stop_reason, run.finish_reason = "cancelled", "stop"
    assert narrative(run).startswith("The run generated 40 tokens and was cancelled; its risk is")
