"""A streamer that raises out of put() or end() cancels the run; an exception that it has no part in is an error."""

import asyncio
import contextlib
import functools
import queue
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import wrapt
from transformers import TextIteratorStreamer, TextStreamer
from transformers.generation.streamers import BaseStreamer

from opentelemetry_instrumentation_corevital.capture.session.streamer_errors import left_through
from tests.support.in_memory import Telemetry, instrumented
from tests.support.tiny_models import prompt, tiny_model
from tests.support.word_tokenizer import tokenizer

try:
    from transformers.cli.serving.utils import _GenerationCancelled

    CANCELLED: tuple[type[Exception], ...] = (_GenerationCancelled,)
except ImportError:  # transformers 4 has another server, or the server's dependencies are not there
    CANCELLED = ()


class Gone(RuntimeError):
    """Nobody reads any more."""


class Counting(BaseStreamer):
    """Raises at a put, from 1, or at the end."""

    def __init__(self, at: int = 3, end: bool = False) -> None:
        self.at, self.seen, self.ends = at, 0, end

    def put(self, value: torch.Tensor) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise Gone

    def end(self) -> None:
        if self.ends:
            raise Gone


class Inherits(Counting):
    """Neither method is its own class's."""


class CallsSuper(Counting):
    def put(self, value: torch.Tensor) -> None:
        super().put(value)

    def end(self) -> None:
        super().end()


