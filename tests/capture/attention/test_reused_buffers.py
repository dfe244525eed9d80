"""Buffers that a cache or a model uses for every layer: what is measured is what was there when a layer ran."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer
from transformers.models.llama import modeling_llama

from tests.support.in_memory import Keep, instrumented
from tests.support.model_internals import assert_attention, measure, tell
from tests.support.reused_buffers import BUFFER, Scratch
from tests.support.tiny_models import prompt, sharpen, tiny_encoder_decoder, tiny_model

ARGUMENTS: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}


class Rounding(DynamicLayer):
    """A layer for transformers' own cache class that rounds to int8 and dequantises into a buffer of all layers."""

    buffer = torch.empty(BUFFER)

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
        keys, values = super().update(key_states, value_states, *args, **kwargs)
        rounded = (keys * 8).round().clamp(-127, 127).to(torch.int8)
        return self.buffer[: keys.numel()].view(keys.shape).copy_(rounded).div_(8), values


class Evicting(Cache):
    """Written from scratch: a buffer for each layer, whose keys are shifted in place after the next layer has run."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=DynamicLayer)
        self.handed_out: torch.Tensor | None = None

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        if self.handed_out is not None:
            self.handed_out.zero_()
        super().update(key_states, value_states, layer_idx, *args, **kwargs)
        keys, values = self.layers[layer_idx].keys, self.layers[layer_idx].values
        self.handed_out = keys.clone()
        return self.handed_out, values


class Returning(DynamicCache):
    """Two buffers in turn, as a cache has that fetches its keys from the host."""

    buffers = (torch.empty(BUFFER), torch.empty(BUFFER))

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        keys, values = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        room = self.buffers[layer_idx % 2][: keys.numel()].view(keys.shape)
        room.data.copy_(keys)  # which no version tells
        return room, values


def patched() -> Any:
    """Return transformers' own cache with an `update` of its own."""
    cache = DynamicCache()
    inner, buffer = cache.update, torch.empty(BUFFER)

    def update(*args: Any, **kwargs: Any) -> Any:
        keys, values = inner(*args, **kwargs)
        return buffer[: keys.numel()].view(keys.shape).copy_(keys), values

    cache.update = update
    return cache


CACHES: dict[str, Callable[[], Any]] = {
    "one buffer": Scratch,
    "a layer class of one's own": lambda: _with_layers(Rounding),
    "from scratch": Evicting,
    "two buffers": Returning,
    "patched": patched,
}


def _with_layers(kind: type) -> DynamicCache:
    cache = DynamicCache()
    cache.layer_class_to_replicate = kind
    return cache


def four_layers() -> Any:
    return sharpen(tiny_model(num_hidden_layers=4), 30.0)


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("name", CACHES)
def test_attention_is_the_models_own_whatever_its_cache_hands_out(name: str, inference: bool) -> None:
    model, make = four_layers(), CACHES[name]
    truth = tell(model, "model.layers", input_ids=prompt(9), past_key_values=make(), **ARGUMENTS)
    measure(model, input_ids=prompt(9), **ARGUMENTS)  # so that the model itself is known
    with torch.inference_mode(inference):
        (run,), tokens = measure(model, input_ids=prompt(9), past_key_values=make(), **ARGUMENTS)
    assert torch.equal(tokens, truth.tokens)
    assert_attention(run, 0, truth, model.config, 9, 0)


def test_a_loop_with_a_cache_of_its_own() -> None:
    model = four_layers()
    measure(model, input_ids=prompt(9), **ARGUMENTS)

    def loop(model: Any, input_ids: Any, logits_processor: Any, stopping_criteria: Any, **_: Any) -> Any:
        cache, new = Scratch(), input_ids
        while True:
            scores = logits_processor(input_ids, model(new, past_key_values=cache).logits[:, -1].float())
            new = scores.argmax(-1)[:, None]
            input_ids = torch.cat([input_ids, new], -1)
            if bool(stopping_criteria(input_ids, None).all()):
                return input_ids

    truth = tell(model, "model.layers", input_ids=prompt(9), **ARGUMENTS)
    (run,), tokens = measure(model, input_ids=prompt(9), custom_generate=loop, **ARGUMENTS)
    assert torch.equal(tokens, truth.tokens)
    assert_attention(run, 0, truth, model.config, 9, 0)


def test_a_buffer_in_one_half_of_an_encoder_decoders_cache() -> None:
    model = sharpen(tiny_encoder_decoder("bart", decoder_layers=4), 10.0)
    truth = tell(model, "model.decoder.layers", input_ids=prompt(9), **ARGUMENTS)
    measure(model, input_ids=prompt(9), **ARGUMENTS)
    cache = EncoderDecoderCache(Scratch(), DynamicCache())
    (run,), tokens = measure(model, input_ids=prompt(9), past_key_values=cache, **ARGUMENTS)
    assert torch.equal(tokens, truth.tokens)
    assert_attention(run, 0, truth, model.config, 1, 0)


@contextlib.contextmanager
def queries_in_a_buffer(write: Callable[[torch.Tensor, torch.Tensor], Any]) -> Iterator[None]:
    """Let LLaMA's attention have its queries in one buffer of all layers."""
    rotate, buffer = modeling_llama.apply_rotary_pos_emb, torch.empty(BUFFER)

    def rotated(*args: Any, **kwargs: Any) -> Any:
        query, key = rotate(*args, **kwargs)
        room = buffer[: query.numel()].view(query.shape)
        write(room, query)
        return room, key

    modeling_llama.apply_rotary_pos_emb = rotated
    try:
        yield
    finally:
        modeling_llama.apply_rotary_pos_emb = rotate


