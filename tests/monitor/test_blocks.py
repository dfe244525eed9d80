"""`wrap_generation()`: a block with a run of its own, or around the calls of a program."""

import threading
from typing import Any

import pytest
import torch
from transformers import LogitsProcessorList, TextIteratorStreamer

from opentelemetry_instrumentation_corevital import CoreVitalMonitor
from opentelemetry_instrumentation_corevital.policies import Retry, Stop
from tests.support.leftovers import leftovers
from tests.support.saved_models import word_tokenizer
from tests.support.scripted_tokens import looping, scripted
from tests.support.tiny_models import prompt, tiny_model

SHORT: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
ENDLESS: dict[str, Any] = {"max_new_tokens": 20_000, "do_sample": True, "eos_token_id": 999}


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model(max_position_embeddings=32_768)


def test_leaving_a_block_waits_for_its_run(model: Any) -> None:
    with CoreVitalMonitor().wrap_generation(model, prompt(), buffer=2, **SHORT) as run:
        assert next(run).step_index == 0
    assert run.get_summary()["output_tokens"] == 8
    assert torch.equal(run.result, model.generate(prompt(), **SHORT))


def test_an_exception_that_leaves_the_block_ends_its_run(model: Any) -> None:
    with pytest.raises(ZeroDivisionError), CoreVitalMonitor().wrap_generation(model, prompt(), **ENDLESS) as run:
        next(run).step_index / 0
    assert run.get_summary()["stop_reason"] == "cancelled"


def test_what_generate_raises_leaves_the_block(model: Any) -> None:
    with (
        pytest.raises(ValueError, match="max_new_tokens"),
        CoreVitalMonitor().wrap_generation(model, prompt(), max_new_tokens=-1),
    ):
        pass


def test_the_calls_of_a_block_are_watched_and_judged(model: Any) -> None:
    before = leftovers(model)
    monitor = CoreVitalMonitor(policies=[Stop(on="repetition_risk")])
    plain = model.generate(prompt(), **looping())
    with monitor.wrap_generation(model, tokenizer=word_tokenizer()) as run:
        stopped = model.generate(prompt(), **looping())
        model.generate(prompt(), **SHORT)
    model.generate(prompt(), **looping())
    assert leftovers(model) == before
    assert torch.equal(stopped, plain[:, : stopped.shape[1]])
    assert stopped.shape[1] < plain.shape[1]
    assert run.get_summary()["output_tokens"] == monitor.get_summary()["output_tokens"] == 8
    steps = list(run)
    assert len(steps) == stopped.shape[1] - 6 + 8
    assert " ".join(step.token_text.strip() for step in steps).startswith("w9 w8 w7")
    assert list(run) == []


def test_a_block_keeps_the_newest_steps(model: Any) -> None:
    with CoreVitalMonitor().wrap_generation(model, buffer=3) as run:
        model.generate(prompt(), **SHORT)
    assert [step.step_index for step in run] == [5, 6, 7]
    assert run.dropped == 5


def test_a_block_s_run_can_be_asked_while_it_goes_on(model: Any) -> None:
    monitor, seen = CoreVitalMonitor(), list[bool]()
    processor, options = scripted(9, 8, 7, 6, 5, 4, 3)
    with monitor.wrap_generation(model) as run:

        class Asking(type(processor)):  # type: ignore[misc]
            def __call__(self, input_ids: Any, scores: Any) -> Any:
                seen.append(run.should_intervene())
                return super().__call__(input_ids, scores)

        options["logits_processor"] = LogitsProcessorList([Asking(processor.tokens)])
        model.generate(prompt(), max_new_tokens=40, **options)
    assert seen[0] is False
    assert seen[-1] is True
    assert seen == sorted(seen)
    assert monitor.should_intervene()


def test_a_thread_that_generates_for_a_streamer_belongs_to_the_block(model: Any) -> None:
    tokenizer = word_tokenizer()
    with CoreVitalMonitor().wrap_generation(model) as run:
        streamer = TextIteratorStreamer(tokenizer)
        thread = threading.Thread(target=model.generate, args=(prompt(),), kwargs={**SHORT, "streamer": streamer})
        thread.start()
        text = "".join(streamer)
        thread.join()
    assert text
    assert run.get_summary()["output_tokens"] == 8


def test_what_does_not_go_together_is_refused(model: Any) -> None:
    monitor = CoreVitalMonitor()
    with pytest.raises(TypeError, match="max_new_tokens"):
        monitor.wrap_generation(model, max_new_tokens=3)
    with pytest.raises(TypeError, match="not its name"):
        monitor.wrap_generation("smollm2")
    block = monitor.wrap_generation(model)
    with block:
        pass
    with pytest.raises(RuntimeError, match="entered already"), block:
        pass


def test_retry_says_that_a_block_is_not_repeated(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    with CoreVitalMonitor(policies=[Retry()]).wrap_generation(model):
        pass
    assert "Retry acts in run() alone" in caplog.text
