"""`Retry`: a bad run is repeated with other settings, and both say so."""

from typing import Any

import pytest
import torch
from transformers import DynamicCache

from opentelemetry_instrumentation_corevital import CoreVitalMonitor, open_store
from opentelemetry_instrumentation_corevital.policies import Retry, Stop
from tests.support.in_memory import instrumented
from tests.support.scripted_tokens import looping
from tests.support.tiny_models import padded_batch, prompt, tiny_model

PLAIN: dict[str, Any] = {"logits_processor": None, "do_sample": False, "max_new_tokens": 20}


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


def test_a_loop_is_repeated_in_a_linked_run(model: Any) -> None:
    with instrumented() as telemetry:
        monitor = CoreVitalMonitor(policies=[Retry(changes=PLAIN)])
        made = monitor.run(model, prompt(), **looping())
        first, second = telemetry.spans
    assert torch.equal(made, model.generate(prompt(), **PLAIN))
    assert [link.context.span_id for link in second.links] == [first.context.span_id]  # type: ignore[union-attr]
    assert not first.links
    summary = monitor.get_summary()
    assert (summary["retries"], summary["output_tokens"], summary["interventions"]) == (1, 20, [])
    assert int(summary["trace_id"], 16) == second.context.trace_id  # type: ignore[union-attr]


def test_the_run_that_is_repeated_says_so(model: Any) -> None:
    from tests.support.in_memory import Keep

    kept = Keep()
    with instrumented(judgements=[kept]):
        CoreVitalMonitor(policies=[Retry(changes=PLAIN)]).run(model, prompt(), **looping())
    first, second = kept.runs
    (acted,) = first.interventions
    assert (acted.kind, acted.trigger, acted.outcome) == ("retry", "repetition_loop_detected", "continued")
    assert (acted.step, acted.evidence["period"], acted.evidence["changes"]) == (59, 10, PLAIN)
    assert second.interventions == ()


def test_it_is_repeated_max_times_and_no_more(model: Any) -> None:
    with instrumented() as telemetry:
        monitor = CoreVitalMonitor(policies=[Retry(changes={"max_new_tokens": 50}, max=2)])
        assert monitor.run(model, prompt(), **looping()).shape == (1, 56)
        assert len(telemetry.spans) == 3
    assert monitor.get_summary()["retries"] == 2
    assert monitor.should_intervene()


def test_what_was_stopped_may_be_repeated(model: Any) -> None:
    monitor = CoreVitalMonitor(policies=[Stop(on="repetition_risk"), Retry(on="repetition_risk", changes=PLAIN)])
    assert monitor.run(model, prompt(), **looping()).shape == (1, 26)
    assert monitor.get_summary()["stop_reason"] == "length"


def test_a_threshold_or_a_function_of_the_run_decides(model: Any) -> None:
    for on, retries in (
        ("risk>0.5", 1),
        ("risk>0.95", 0),
        (lambda event: "repetition_loop_detected" in event.flags, 1),
    ):
        monitor = CoreVitalMonitor(policies=[Retry(on=on, changes=PLAIN)])
        monitor.run(model, prompt(), **looping())
        assert monitor.get_summary()["retries"] == retries


def test_a_healthy_run_and_one_that_fails_are_not_repeated(model: Any) -> None:
    monitor = CoreVitalMonitor(policies=[Retry(on=lambda _: True, changes=PLAIN)])
    with pytest.raises(ValueError, match="max_new_tokens"):
        monitor.run(model, prompt(), max_new_tokens=-1)
    monitor = CoreVitalMonitor(policies=[Retry()])
    monitor.run(model, prompt(), **PLAIN)
    assert monitor.get_summary()["retries"] == 0


def test_several_sequences_are_not_repeated_and_that_is_said(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    monitor = CoreVitalMonitor(policies=[Retry()])
    monitor.run(model, padded_batch(), **looping())
    assert monitor.get_summary()["retries"] == 0
    assert caplog.text.count("Retry cannot act on a call of several sequences") == 1


def test_every_attempt_is_stored(model: Any, tmp_path: Any) -> None:
    monitor = CoreVitalMonitor(policies=[Retry(changes=PLAIN)], store=tmp_path / "monitor.db")
    monitor.run(model, prompt(), **looping())
    with open_store(tmp_path / "monitor.db") as store:
        assert sorted(run.output_tokens or 0 for run in store.runs()) == [20, 60]


@pytest.mark.parametrize("used_up", ["streamer", "past_key_values"])
def test_what_a_run_uses_up_is_not_used_again(used_up: str, model: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Streamer:
        ends = 0

        def put(self, value: Any) -> None:
            """Take it."""

        def end(self) -> None:
            self.ends += 1

    streamer = Streamer()
    given = {"streamer": streamer} if used_up == "streamer" else {"past_key_values": DynamicCache(config=model.config)}
    monitor = CoreVitalMonitor(policies=[Retry(changes=PLAIN)])
    assert monitor.run(model, prompt(), **looping(), **given).shape == (1, 66)
    assert monitor.get_summary()["retries"] == 0
    assert caplog.text.count("Retry cannot act on this call") == 1
    assert streamer.ends == (used_up == "streamer")
