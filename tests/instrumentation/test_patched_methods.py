"""A patched method is what it was to everything but a call: pickled, copied, held weakly, inspected, wrapped."""

import copy
import functools
import gc
import importlib
import inspect
import pickle
import sys
import types
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import wrapt
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, TextStreamer, pipeline
from transformers.generation.utils import GenerationMixin

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from opentelemetry_instrumentation_corevital.instrumentation import call_context, patched_methods
from tests.support.in_memory import Telemetry, instrumented
from tests.support.subprocesses import run
from tests.support.tiny_models import prompt, tiny_model


def patched_names() -> Iterator[tuple[type, str]]:
    """Yield class and name of every method that CoreVital patches, as far as this version of transformers has it."""
    for module, make in patched_methods._patches._makers.items():
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        for class_name, patch in make():
            if hasattr(getattr(found, class_name, None), patch.name):
                yield getattr(found, class_name), patch.name


METHODS = {f"{owner.__name__}.{name}": (owner, name) for owner, name in patched_names()}


def tiny_tokenizer() -> Any:
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{index}": index for index in range(3, 128)}}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template="{% for message in messages %}{{ message['content'] }}{% endfor %}",
    )


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


CHAT = [{"role": "user", "content": "w5 w6"}]


# --- the functions on the classes --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_function_is_one(method: str) -> None:
    owner, name = METHODS[method]
    plain = vars(owner)[name]
    with instrumented():
        ours = vars(owner)[name]
        assert ours is not plain
        assert type(ours) is types.FunctionType
        assert getattr(owner, name) is ours, "the same object at every look"
        assert pickle.loads(pickle.dumps(ours)) is ours
        assert copy.deepcopy(ours) is copy.copy(ours) is ours
        assert weakref.ref(ours)() is ours
    assert vars(owner)[name] is plain


@pytest.mark.parametrize("method", METHODS)
def test_it_looks_like_the_original(method: str) -> None:
    owner, name = METHODS[method]
    plain = vars(owner)[name]
    with instrumented():
        ours = vars(owner)[name]
        for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
            assert getattr(ours, attribute) == getattr(plain, attribute), attribute
        assert inspect.signature(ours) == inspect.signature(plain)
        assert inspect.getsource(ours) == inspect.getsource(plain)
        assert inspect.unwrap(ours) is inspect.unwrap(plain)
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(plain)
        # The one difference: where the original wraps nothing, ours says what it wraps.
        assert ours.__wrapped__ is getattr(plain, "__wrapped__", plain)
        with pytest.raises(TypeError) as found:
            ours()
    with pytest.raises(TypeError) as expected:
        plain()
    assert ("'self'" in str(found.value)) == ("'self'" in str(expected.value))


def test_the_way_round_no_grad_leads_where_it_led() -> None:
    model = tiny_model()
    before = GenerationMixin.generate.__wrapped__
    with instrumented() as telemetry:
        assert GenerationMixin.generate.__wrapped__ is before
        assert model.generate.__wrapped__ is before
        result = GenerationMixin.generate.__wrapped__(
            model, prompt(), max_new_tokens=2, return_dict_in_generate=True, output_logits=True
        )
        assert result.logits[0].requires_grad
        assert telemetry.spans == [], "that way passes by us, too"
        result = model.generate(prompt(), max_new_tokens=2, return_dict_in_generate=True, output_logits=True)
        assert not result.logits[0].requires_grad
    assert len(telemetry.spans) == 1


# --- bound methods -----------------------------------------------------------------------------------------------


@pytest.fixture
def bound(tokenizer: Any) -> Iterator[dict[str, Any]]:
    """Bound methods of objects that can be pickled, while CoreVital is instrumented."""
    model = tiny_model()
    generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
    with instrumented():
        yield {
            "generate": model.generate,
            "_get_logits_processor": model._get_logits_processor,
            "apply_chat_template": tokenizer.apply_chat_template,
            "__call__": tokenizer.__call__,
            "forward": generator.forward,
            "__init__": TextStreamer(tokenizer).__init__,  # type: ignore[misc]
        }


