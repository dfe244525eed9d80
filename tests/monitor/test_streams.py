"""Streams that threads read: live, bounded, and over when their reader is."""

import contextvars
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from opentelemetry_instrumentation_corevital import CoreVitalMonitor, StepEvent, disabled
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.monitor.stream import Stream
from opentelemetry_instrumentation_corevital.policies import Retry
from tests.support.leftovers import leftovers
from tests.support.saved_models import word_tokenizer
from tests.support.scripted_tokens import scripted
from tests.support.stream_ends import ENDLESS, ENDS, working
from tests.support.tiny_models import padded_batch, prompt, tiny_model

KEYS = [
    "step_index",
    "token_id",
    "token_text",
    "entropy",
    "surprisal",
    "risk_so_far",
    "warning_signals",
    "margin",
    "failure_risk",
    "flags",
    "sequence_index",
    "time",
    "answer_so_far",
]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model(max_position_embeddings=32_768)


def test_the_first_step_comes_while_later_tokens_are_generated(model: Any) -> None:
    processor, options = scripted(5, 6, 7, waits_at=4)
    read = list[StepEvent]()
    for step in CoreVitalMonitor().stream(model, prompt(), max_new_tokens=8, **options):
        read.append(step)
        if len(read) == 3:
            assert processor.step <= 4  # it waits there until these have been read
            processor.go_on.set()
    assert [step.token_id for step in read] == [5, 6, 7, 5, 6, 7, 5, 6]


def test_a_step_has_the_numbers_of_the_run(model: Any) -> None:
    stream = CoreVitalMonitor().stream(model, "w3 w4", tokenizer=word_tokenizer(), max_new_tokens=12, do_sample=False)
    read = list(stream)
    run = stream.runs[0]
    assert [list(step) for step in read] == [KEYS] * 12
    assert [step.step_index for step in read] == list(range(12))
    assert [step["token_id"] for step in read] == run.tokens.tolist()
    for name in ("entropy", "surprisal", "margin"):
        assert [step[name] for step in read] == pytest.approx(run.columns[name].tolist())
    assert [step.time for step in read] == [time_ns / 1e9 for time_ns in run.time_ns.tolist()]
    assert "".join(step.token_text for step in read) == stream.get_summary()["output_text"]
    assert torch.equal(stream.result[0, 2:], torch.tensor(run.tokens).long())


def test_each_sequence_of_a_batch_has_its_steps(model: Any) -> None:
    read = list(CoreVitalMonitor().stream(model, padded_batch(), max_new_tokens=4, do_sample=False))
    assert sorted((step.sequence_index, step.step_index) for step in read) == [
        (s, k) for s in range(3) for k in range(4)
    ]


def test_without_early_warnings_steps_have_none(model: Any) -> None:
    stream = CoreVitalMonitor(enable_early_warning=False).stream(model, prompt(), max_new_tokens=3, do_sample=False)
    assert [set(KEYS) - set(step) for step in stream] == [{"warning_signals", "failure_risk"}] * 3
    assert stream.get_warning_signals() is None
    summary = stream.get_summary()
    assert summary["early_warning"] == {}
    assert summary["absent"]["repetition_risk"] == "switched off (enable_early_warning=False)"


# --- how they end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS, ids=[each.__name__ for each in ENDS])
@pytest.mark.parametrize("buffer", [1, 256])
def test_generation_ends_with_its_reader(model: Any, end: Callable[[Stream], None], buffer: int) -> None:
    before = leftovers(model)
    stream = CoreVitalMonitor().stream(model, prompt(), buffer=buffer, **ENDLESS)
    end(stream)
    assert not working()
    assert leftovers(model) == before
    assert stream.runs[0].stop_reason == "cancelled"
    assert stream.runs[0].steps < 2_000
    with pytest.raises(StopIteration):
        next(stream)


def test_it_ends_within_a_step(model: Any) -> None:
    processor, options = scripted(5, 6, 7, waits_at=3)
    stream = CoreVitalMonitor().stream(model, prompt(), max_new_tokens=500, **options)
    assert [next(stream).step_index for _ in range(3)] == [0, 1, 2]
    assert processor.waiting.wait(30)
    threading.Timer(0.2, processor.go_on.set).start()  # while close() waits for the step that has begun
    stream.close()
    assert stream.runs[0].steps == 4


def test_a_stream_that_nobody_refers_to_ends(model: Any) -> None:
    monitor = CoreVitalMonitor()
    stream: Stream | None = monitor.stream(model, prompt(), **ENDLESS)
    next(stream)  # type: ignore[arg-type]
    stream = None
    assert monitor.runs[0].stop_reason == "cancelled"
    kept: list[Any] = [monitor.stream(model, prompt(), **ENDLESS)]
    next(kept[0])
    kept.append(kept)  # a circle, which only the garbage collector finds
    del kept
    gc.collect()
    assert monitor.runs[0].stop_reason == "cancelled"
    assert not working()


def test_a_full_buffer_keeps_generation_waiting_and_closing_does_not_hang(model: Any) -> None:
    processor, options = scripted(5, 6, 7)
    stream = CoreVitalMonitor().stream(model, prompt(), buffer=2, max_new_tokens=500, **options)
    time.sleep(1.0)
    assert processor.step <= 4
    assert (next(stream).step_index, next(stream).step_index) == (0, 1)
    stream.close()
    assert (stream.runs[0].stop_reason, stream.dropped) == ("cancelled", 0)


def test_the_oldest_steps_are_dropped_and_counted(model: Any) -> None:
    stream = CoreVitalMonitor().stream(
        model, prompt(), buffer=4, overflow="drop_oldest", max_new_tokens=20, do_sample=False
    )
    while stream.result is None:
        time.sleep(0.01)
    assert [step.step_index for step in stream] == [16, 17, 18, 19]
    assert stream.dropped == 16