WRITES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "versioned": lambda room, values: room.copy_(values),
    "unversioned": lambda room, values: room.data.copy_(values),
}


@pytest.mark.parametrize("length", [9, 200])
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_queries_in_one_buffer(write: str, inference: bool, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt of 200 stands for a long one, of whose queries a copy is kept."""
    from opentelemetry_instrumentation_corevital.capture.attention import scores

    monkeypatch.setattr(scores, "_BRIEF_BYTES", 20_000)
    model = four_layers()
    (plain,), _ = measure(model, input_ids=prompt(length), **ARGUMENTS)
    with queries_in_a_buffer(WRITES[write]), torch.inference_mode(inference):
        other = copy.deepcopy(model)  # which nothing is known of
        (run,), _ = measure(other, input_ids=prompt(length), **ARGUMENTS)
        assert same_columns(run, plain) == []
        keep = Keep()
        with instrumented(judgements=[keep], attention_every=1):
            model.generate(prompt(length), **ARGUMENTS)
            for _ in range(2):
                model.generate(prompt(length), **ARGUMENTS)
    assert same_columns(keep.runs[1], plain) == []
    assert same_columns(keep.runs[2], plain) == []


def same_columns(run: Any, plain: Any) -> list[str]:
    """Return the names of the signals in which two runs differ."""
    assert run.tokens.tolist() == plain.tokens.tolist()
    return [
        name
        for name, values in plain.columns.items()
        if name not in run.columns or not np.allclose(run.columns[name], values, rtol=1e-4, atol=1e-5, equal_nan=True)
    ]


@pytest.mark.parametrize("write", WRITES)
def test_queries_that_move_into_one_buffer_cost_one_step(write: str) -> None:
    """The model is known to leave its queries alone; then a library is switched on, in the middle of a call."""
    model = four_layers()
    (plain,), _ = measure(model, input_ids=prompt(9), **ARGUMENTS)
    calls = {"n": 0}

    with instrumented(judgements=[keep := Keep()], attention_every=1):
        model.generate(prompt(9), **ARGUMENTS)
        with contextlib.ExitStack() as stack:

            def count(_module: Any, _args: Any) -> None:
                calls["n"] += 1
                if calls["n"] == 5:  # at step 4
                    stack.enter_context(queries_in_a_buffer(WRITES[write]))

            stack.enter_context(contextlib.closing(_Handle(model.register_forward_pre_hook(count))))
            model.generate(prompt(9), **ARGUMENTS)
            model.generate(prompt(9), **ARGUMENTS)
    first, second, third = keep.runs
    assert same_columns(first, plain) == []
    lost = np.isnan(second.columns["attention_entropy"]).all(1)
    assert lost.tolist() == [step == 4 for step in range(8)]
    for name in ("attention_entropy", "attention_max_weight", "attention_previous_heads"):
        assert np.allclose(second.columns[name][~lost], plain.columns[name][~lost], rtol=1e-4, atol=1e-5), name
    assert same_columns(third, plain) == [], "the model is known by now"


class _Handle:
    def __init__(self, handle: Any) -> None:
        self.close = handle.remove


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_layer_outputs_in_one_buffer(write: str, inference: bool) -> None:
    model, buffer = four_layers(), torch.empty(BUFFER)
    (plain,), _ = measure(model, input_ids=prompt(9), **ARGUMENTS)

    def move(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        room = buffer[: output.numel()].view(output.shape)
        WRITES[write](room, output)
        return room

    other = copy.deepcopy(model)
    for layer in other.model.layers:
        layer.register_forward_hook(move)
    with torch.inference_mode(inference), instrumented(judgements=[keep := Keep()], attention_every=1):
        for _ in range(2):
            other.generate(prompt(9), **ARGUMENTS)
    for run in keep.runs:
        assert same_columns(run, plain) == []


@pytest.mark.parametrize("write", WRITES)
def test_residuals_that_are_added_in_place(write: str) -> None:
    """Every layer adds to what it got and returns that tensor itself."""
    model = four_layers()
    for layer in model.model.layers:
        inner = layer.forward

        def forward(hidden: torch.Tensor, *args: Any, inner: Any = inner, **kwargs: Any) -> Any:
            WRITES[write](hidden, inner(hidden.clone(), *args, **kwargs))
            return hidden

        layer.forward = forward
    (plain,), _ = measure(four_layers(), input_ids=prompt(9), **ARGUMENTS)
    with instrumented(judgements=[keep := Keep()], attention_every=1):
        for _ in range(2):
            model.generate(prompt(9), **ARGUMENTS)
    for run in keep.runs:
        assert same_columns(run, plain) == []


def test_a_known_cache_is_read_by_reference() -> None:
    """What is safe costs nothing: no product of a single layer is made before the end of a step."""
    from opentelemetry_instrumentation_corevital.capture.attention.scores import Attended

    model, made = four_layers(), []
    multiplied = Attended.multiplied

    def watched(self: Attended) -> Any:
        made.append(self)
        return multiplied(self)

    with pytest.MonkeyPatch.context() as patch, instrumented(attention_every=1):
        patch.setattr(Attended, "multiplied", watched)
        model.generate(prompt(9), **ARGUMENTS)
        assert len(made) == 4, "the first step of a model that nothing is known of"
        for options in (
            {},
            {"cache_implementation": "static", "disable_compile": True},
            {"past_key_values": DynamicCache()},
        ):
            made.clear()
            model.generate(prompt(9), **ARGUMENTS, **options)
            assert made == []
