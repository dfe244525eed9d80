"""`last_run()`: the verdict at the call, for who made it."""

import asyncio
import threading
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from transformers import LogitsProcessor, LogitsProcessorList

from opentelemetry_instrumentation_corevital import Run, disabled, last_run, last_runs
from opentelemetry_instrumentation_corevital.run import Risk
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.in_memory import instrumented
from tests.support.tiny_models import prompt, tiny_model


def generate(model: Any, tokens: int = 4, **options: Any) -> Any:
    return model.generate(prompt(), **{"max_new_tokens": tokens, "eos_token_id": None, "do_sample": False, **options})


class RiskByIndex:
    """A judgement that gives each sequence the risk that is chosen for it."""

    role = "risk"

    def __init__(self, *scores: float | None) -> None:
        self.scores = scores

    def on_run_ending(self, _span: Any, run: Run) -> None:
        score = self.scores[run.sequence_index]
        run.risk = None if score is None else Risk(score, "high", (), "test")


def test_the_run_is_judged_when_generate_returns() -> None:
    with instrumented() as telemetry:
        generate(tiny_model(), 5)
        run = last_run()
        assert run is not None
        assert (run.steps, run.sequence_count) == (5, 1)
        assert run.risk is not None
        assert run.narrative == telemetry.span.attributes["corevital.narrative"]
        generate(tiny_model(), 3)
        assert [each.steps for each in last_runs()] == [3], "the last call's only"


def test_of_several_sequences_it_is_the_riskiest() -> None:
    several = {"num_return_sequences": 3, "do_sample": True}
    with instrumented(judgements=[RiskByIndex(0.2, 0.9, None)]):
        generate(tiny_model(), **several)
    assert [each.sequence_index for each in last_runs()] == [0, 1, 2]
    riskiest = last_run()
    assert riskiest is not None
    assert riskiest.sequence_index == 1
    with instrumented(judgements=[RiskByIndex(None, None, None)]):
        generate(tiny_model(), **several)
    assert last_run() is last_runs()[0]


def test_a_call_that_is_not_measured_leaves_no_earlier_verdict() -> None:
    model = tiny_model()
    with instrumented():
        generate(model)
        assert last_run() is not None
        with disabled():
            generate(model)
        assert (last_run(), last_runs()) == (None, [])
        generate(model)
    with instrumented(InMemoryTelemetry(ALWAYS_OFF)):
        generate(model)
        assert last_run() is None
    with instrumented(InMemoryTelemetry(ALWAYS_OFF), capture_unsampled=True):
        generate(model)
        assert last_run() is not None


def test_a_call_that_raised_has_its_run() -> None:
    class Fail(LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            if input_ids.shape[1] == 8:
                raise ValueError("in the middle")
            return scores

    with instrumented():
        with pytest.raises(ValueError, match="in the middle"):
            generate(tiny_model(), 6, logits_processor=LogitsProcessorList([Fail()]))
        run = last_run()
    assert run is not None
    assert (run.error_type, run.steps) == ("ValueError", 2)


def test_an_assistant_is_no_call_of_its_own() -> None:
    with instrumented():
        generate(tiny_model(), 5, assistant_model=tiny_model(seed=1))
        (run,) = last_runs()
    assert run.output_tokens == 5


def test_each_thread_and_each_task_reads_its_own() -> None:
    model, read = tiny_model(), dict[str, int]()
    barrier = threading.Barrier(2)

    def thread(tokens: int) -> None:
        assert last_run() is None
        generate(model, tokens)
        barrier.wait(20)
        run = last_run()
        read[f"thread {tokens}"] = -1 if run is None else run.steps

    async def task(tokens: int) -> None:
        generate(model, tokens)
        await asyncio.sleep(0)
        run = last_run()
        read[f"task {tokens}"] = -1 if run is None else run.steps

    async def tasks() -> None:
        await asyncio.gather(task(4), task(5))

    with instrumented():
        generate(model, 7)
        threads = [threading.Thread(target=thread, args=(tokens,)) for tokens in (2, 3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        asyncio.run(tasks())
        mine = last_run()
    assert read == {"thread 2": 2, "thread 3": 3, "task 4": 4, "task 5": 5}
    assert mine is not None
    assert mine.steps == 7