@pytest.mark.parametrize("given", [{"buffer": 0}, {"buffer": 1.5}, {"overflow": "drop"}])
def test_a_buffer_that_cannot_be_is_refused(model: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        CoreVitalMonitor().stream(model, prompt(), **given)


# --- errors, context, odd places -------------------------------------------------------------------------------------


class _Failing(LogitsProcessor):
    def __init__(self, error: BaseException) -> None:
        self.left = 3
        self.error = error

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return scores


@pytest.mark.parametrize(
    ("error", "comes_out"), [(OSError("disk"), OSError), (SystemExit(3), SystemExit), (StopIteration(), RuntimeError)]
)
def test_an_error_of_generate_comes_out_behind_the_steps_before_it(
    model: Any, error: BaseException, comes_out: type[BaseException]
) -> None:
    processors = LogitsProcessorList([_Failing(error)])
    stream = CoreVitalMonitor().stream(model, prompt(), logits_processor=processors, max_new_tokens=9)
    read = list[StepEvent]()
    with pytest.raises(comes_out):
        read.extend(step for step in _each(stream, read))
    assert len(read) == 3
    with pytest.raises(StopIteration):
        next(stream)
    assert stream.runs[0].stop_reason == ("error" if isinstance(error, Exception) else "cancelled")


def _each(stream: Stream, read: list[StepEvent]) -> Iterator[StepEvent]:
    while True:
        try:
            step = next(stream)
        except StopIteration:
            return
        read.append(step)


def test_what_cannot_be_generated_is_said_where_steps_are_read(model: Any) -> None:
    with pytest.raises(ValueError, match="tokenizer="):
        next(CoreVitalMonitor().stream(model, "w3"))
    with pytest.raises(ValueError, match="model: "):
        list(CoreVitalMonitor().stream("/nowhere", "w3"))


def test_context_variables_reach_the_thread(model: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen = set[str]()
    monitor = CoreVitalMonitor(on_step_callback=lambda _: seen.add(variable.get()))
    variable.set("mine")
    list(monitor.stream(model, prompt(), max_new_tokens=2))
    assert seen == {"mine"}


def test_where_it_is_switched_off_there_is_no_stream(model: Any) -> None:
    with disabled(), pytest.raises(RuntimeError, match="switched off"):
        CoreVitalMonitor().stream(model, prompt())


def test_retry_says_that_streams_are_not_repeated(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    list(CoreVitalMonitor(policies=[Retry()]).stream(model, prompt(), max_new_tokens=2))
    assert "Retry acts in run() alone" in caplog.text


def test_one_call_s_questions_are_answered_by_its_stream(model: Any) -> None:
    monitor = CoreVitalMonitor()
    first, second = (monitor.stream(model, prompt(), max_new_tokens=n, do_sample=False) for n in (3, 5))
    with pytest.raises(RuntimeError, match="no run has finished"):
        CoreVitalMonitor().stream(model, prompt(), **ENDLESS).get_summary()
    list(first)
    list(second)
    assert [stream.get_summary()["output_tokens"] for stream in (first, second)] == [3, 5]
    assert second.get_risk_so_far() == 0.0


def test_where_steps_cannot_be_told_the_reason_is_said(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    stream = CoreVitalMonitor().stream(model, prompt(), assistant_model=tiny_model(), max_new_tokens=6, do_sample=False)
    assert list(stream) == []
    assert "no steps that could be read: not measured in decoding strategy assisted_generation" in caplog.text
    assert stream.get_risk_score() is None
    assert stream.get_summary()["output_tokens"] == 6


def test_the_steps_of_a_beam_search_come_at_its_end(model: Any) -> None:
    stream = CoreVitalMonitor().stream(model, prompt(), num_beams=2, max_new_tokens=4, do_sample=False)
    assert [step.token_id for step in stream] == stream.runs[0].tokens.tolist()


@pytest.mark.acceptance
def test_a_program_that_ends_does_not_wait_for_its_streams() -> None:
    program = """
from opentelemetry_instrumentation_corevital import CoreVitalMonitor
from tests.support.stream_ends import ENDLESS, ENDS, working
from tests.support.tiny_models import prompt, tiny_model

model = tiny_model(max_position_embeddings=2_000_000)
options = {"max_new_tokens": 1_000_000, "do_sample": True, "eos_token_id": 999}
stream = CoreVitalMonitor().stream(model, prompt(), buffer=2, **options)
next(stream)
print("read")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout, "Traceback" in ended.stderr) == (0, "read\n", False)


@pytest.mark.real_model
def test_real_text_is_joined_from_its_tokens(smollm2: LoadedModel) -> None:
    stream = CoreVitalMonitor().stream(
        smollm2.model,
        "Write 'naïve café' and 日本 in quotes:",
        tokenizer=smollm2.tokenizer,
        max_new_tokens=24,
        do_sample=False,
    )
    text = "".join(step.token_text for step in stream)
    whole = stream.get_summary()["output_text"]
    assert whole.startswith(text)
    assert len(text) > len(whole) - 3


def test_a_callback_that_reads_its_own_run_does_not_wait_for_itself(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    streams = list[Stream]()

    def read(_: Any) -> None:
        if streams:
            next(streams[0])

    processor, options = scripted(5, 6, 7, waits_at=2)
    streams.append(CoreVitalMonitor(on_step_callback=read).stream(model, prompt(), max_new_tokens=6, **options))
    processor.go_on.set()
    assert len(list(streams[0])) == 6
    assert caplog.text.count("on_step_callback failed") == 1
