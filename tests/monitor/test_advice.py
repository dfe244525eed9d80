"""Whether somebody should intervene, and the callbacks."""

from typing import Any

import pytest
import torch

from opentelemetry_instrumentation_corevital import CoreVitalMonitor, StepEvent
from tests.support.saved_models import word_tokenizer
from tests.support.scripted_tokens import looping
from tests.support.tiny_models import prompt, tiny_model

SHORT: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


def test_it_is_true_during_the_run_and_stays_so(model: Any) -> None:
    stream = CoreVitalMonitor().stream(model, prompt(), buffer=1, **looping())
    answers = [(step.warning_signals, stream.should_intervene()) for step in stream]
    first = next(index for index, (signals, _) in enumerate(answers) if "repetition_risk" in signals)
    assert 0 < first < 59
    # The thread is ahead of its reader, by the step in the buffer and the one that waits for room.
    assert not any(answer for _, answer in answers[: first - 2])
    assert all(answer for _, answer in answers[first:])
    advice = stream.intervention()
    assert advice is not None
    assert (advice.step, advice.reason) == (first, "repetition_risk")
    assert advice.evidence["period"] == 10
    assert stream.should_intervene()
    assert stream.get_warning_signals() == ["repetition_risk"]
    assert stream.get_summary()["stop_reason"] == "length"  # it ends nothing


def test_a_running_risk_is_enough(model: Any) -> None:
    monitor = CoreVitalMonitor(intervene_on_risk_above=0.85, intervene_on_signals=())
    monitor.run(model, prompt(), **looping())
    advice = monitor.intervention()
    assert advice is not None
    assert advice.reason == "risk>=0.85"
    assert advice.evidence["value"] >= 0.85
    assert advice.step < 59
    assert monitor.get_risk_so_far() >= 0.85


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, False),
        ({"intervene_on_risk_above": 0.0}, True),
        ({"intervene_on_risk_above": None, "intervene_on_signals": "repetition_loop"}, False),
        ({"intervene_on_signals": [lambda event: event.step_index == 7]}, True),
    ],
)
def test_a_healthy_run_needs_nobody_unless_that_is_asked_for(model: Any, given: Any, expected: bool) -> None:
    monitor = CoreVitalMonitor(**given)
    monitor.run(model, prompt(), **SHORT)
    assert monitor.should_intervene() is expected
    assert (monitor.intervention() is not None) is expected


def test_a_flag_is_enough() -> None:
    monitor = CoreVitalMonitor(intervene_on_risk_above=None, intervene_on_signals=["nan"])
    broken = tiny_model()
    with torch.no_grad():
        broken.lm_head.weight[5] = float("nan")
    monitor.run(broken, prompt(), max_new_tokens=4, do_sample=False)
    advice = monitor.intervention()
    assert advice is not None
    assert (advice.step, advice.reason) == (0, "nan_detected")


def test_the_finished_run_counts_too(model: Any) -> None:
    def finished(event: StepEvent) -> bool:
        return event.token_text is None  # which no step is, where there is a tokenizer

    told = list[tuple[int, str]]()
    monitor = CoreVitalMonitor(intervene_on_signals=finished, on_intervene=lambda *advice: told.append(advice))
    stream = monitor.stream(model, "w3 w4", tokenizer=word_tokenizer(), buffer=1, **SHORT)
    assert [stream.should_intervene() for _ in range(5) if next(stream)] == [False] * 5
    list(stream)
    assert stream.should_intervene()
    assert told == [(7, "finished")]


def test_each_run_is_asked_anew(model: Any) -> None:
    told = list[tuple[int, str]]()
    monitor = CoreVitalMonitor(on_intervene=lambda step, reason: told.append((step, reason)))
    monitor.run(model, prompt(), **looping())
    assert (len(told), told[0][1]) == (1, "repetition_risk")
    monitor.run(model, prompt(), **SHORT)
    assert not monitor.should_intervene()
    monitor.run(model, prompt(), **looping())
    assert told[0] == told[1]


def test_callbacks_come_before_the_step_is_yielded(model: Any) -> None:
    called = list[int]()
    monitor = CoreVitalMonitor(on_step_callback=lambda event: called.append(event.step_index))
    for step in monitor.stream(model, prompt(), **SHORT):
        assert called[step.step_index] == step.step_index
    assert called == list(range(8))


def test_a_callback_stops_the_run(model: Any) -> None:
    plain = model.generate(prompt(), max_new_tokens=40, do_sample=False)
    monitor = CoreVitalMonitor(on_step_callback=lambda event: "stop" if event.step_index == 4 else None)
    made = monitor.run(model, prompt(), max_new_tokens=40, do_sample=False)
    assert torch.equal(made, plain[:, : 6 + 6])  # judged at step 5 from the numbers of step 4
    summary = monitor.get_summary()
    assert summary["stop_reason"] == "policy"
    (acted,) = summary["interventions"]
    assert (acted["kind"], acted["trigger"], acted["step"], acted["tokens_left"]) == ("stop", "callback", 5, 34)


@pytest.mark.parametrize("answer", [True, 1, "STOP", None])
def test_other_answers_stop_nothing(model: Any, answer: Any) -> None:
    monitor = CoreVitalMonitor(on_step_callback=lambda _: answer)
    monitor.run(model, prompt(), **SHORT)
    assert monitor.get_summary()["output_tokens"] == 8


def test_callbacks_that_raise_are_logged_once_and_change_nothing(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any) -> None:
        raise OSError("mine")

    def false_condition(event: StepEvent) -> bool:
        raise OSError("mine")

    plain = model.generate(prompt(), **looping())
    monitor = CoreVitalMonitor(on_step_callback=fail, on_intervene=fail)
    steps = list(monitor.stream(model, prompt(), **looping()))
    assert len(steps) == 60
    assert monitor.runs[0].tokens.tolist() == plain[0, 6:].tolist()
    said = [record.message for record in caplog.records if "failed" in record.message]
    assert len(said) == 2
    assert all(name in " ".join(said) for name in ("on_step_callback", "on_intervene"))
    monitor = CoreVitalMonitor(intervene_on_signals=[false_condition])
    monitor.run(model, prompt(), **SHORT)
    assert not monitor.should_intervene()
