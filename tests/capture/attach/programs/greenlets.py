"""Greenlets of one thread in generate() at the same time; started with `patched` or without by test_greenlets.py."""

import sys

if "patched" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import gc
import logging
import weakref
from functools import partial
from typing import Any

import gevent
import torch
from greenlet import getcurrent, greenlet

from opentelemetry_instrumentation_corevital import disabled
from tests.support.in_memory import Telemetry, instrumented
from tests.support.tiny_models import prompt, tiny_model

BESIDE = '{"run":"greenlet_without_patching"}'


class Streamer:
    """Does something at every token."""

    def __init__(self, at_token: Any) -> None:
        self.at_token = at_token

    def put(self, _value: torch.Tensor) -> None:
        self.at_token()

    def end(self) -> None:
        pass


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


lines = Lines()
logging.getLogger("opentelemetry_instrumentation_corevital").addHandler(lines)
model = tiny_model()


def generate(seed: int = 0, at_token: Any = lambda: None) -> torch.Tensor:
    found: torch.Tensor = model.generate(
        prompt(seed=seed), max_new_tokens=12, do_sample=False, streamer=Streamer(at_token)
    )
    return found


def once(action: Any) -> Any:
    """Return what does this when it is called first, and nothing after that."""
    waiting = [action]
    return lambda: waiting and waiting.pop()()


def numbers(span: Any) -> dict[str, Any]:
    attributes = dict(span.attributes)
    return {name: attributes[name] for name in attributes if ".series." in name or ".layers." in name}


def reason(span: Any) -> str:
    return str((span.attributes or {})["corevital.capture.absent"])


def alone(seed: int = 0) -> tuple[torch.Tensor, dict[str, Any]]:
    with instrumented(capture="full") as telemetry:
        tokens = generate(seed)
    found = numbers(telemetry.span)
    assert len(found) > 8, found
    return tokens, found


def overlapping() -> tuple[Telemetry, list[tuple[torch.Tensor, dict[str, Any]]]]:
    """Three greenlets that switch at every token."""
    expected = [alone(seed) for seed in range(3)]
    lines.lines.clear()
    with instrumented(capture="full") as telemetry:
        jobs = [gevent.spawn(generate, seed, lambda: gevent.sleep(0)) for seed in range(3)]
        gevent.joinall(jobs)
    for job, (tokens, _) in zip(jobs, expected, strict=True):
        assert torch.equal(job.value, tokens)
    assert len(telemetry.spans) == 3
    return telemetry, expected


def patched() -> None:
    telemetry, expected = overlapping()
    assert not lines.lines, lines.lines
    found = [numbers(span) for span in telemetry.spans]
    assert all(of_alone in found for _, of_alone in expected)


def one_is_measured_and_the_others_say_why_not() -> None:
    telemetry, expected = overlapping()
    measured = [span for span in telemetry.spans if reason(span) != BESIDE]
    assert [numbers(span) for span in measured] == [expected[0][1]]
    for span in telemetry.spans:
        assert (span.attributes or {})["gen_ai.usage.output_tokens"] == 12
    (line,) = lines.lines
    assert "patch_all" in line
    runs = {point.attributes["corevital.captured"]: point.value for point in telemetry.metrics()["corevital.runs"]}
    assert runs == {True: 1, False: 2}


def a_forward_pass_of_another_greenlet_is_not_seen() -> None:
    _, expected = alone()
    other = greenlet(lambda: [(model(prompt(9)), getcurrent().parent.switch()) for _ in range(30)])
    with instrumented(capture="full") as telemetry:
        generate(at_token=other.switch)
    assert numbers(telemetry.span) == expected


def the_threads_own_greenlet_runs_beside_another_one() -> None:
    _, expected = alone()
    main = getcurrent()
    with instrumented(capture="full") as telemetry:
        first = greenlet(lambda: generate(at_token=main.switch))
        first.switch()
        generate(seed=1)  # in the main greenlet, from its begin to its end
        while not first.dead:
            first.switch()
    assert [reason(span) == BESIDE for span in telemetry.spans] == [True, False]
    assert numbers(telemetry.spans[1]) == expected


def a_call_in_the_same_greenlet_is_nested() -> None:
    lines.lines.clear()
    _, expected = alone()
    with instrumented(capture="full") as telemetry:
        greenlet(lambda: generate(at_token=once(partial(generate, seed=1)))).switch()
    assert numbers(telemetry.span) == expected  # one run
    assert not lines.lines


def a_call_inside_one_that_runs_beside_is_nested() -> None:
    main = getcurrent()
    with instrumented(capture="full") as telemetry:
        first = greenlet(lambda: generate(at_token=main.switch))
        first.switch()
        generate(seed=2, at_token=once(partial(generate, seed=1)))
        while not first.dead:
            first.switch()
    assert len(telemetry.spans) == 2


def who_is_not_measured_keeps_nobody_from_it() -> None:
    _, expected = alone()
    main = getcurrent()

    def unrecorded() -> None:
        with disabled():
            generate(seed=1, at_token=main.switch)

    with instrumented(capture="full") as telemetry:
        first = greenlet(unrecorded)
        first.switch()
        generate()
        while not first.dead:
            first.switch()
    assert numbers(telemetry.span) == expected


def a_greenlet_that_nobody_resumes_is_freed_and_blocks_nobody() -> None:
    _, expected = alone()
    main, other = getcurrent(), tiny_model(seed=3)
    gc.collect()
    gc.disable()
    with instrumented(capture="full") as telemetry:
        first = greenlet(lambda other: other.generate(prompt(), max_new_tokens=9, streamer=Streamer(main.switch)))
        first.switch(other)
        left = weakref.ref(other)
        del first, other
        assert left() is None
        generate()
    gc.enable()
    assert numbers(telemetry.spans[-1]) == expected


if "patched" in sys.argv:
    patched()
else:
    one_is_measured_and_the_others_say_why_not()
    a_forward_pass_of_another_greenlet_is_not_seen()
    the_threads_own_greenlet_runs_beside_another_one()
    a_call_in_the_same_greenlet_is_nested()
    a_call_inside_one_that_runs_beside_is_nested()
    who_is_not_measured_keeps_nobody_from_it()
    a_greenlet_that_nobody_resumes_is_freed_and_blocks_nobody()