def test_a_bound_method_is_pickled_copied_and_held_weakly(bound: dict[str, Any]) -> None:
    for name, method in bound.items():
        assert type(method) is types.MethodType, name
        assert method == getattr(method.__self__, name), name
        assert hash(method) == hash(getattr(method.__self__, name)), name
        assert weakref.WeakMethod(method)() == method, name
        for other in (pickle.loads(pickle.dumps(method)), copy.deepcopy(method)):
            assert type(other.__self__) is type(method.__self__), name
            assert other.__self__ is not method.__self__, name
        assert copy.copy(method) == method, name
        partial = functools.partial(method, 1, x=2)
        for part in (pickle.loads(pickle.dumps(partial)), copy.deepcopy(partial)):
            assert part.func.__name__ == name


def test_what_was_pickled_and_copied_works(bound: dict[str, Any], tokenizer: Any) -> None:
    expected = bound["generate"](prompt(), max_new_tokens=3, do_sample=False)
    for method in (pickle.loads(pickle.dumps(bound["generate"])), copy.deepcopy(bound["generate"])):
        assert torch.equal(method(prompt(), max_new_tokens=3, do_sample=False), expected)
    template = pickle.loads(pickle.dumps(bound["apply_chat_template"]))
    assert template(CHAT, tokenize=False) == tokenizer.apply_chat_template(CHAT, tokenize=False) == "w5 w6"


WORKER = """
import pickle, sys
sys.modules["opentelemetry_instrumentation_corevital"] = None  # a worker that does not have it
with open(sys.argv[1], "rb") as file:
    generate, function, template = pickle.load(file)
import torch
from transformers import GenerationMixin
assert function is GenerationMixin.generate
print(generate(torch.tensor([[5, 6, 7]]), max_new_tokens=3).tolist(), template([{"role": "user", "content": "w9"}]))
"""


def test_a_worker_without_corevital_takes_them(tmp_path: Path, tokenizer: Any) -> None:
    model, file = tiny_model(), tmp_path / "work.pickle"
    with instrumented():
        work = functools.partial(model.generate, do_sample=False)
        template = functools.partial(tokenizer.apply_chat_template, tokenize=False)
        file.write_bytes(pickle.dumps((work, GenerationMixin.generate, template)))
        expected = work(torch.tensor([[5, 6, 7]]), max_new_tokens=3).tolist()
    assert run([sys.executable, "-c", WORKER, str(file)]).stdout.strip() == f"{expected} w9"


def test_what_was_taken_while_instrumented_outlives_it(tokenizer: Any) -> None:
    model = tiny_model()
    with instrumented() as telemetry:
        methods = [model.generate, tokenizer.apply_chat_template]
        weakly = [weakref.WeakMethod(method) for method in methods]
    for method, weak in zip(methods, weakly, strict=True):
        assert weak() == method
        assert pickle.loads(pickle.dumps(method)).__func__ is getattr(type(method.__self__), method.__name__)
    methods[0](prompt(), max_new_tokens=2)
    assert telemetry.spans == [], "and does nothing any more"
    with instrumented(telemetry):
        assert model.generate == methods[0], "a second time the same"
        methods[0](prompt(), max_new_tokens=2)
    assert len(telemetry.spans) == 1


def test_a_streamer_is_copied_and_pickled(tokenizer: Any) -> None:
    with instrumented():
        streamer = TextStreamer(tokenizer)
        for other in (copy.copy(streamer), copy.deepcopy(streamer), pickle.loads(pickle.dumps(streamer))):
            assert vars(other).keys() == vars(streamer).keys()
            other.put(torch.tensor([5]))
            other.end()


# --- subclasses and other libraries ------------------------------------------------------------------------------


def test_a_subclass_that_overrides_and_calls_super_makes_one_run() -> None:
    model = tiny_model()

    class Own(type(model)):  # type: ignore[misc]
        def generate(self, *args: Any, **kwargs: Any) -> Any:
            return super().generate(*args, **kwargs)

    model.__class__ = Own
    with instrumented() as telemetry:
        model.generate(prompt(), max_new_tokens=2)
        assert type(vars(Own)["generate"]) is types.FunctionType
        Own.generate(model, prompt(), max_new_tokens=2)
        GenerationMixin.generate(model, prompt(), max_new_tokens=2)
    assert len(telemetry.spans) == 3


def test_a_mock_in_the_methods_place_gets_what_it_got() -> None:
    model = tiny_model()
    with mock.patch.object(GenerationMixin, "generate") as generate, instrumented():
        model.generate(5, max_new_tokens=2)
    generate.assert_called_once_with(5, max_new_tokens=2)
    with instrumented(), mock.patch.object(GenerationMixin, "generate", autospec=True) as generate:
        model.generate(5, max_new_tokens=2)
    generate.assert_called_once_with(model, 5, max_new_tokens=2)


