"""A finished call keeps nothing alive: with the cyclic collector off, what its caller deletes is freed at once."""

import gc
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from opentelemetry import context as otel_context
from opentelemetry.metrics import NoOpMeter, NoOpMeterProvider
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerFast,
    StoppingCriteria,
    TextStreamer,
    pipeline,
)

from opentelemetry_instrumentation_corevital import disabled
from opentelemetry_instrumentation_corevital.emission.instruments import instruments_of
from tests.support.identity import observe
from tests.support.in_memory import instrumented
from tests.support.tiny_models import VOCABULARY, prompt, tiny_encoder_decoder, tiny_model


@pytest.fixture(autouse=True)
def _only_references() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()  # `observe` freezes


class Processor(LogitsProcessor):
    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores


class Criterion(StoppingCriteria):
    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        return torch.zeros(len(input_ids), dtype=torch.bool)


class Streamer:
    def put(self, value: torch.Tensor) -> None:
        pass

    def end(self) -> None:
        pass


MODELS: dict[str, Callable[[], Any]] = {
    "llama": tiny_model,
    "eager": lambda: tiny_model(attn_implementation="eager"),
    "sliding window": lambda: tiny_model("gemma3"),
    "bart": lambda: tiny_encoder_decoder("bart"),
}
CALLS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"do_sample": True, "num_return_sequences": 2},
    "beams": {"num_beams": 2},
    "prompt lookup": {"prompt_lookup_num_tokens": 2},
    "no cache": {"use_cache": False},
}


@pytest.mark.parametrize("settings", [{}, {"capture": "full", "step_events": "logs"}], ids=["summary", "steps as logs"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_models_inputs_caches_and_helpers_are_freed(make: Callable[[], Any], settings: dict[str, Any]) -> None:
    for name, options in CALLS.items():
        model, inputs = make(), prompt()
        helpers = [Processor(), Criterion()] + ([Streamer()] if name in ("greedy", "no cache") else [])
        with instrumented(**settings) as telemetry:
            result = model.generate(
                inputs,
                max_new_tokens=5,
                return_dict_in_generate=True,
                logits_processor=LogitsProcessorList(helpers[:1]),
                stopping_criteria=[helpers[1]],
                streamer=helpers[2] if len(helpers) > 2 else None,
                **options,
            )
        assert telemetry.spans
        cache = result.past_key_values
        left = [weakref.ref(each) for each in (model, inputs, *helpers, *([] if cache is None else [cache]))]
        del model, inputs, helpers, result, cache
        assert [each() for each in left] == [None] * len(left), name


def test_an_assistant_is_freed() -> None:
    model, assistant = tiny_model(), tiny_model(seed=1)
    with instrumented():
        model.generate(prompt(), max_new_tokens=5, assistant_model=assistant)
    left = [weakref.ref(model), weakref.ref(assistant)]
    del model, assistant
    assert [each() for each in left] == [None, None]


@pytest.mark.parametrize("at", [6, 9], ids=["first step", "later"])
def test_an_exception_that_its_caller_keeps_keeps_nothing_else(at: int) -> None:
    class Fail(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, _scores: torch.Tensor) -> torch.Tensor:
            if input_ids.shape[1] == at:
                raise RuntimeError("in the middle")
            return _scores

    model, kept = tiny_model(), None
    with instrumented() as telemetry:
        try:
            model.generate(prompt(), max_new_tokens=9, logits_processor=LogitsProcessorList([Fail()]))
        except RuntimeError as error:
            kept = error
    assert kept is not None
    assert telemetry.span.status.status_code.name == "ERROR"
    traceback.clear_frames(kept.__traceback__)  # as unittest and others do, who keep exceptions
    left = weakref.ref(model)
    del model
    assert left() is None


def test_the_lists_that_custom_code_keeps_do_not_lead_to_the_model() -> None:
    kept: list[Any] = []

    def custom(model: Any, input_ids: Any, logits_processor: Any, stopping_criteria: Any, **kwargs: Any) -> Any:
        kept.append((logits_processor, stopping_criteria))
        return type(model)._sample(model, input_ids, logits_processor, stopping_criteria, **kwargs)

    model = tiny_model()
    with instrumented() as telemetry:
        model.generate(prompt(), max_new_tokens=5, custom_generate=custom)
    assert telemetry.spans
    assert kept
    left = weakref.ref(model)
    del model
    assert left() is None


def tokenizer() -> Any:
    words = {f"w{number}": number for number in range(VOCABULARY)}
    made = Tokenizer(models.WordLevel(words, unk_token="w3"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="w0", bos_token="w1", eos_token="w2")


def test_a_pipeline_and_its_parts_are_freed_as_they_are_without() -> None:
    def run() -> list[bool]:
        # A pipeline is a cycle of its own.
        pipe = pipeline("text-generation", model=tiny_model(), tokenizer=tokenizer())
        pipe("w5 w6 w7", max_new_tokens=4)
        left = [weakref.ref(each) for each in (pipe, pipe.model, pipe.tokenizer)]
        del pipe
        return [each() is None for each in left]

    plain = observe(run)
    with instrumented():
        run()  # what is made once
        found = observe(run)
    assert found.result == plain.result
    assert found.garbage <= plain.garbage
    assert found.alive == plain.alive


def test_a_streamer_is_freed_whose_context_refers_to_it() -> None:
    class State:
        streamer: Any = None

    def stream(*, off: bool) -> weakref.ref[Any]:
        state = State()
        token = otel_context.attach(otel_context.set_value("state", state))
        try:
            if off:
                with disabled():
                    state.streamer = TextStreamer(tokenizer())
            else:
                state.streamer = TextStreamer(tokenizer())
        finally:
            otel_context.detach(token)
        if not off:
            tiny_model().generate(prompt(), max_new_tokens=3, streamer=state.streamer)
        return weakref.ref(state.streamer)

    with instrumented():
        left = [stream(off=off) for off in (False, True)]
        gc.collect()  # the state and its streamer are a cycle
        assert [each() for each in left] == [None, None]


def test_a_streamer_without_hash_is_streamed_to_and_recorded() -> None:
    class Equal(TextStreamer):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        __hash__ = None  # type: ignore[assignment]

    with instrumented() as telemetry:
        tiny_model().generate(prompt(), max_new_tokens=3, streamer=Equal(tokenizer()))
    assert (telemetry.span.attributes or {})["gen_ai.usage.output_tokens"] == 3


def test_a_meter_provider_is_freed_whose_meter_refers_to_it() -> None:
    class Meter(NoOpMeter):
        provider: Any = None

        def create_counter(self, *args: Any, **kwargs: Any) -> Any:
            counter = super().create_counter(*args, **kwargs)
            counter.meter = self  # type: ignore[attr-defined]
            return counter

    class Provider(NoOpMeterProvider):
        def get_meter(self, name: str, *_args: Any, **_kwargs: Any) -> Any:
            meter = Meter(name)
            meter.provider = self
            return meter

    provider = Provider()
    instruments_of(provider)
    left = weakref.ref(provider)
    del provider
    gc.collect()
    assert left() is None
