"""Many streams at once, many that are cancelled, and forks: nothing mixes, nothing is left."""

import asyncio
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from opentelemetry_instrumentation_corevital import CoreVitalMonitor
from opentelemetry_instrumentation_corevital.monitor.stream import Stream
from tests.support.in_memory import instrumented
from tests.support.leftovers import leftovers
from tests.support.stream_ends import ASYNC_ENDS, ENDLESS, ENDS
from tests.support.tiny_models import prompt, tiny_model

SHORT: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": 999}


@pytest.fixture(scope="module")
def models() -> list[Any]:
    return [tiny_model(max_position_embeddings=32_768, seed=seed) for seed in (0, 1)]


@pytest.mark.parametrize("count", [1, 2], ids=["one model", "two models"])
def test_sixteen_streams_at_once_do_not_mix(models: list[Any], count: int) -> None:
    models = models[:count]
    before = leftovers(*models)
    jobs = [(models[index % count], prompt(seed=index)) for index in range(16)]
    expected = [model.generate(ids, **SHORT)[0, ids.shape[1] :].tolist() for model, ids in jobs]
    monitor = CoreVitalMonitor()
    ready = threading.Barrier(16)

    def read(job: tuple[Any, Any]) -> tuple[list[int], list[float], Stream]:
        ready.wait()
        stream = monitor.stream(job[0], job[1], **SHORT)
        steps = list(stream)
        return [step.token_id for step in steps], [step.entropy for step in steps], stream

    with instrumented() as telemetry, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(read, jobs))
        assert len(telemetry.spans) == 16
    assert [tokens for tokens, _, _ in found] == expected
    for tokens, entropies, stream in found:
        (run,) = stream.runs
        assert run.tokens.tolist() == tokens
        assert run.columns["entropy"].tolist() == pytest.approx(entropies)
    assert len({stream.get_summary()["trace_id"] for _, _, stream in found}) == 16
    assert monitor.get_summary()["trace_id"] in {stream.get_summary()["trace_id"] for _, _, stream in found}
    assert leftovers(*models) == before


def test_many_coroutines_read_at_once(models: list[Any]) -> None:
    monitor = CoreVitalMonitor()

    async def read(index: int) -> list[int]:
        return [step.token_id async for step in monitor.stream(models[index % 2], prompt(seed=index), **SHORT)]

    async def all_of_them() -> list[list[int]]:
        return await asyncio.gather(*map(read, range(8)))

    expected = [models[i % 2].generate(prompt(seed=i), **SHORT)[0, 6:].tolist() for i in range(8)]
    assert asyncio.run(all_of_them()) == expected


def test_calls_beside_a_stream_stay_as_they_are(models: list[Any]) -> None:
    monitor = CoreVitalMonitor()
    plain = models[0].generate(prompt(), **SHORT)
    stream = monitor.stream(models[0], prompt(), **ENDLESS)
    next(stream)
    assert torch.equal(models[0].generate(prompt(), **SHORT), plain)
    stream.close()
    assert monitor.runs[0].steps != 12


def _end_many(models: list[Any], rounds: int) -> None:
    monitor = CoreVitalMonitor()
    with instrumented() as telemetry:
        for model in models:  # whose hooks stay while the process is instrumented
            list(monitor.stream(model, prompt(), **SHORT))
        telemetry.clear()
        before = leftovers(*models)
        for index in range(rounds):
            for end in ENDS:
                end(monitor.stream(models[index % 2], prompt(), **ENDLESS))

            async def in_a_loop(model: Any) -> None:
                for end in ASYNC_ENDS:
                    await end(monitor.stream(model, prompt(), **ENDLESS))

            asyncio.run(in_a_loop(models[index % 2]))
        gc.collect()
        assert leftovers(*models) == before
        spans = telemetry.spans
    expected = rounds * (len(ENDS) + len(ASYNC_ENDS))
    assert len(spans) == expected
    assert all(span.end_time for span in spans)
    assert all(run.stop_reason == "cancelled" for run in monitor.runs)


def test_streams_that_are_cancelled_leave_nothing(models: list[Any]) -> None:
    _end_many(models, 1)


@pytest.mark.acceptance
def test_two_hundred_streams_that_are_cancelled_leave_nothing(models: list[Any]) -> None:
    _end_many(models, 17)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_monitor_works_in_a_forked_child(models: list[Any], tmp_path: Any) -> None:
    monitor = CoreVitalMonitor(store=tmp_path / "monitor.db")
    monitor.run(models[0], prompt(), **SHORT)
    stream = monitor.stream(models[0], prompt(), **ENDLESS)
    next(stream)
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            with pytest.raises(RuntimeError, match="has forked this one"):
                next(stream)
            stream.close()
            monitor.run(models[0], prompt(), **SHORT)
            inner = monitor.stream(models[0], prompt(), **ENDLESS)
            next(inner)
            inner.close()
            left = leftovers(models[0])
            code = 0 if monitor.runs[0].stop_reason == "cancelled" and not left["threads"] else 8
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert next(stream).step_index > 0
    stream.close()