@dataclass
class Collected:
    """A streamer without a hash."""

    seen: list[Any] = field(default_factory=list)

    def put(self, value: torch.Tensor) -> None:
        self.seen.append(value.tolist())

    def end(self) -> None:
        self.seen.append("end")


class Slots:
    """A streamer that cannot be held weakly."""

    __slots__ = ("end", "put")

    def __init__(self) -> None:
        self.put = self.end = lambda *_: None


@pytest.mark.parametrize("make", [Collected, Slots])
def test_a_streamer_need_not_be_hashable_or_held_weakly(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    with instrumented() as telemetry:
        model.generate(prompt(), max_new_tokens=2, streamer=make())
    assert telemetry.span.attributes
    assert not [record for record in caplog.records if "CoreVital" in record.getMessage()]


def test_equal_streamers_are_told_apart(tokenizer: Any) -> None:
    @dataclass
    class Named(TextStreamer):
        """All of one name are equal, and have no hash."""

        name: str

        def __post_init__(self) -> None:
            super().__init__(tokenizer)

    model, streamers = tiny_model(), []
    with instrumented() as telemetry:
        for name in ("first", "second"):
            with telemetry.tracer_provider.get_tracer("app").start_as_current_span(name):
                streamers.append(Named("one"))
        for streamer in streamers:
            model.generate(prompt(), max_new_tokens=2, streamer=streamer)
        parents = [span.parent.span_id for span in telemetry.spans if span.parent]
        requests = [span.context.span_id for span in telemetry.span_exporter.get_finished_spans()[:2] if span.context]
        assert parents == requests
        kept = len(call_context._made_in)
        del streamers, streamer
        gc.collect()
        assert len(call_context._made_in) == kept - 2


def with_wrapt(calls: list[int]) -> Any:
    def theirs(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append(1)
        return wrapped(*args, **kwargs)

    return wrapt.FunctionWrapper(GenerationMixin.generate, theirs)


def with_wraps(calls: list[int]) -> Any:
    original = GenerationMixin.generate

    @functools.wraps(original)
    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return original(self, *args, **kwargs)

    return theirs


def without_a_trace(calls: list[int]) -> Any:
    """A wrapper that does not say what it wraps."""
    original = GenerationMixin.generate

    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return original(self, *args, **kwargs)

    return theirs


def like_ours(calls: list[int]) -> Any:
    """A wrapper whose `__wrapped__` leads past what it wraps."""
    theirs = without_a_trace(calls)
    theirs.__wrapped__ = GenerationMixin.generate.__wrapped__
    return theirs


@pytest.mark.parametrize("wrap", [with_wrapt, with_wraps, without_a_trace, like_ours])
def test_another_librarys_wrapper_before_and_after_ours(wrap: Any) -> None:
    model, telemetry, ours = tiny_model(), Telemetry(), CoreVitalInstrumentor()
    plain, calls = vars(GenerationMixin)["generate"], []  # type: ignore[var-annotated]

    def generate() -> tuple[int, int]:
        calls.clear()
        telemetry.clear()
        model.generate(prompt(), max_new_tokens=2)
        return len(calls), len(telemetry.spans)

    try:
        GenerationMixin.generate = theirs = wrap(calls)  # before ours
        for _ in range(2):
            ours.instrument(**telemetry.providers)
            assert generate() == (1, 1)
            ours.uninstrument()
            assert vars(GenerationMixin)["generate"] is theirs
            assert generate() == (1, 0)
        GenerationMixin.generate = plain

        ours.instrument(**telemetry.providers)
        GenerationMixin.generate = theirs = wrap(calls)  # after ours, which stays below it
        assert generate() == (1, 1)
        for _ in range(3):
            ours.uninstrument()
            assert vars(GenerationMixin)["generate"] is theirs
            assert generate() == (1, 0)
            ours.instrument(**telemetry.providers)
            assert generate() == (1, 1)
            assert telemetry.span.attributes
            assert telemetry.span.attributes["corevital.steps.total"] == 2, "measured, not taken for a nested call"
        GenerationMixin.generate = plain  # they take theirs off, and with it ours
        ours.uninstrument()
        ours.instrument(**telemetry.providers)
        assert generate() == (0, 1)
        ours.uninstrument()
        assert vars(GenerationMixin)["generate"] is plain
    finally:
        if ours.is_instrumented_by_opentelemetry:
            ours.uninstrument()
        GenerationMixin.generate = plain