class Around:
    """Hands everything to another streamer, under other names."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def logged(method: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        method(*args, **kwargs)

    return wrapper


class Decorated(Counting):
    put = logged(Counting.put)
    end = logged(Counting.end)


class NotPython:
    """Its put is a function of C: a prompt of several tokens is no number."""

    put = staticmethod(float)

    def end(self) -> None: ...


class Slotted:
    __slots__ = ()

    @classmethod
    def put(cls, value: torch.Tensor) -> None:
        raise Gone

    def end(self) -> None: ...


class Text(TextStreamer):
    """Real, and ended by what shows its text."""

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        raise Gone


class Closed(TextIteratorStreamer):
    """Real, and read by nobody: its queue is full at once."""

    def __init__(self) -> None:
        super().__init__(tokenizer(), timeout=0.01)
        self.text_queue = queue.Queue(1)
        self.text_queue.put("")


def raises(_value: Any) -> None:
    raise Gone


STREAMERS: dict[str, Callable[[], Any]] = {
    "first put": lambda: Counting(1),
    "a later put": Counting,
    "end": lambda: Counting(0, end=True),
    "inherited": Inherits,
    "calls super": CallsSuper,
    "calls super at the end": lambda: CallsSuper(0, end=True),
    "around another": lambda: Around(Counting()),
    "proxy": lambda: wrapt.ObjectProxy(Counting()),
    "decorated": Decorated,
    "decorated end": lambda: Decorated(0, end=True),
    "not Python": NotPython,
    "classmethod": Slotted,
    "mock": lambda: Mock(put=Mock(side_effect=Gone)),
    "mock end": lambda: Mock(end=Mock(side_effect=Gone)),
    "function": lambda: SimpleNamespace(put=raises, end=lambda: None),
    "partial": lambda: SimpleNamespace(put=functools.partial(raises), end=lambda: None),
    "text": lambda: Text(tokenizer()),
    "full queue": Closed,
}


EXPECTED = (Gone, ValueError, TypeError, RuntimeError, queue.Full, *CANCELLED)


def cancelled(model: Any, *args: Any, telemetry: Telemetry | None = None, **options: Any) -> Telemetry:
    """Generate, and hold what was told against what is told of a run that somebody cancelled."""
    telemetry = telemetry or Telemetry()
    ratio = options.pop("capture_ratio", 1.0)
    with instrumented(telemetry, judgements=[telemetry], capture_ratio=ratio), pytest.raises(EXPECTED):
        model.generate(*args, max_new_tokens=6, do_sample=False, eos_token_id=None, **options)
    attributes = dict(telemetry.span.attributes or {})
    assert attributes["corevital.stop_reason"] == "cancelled"
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert telemetry.span.status.is_unset
    assert "error.type" not in attributes
    assert "exception" not in [event.name for event in telemetry.span.events]
    points = telemetry.metrics()["gen_ai.client.operation.duration"]
    assert [dict(point.attributes or {}).get("error.type") for point in points] == [None]
    return telemetry


@pytest.mark.parametrize("made", STREAMERS.values(), ids=STREAMERS)
@pytest.mark.parametrize("ratio", [1.0, 0.0], ids=["measured", "unmeasured"])
def test_whatever_the_streamer_raises_cancels_the_run(made: Callable[[], Any], ratio: float) -> None:
    telemetry = cancelled(tiny_model(), prompt(6), streamer=made(), capture_ratio=ratio)
    if ratio:
        assert (telemetry.run.stop_reason, telemetry.run.error_type) == ("cancelled", None)
        assert "was cancelled" in (telemetry.run.narrative or "")


def test_the_caller_gets_the_exception_itself() -> None:
    error = Gone("content")

    def put(_value: Any) -> None:
        raise error

    with instrumented(), pytest.raises(Gone) as caught:
        tiny_model().generate(prompt(6), max_new_tokens=6, streamer=SimpleNamespace(put=put, end=lambda: None))
    assert caught.value is error


def test_a_streamer_given_by_its_place() -> None:
    cancelled(tiny_model(), prompt(6), None, None, None, None, None, None, Counting())


@pytest.mark.parametrize("end", [False, True])
def test_a_loop_of_the_callers_own(end: bool) -> None:
    streamer = Counting(0 if end else 2, end=end)

    def loop(model: Any, input_ids: torch.Tensor, **_: Any) -> Any:  # transformers hands it no streamer
        alias = streamer.put  # a bound method by another name
        for _step in range(3):
            alias(input_ids[:, -1])
        streamer.end()
        return input_ids

    cancelled(tiny_model(), prompt(6), custom_generate=loop, streamer=streamer)


def test_a_draft_that_a_model_of_text_diffusion_streams() -> None:
    class Drafts(Counting):
        def put_draft(self, value: torch.Tensor, **_: Any) -> None:
            raise Gone

    streamer = Drafts(0)

    def loop(model: Any, input_ids: torch.Tensor, **_: Any) -> Any:
        for draft in [streamer.put_draft]:
            draft(input_ids)
        return input_ids

    cancelled(tiny_model(), prompt(6), custom_generate=loop, streamer=streamer)


@pytest.mark.parametrize("options", [{"assistant_model": 1}, {"prompt_lookup_num_tokens": 2}], ids=["model", "lookup"])
def test_assisted_decoding(options: dict[str, Any]) -> None:
    if "assistant_model" in options:
        options = {"assistant_model": tiny_model(seed=1, eos_token_id=None)}
    cancelled(tiny_model(eos_token_id=None), prompt(6), streamer=Counting(2), **options)


def test_the_streamer_of_transformers_serve_when_its_client_has_gone() -> None:
    serving = pytest.importorskip("transformers.cli.serving.utils")
    if not CANCELLED:
        pytest.skip("this server has no such exception")
    loop = asyncio.new_event_loop()
    try:
        streamer = serving.DirectStreamer(tokenizer().backend_tokenizer, loop, asyncio.Queue())
        streamer.cancel()
        cancelled(tiny_model(), prompt(6), streamer=streamer)
    finally:
        loop.close()


# --- what the streamer has no part in --------------------------------------------------------------------------------


class Fails:
    """A logits processor that fails at its third step in some way."""

    def __init__(self, fail: Callable[[], Any]) -> None:
        self.fail, self.seen = fail, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        if self.seen == 3:
            self.fail()
        return scores


def full_queue() -> None:
    channel = queue.Queue[int](1)
    channel.put(1)
    channel.put(2, block=False)


def another_streamer() -> None:
    streamer = Counting(1)
    streamer.put(torch.zeros(1))


class Swallows(Counting):
    """Catches what goes wrong in it."""

    def put(self, value: torch.Tensor) -> None:
        with contextlib.suppress(Gone):
            super().put(value)


OTHERS: dict[str, Callable[[], Any]] = {
    "its own error": lambda: 1 / 0,
    "another streamer of its class": lambda: Counting(1).put(torch.zeros(1)),
    "another streamer by a name": another_streamer,
    "a queue's put": full_queue,
    "a nested call's streamer": lambda: tiny_model().generate(prompt(4), max_new_tokens=3, streamer=Counting(1)),
}


@pytest.mark.parametrize("fail", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize(
    "streamer", [None, lambda: Counting(0), lambda: Swallows(2)], ids=["without", "quiet", "caught"]
)
def test_an_exception_of_something_else_is_an_error(
    fail: Callable[[], Any], streamer: Callable[[], Any] | None
) -> None:
    given = {} if streamer is None else {"streamer": streamer()}
    telemetry = Telemetry()
    with instrumented(telemetry, judgements=[telemetry]), pytest.raises(Exception):  # noqa: B017, PT011
        tiny_model().generate(
            prompt(6), max_new_tokens=6, do_sample=False, eos_token_id=None, logits_processor=[Fails(fail)], **given
        )
    attributes = dict(telemetry.span.attributes or {})
    assert (telemetry.run.stop_reason, attributes["corevital.stop_reason"]) == ("error", "error")
    assert attributes["error.type"] == telemetry.run.error_type
    assert not telemetry.span.status.is_unset
    assert "exception" in [event.name for event in telemetry.span.events]


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"num_return_sequences": 2, "num_beams": 2}])
def test_a_streamer_that_transformers_refuses_is_an_error(options: dict[str, Any]) -> None:
    telemetry = Telemetry()
    with instrumented(telemetry, judgements=[telemetry]), pytest.raises(ValueError, match="streamer"):
        tiny_model().generate(prompt(6), max_new_tokens=4, streamer=Counting(0), **options)
    assert telemetry.run.stop_reason == "error"


def test_what_the_streamer_is_given_may_fail_before_it_gets_it() -> None:
    def broken() -> None:
        raise Gone

    streamer = Counting(0)
    with pytest.raises(Gone) as caught:
        streamer.put(broken())  # type: ignore[func-returns-value]
    assert not left_through(caught.value, streamer)
    streamer = Counting(1)
    with pytest.raises(Gone) as caught:
        streamer.put(torch.zeros(1))
    assert left_through(caught.value, streamer)
    assert not left_through(caught.value, Counting(1))
    assert not left_through(caught.value, None)


@pytest.mark.parametrize("streamer", [object(), SimpleNamespace(put=lambda _: None)], ids=["no put", "no end"])
def test_a_streamer_that_lacks_a_method_is_an_error(streamer: Any) -> None:
    telemetry = Telemetry()
    with instrumented(telemetry, judgements=[telemetry]), pytest.raises(AttributeError):
        tiny_model().generate(prompt(6), max_new_tokens=6, streamer=streamer)
    assert (telemetry.run.stop_reason, telemetry.run.error_type) == ("error", "AttributeError")
    assert not telemetry.span.status.is_ok
