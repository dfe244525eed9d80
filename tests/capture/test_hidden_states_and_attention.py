"""What is measured inside a model, against `output_hidden_states` and the weights of its own eager attention."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import DynamicCache

from opentelemetry_instrumentation_corevital.run import SELF_SIGNALS
from tests.support.in_memory import Keep, instrumented
from tests.support.model_internals import (
    LAYERS,
    PADDING,
    assert_attention,
    assert_hidden,
    measure,
    same,
    tell,
    visible,
)
from tests.support.reference import layer_reference
from tests.support.tiny_models import (
    ARCHITECTURES,
    ENCODER_DECODERS,
    TRANSFORMERS_4,
    padded_batch,
    prompt,
    sharpen,
    tiny_encoder_decoder,
    tiny_model,
)

NEW_TOKENS = 12


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("padded", ["one", "padded"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hidden_states_and_attention_equal_those_of_the_model(architecture: str, padded: str, cache: str) -> None:
    model = sharpen(tiny_model(architecture))
    if architecture == "gemma2" and TRANSFORMERS_4:  # SDPA of transformers 4 ignores the soft-cap
        for layer in model.model.layers:
            layer.self_attn.attn_logit_softcapping = None
    # Transformers 5 refuses SDPA to a model with a soft-cap.
    model.set_attn_implementation("eager" if architecture == "gemma2" and not TRANSFORMERS_4 else "sdpa")
    inputs = padded_batch() if padded == "padded" else {"input_ids": prompt(9)}
    arguments = {**inputs, "max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None}
    if cache == "static":
        arguments["cache_implementation"] = "static"
    truth = tell(model, LAYERS.get(architecture, "model.layers"), **arguments)
    runs, tokens = measure(model, **arguments)
    assert torch.equal(tokens, truth.tokens), "the comparison needs the same tokens"
    for row, run in enumerate(runs):
        assert run.steps == NEW_TOKENS
        assert "attention" not in run.absent
        assert_hidden(run, row, truth)
        assert_attention(run, row, truth, model.config, 9, PADDING[padded][row])


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ENCODER_DECODERS)
def test_encoder_decoders_equal_too_with_their_cross_attention(
    architecture: str, implementation: str, cache: str
) -> None:
    if architecture == "t5" and TRANSFORMERS_4 and implementation == "sdpa":
        pytest.skip("T5 of transformers 4 knows eager attention only")
    model = sharpen(tiny_encoder_decoder(architecture))
    model.set_attn_implementation(implementation)
    ids, mask = prompt(9, batch=2), torch.ones(2, 9, dtype=torch.long)
    ids[1, 5:], mask[1, 5:] = 0, 0
    arguments: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": mask,
        "max_new_tokens": NEW_TOKENS,
        "do_sample": False,
        "eos_token_id": None,
    }
    if cache == "static":
        arguments["cache_implementation"] = "static"
    truth = tell(model, LAYERS[architecture], **arguments)
    runs, tokens = measure(model, **arguments)
    assert torch.equal(tokens, truth.tokens), "the comparison needs the same tokens"
    for row, run in enumerate(runs):
        assert_hidden(run, row, truth)
        assert_attention(run, row, truth, model.config, 1, 0)
        for step in range(run.steps):
            for layer, weights in enumerate(truth.cross[step]):
                expected = layer_reference(weights[row][:, : (9, 5)[row]].double().tolist(), 0)
                for name in ("attention_entropy", "attention_entropy_std", "attention_max_weight"):
                    assert same(float(run.columns[f"cross_{name}"][step, layer]), expected[name]), (name, step, layer)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_short_prompt_has_what_can_be_told_and_no_more(implementation: str) -> None:
    model = sharpen(tiny_model())
    model.set_attn_implementation(implementation)
    arguments = {"input_ids": prompt(1), "max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None}
    truth = tell(model, "model.layers", **arguments)
    (run,), _ = measure(model, **arguments)
    assert_attention(run, 0, truth, model.config, 1, 0)
    assert run.columns["attention_entropy"][0].tolist() == [1.0, 1.0], "one key"
    assert np.isnan(run.columns["attention_previous"][0]).all()
    assert np.isnan(run.columns["collapsed_head_rate"][:11]).all(), "fewer than 8 keys beside the sinks"
    assert not np.isnan(run.columns["collapsed_head_rate"][11]).any()


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_half_precision_models_are_reduced_in_float32(architecture: str) -> None:
    """Weights that the model has rounded to bfloat16 do not sum to 1: three digits are what can be compared."""
    model = sharpen(tiny_model(architecture), 3.0).bfloat16()
    model.set_attn_implementation("eager")
    arguments = {**padded_batch(), "max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    truth = tell(model, LAYERS.get(architecture, "model.layers"), **arguments)
    eager, tokens = measure(model, **arguments)
    assert torch.equal(tokens, truth.tokens)
    for row, run in enumerate(eager):
        assert_hidden(run, row, truth)
        assert_attention(run, row, truth, model.config, 9, PADDING["padded"][row], 5e-3)
    model.set_attn_implementation("sdpa")
    sdpa, _ = measure(model, **arguments)
    for row, run in enumerate(sdpa):
        assert np.allclose(run.columns["attention_entropy"][0], eager[row].columns["attention_entropy"][0], atol=0.02)
        assert np.allclose(
            run.columns["attention_max_weight"][0], eager[row].columns["attention_max_weight"][0], atol=0.02
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("layer", [0, 1, 2, 3])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_seen_at_its_step_in_its_layer(
    layer: int, dtype: torch.dtype, bad: float
) -> None:
    model = tiny_model(num_hidden_layers=4).to(dtype)
    calls = 0

    def plant(_module: Any, _args: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            states = output[0] if isinstance(output, tuple) else output
            states[:, -1, 5] = bad  # as a broken kernel would: in place

    model.model.layers[layer].register_forward_hook(plant)
    (run,), _ = measure(model, input_ids=prompt(), max_new_tokens=10, do_sample=False, eos_token_id=None)
    column = run.columns["hidden_nan" if math.isnan(bad) else "hidden_inf"]
    assert np.argwhere(column)[0].tolist() == [5, layer]
    assert column[5, layer] == 1
    assert run.health is not None
    flag = "nan_detected" if math.isnan(bad) else "inf_detected"
    evidence = run.health.evidence[flag]
    assert (evidence["step"], evidence["layer"], evidence["values"]) == (5, layer, 1)
    assert run.blame is not None
    assert run.blame[0].layer == layer
    assert run.blame[0].severity == 1.0
    assert run.blame[0].evidence["step"] == 5
    assert run.risk is not None
    assert run.risk.score == 1.0


def test_a_layer_is_seen_after_hooks_that_a_user_adds_later() -> None:
    model = tiny_model()
    plain, _ = measure(model, input_ids=prompt(), max_new_tokens=4, do_sample=False)
    with instrumented(judgements=[keep := Keep()]):
        model.generate(prompt(), max_new_tokens=4, do_sample=False)
        handle = model.model.layers[1].register_forward_hook(lambda _module, _args, output: output * 3)
        model.generate(prompt(), max_new_tokens=4, do_sample=False)
        handle.remove()
    before, after = (run.columns["hidden_l2_norm"][0] for run in keep.runs)
    assert before.tolist() == plain[0].columns["hidden_l2_norm"][0].tolist()
    assert after[0] == before[0]
    assert after[1] == pytest.approx(3 * before[1], rel=1e-6)


def test_layers_that_are_changed_in_place_afterwards_are_seen_as_they_were() -> None:
    model = tiny_model(num_hidden_layers=4)
    plain, _ = measure(model, input_ids=prompt(), max_new_tokens=6, do_sample=False, eos_token_id=None)

    def in_place(_module: Any, args: Any) -> None:
        args[0].mul_(1.5)

    model.model.layers[2].register_forward_pre_hook(in_place)
    found, _ = measure(model, input_ids=prompt(), max_new_tokens=6, do_sample=False, eos_token_id=None)
    norms = found[0].columns["hidden_l2_norm"]
    assert norms[0, 1] == plain[0].columns["hidden_l2_norm"][0, 1], "before layer 2 changed it"
    assert norms[0, 2] != plain[0].columns["hidden_l2_norm"][0, 2]


def test_layers_that_begin_to_be_changed_in_place_cost_one_step() -> None:
    model = tiny_model(num_hidden_layers=4)
    calls, norms = {"n": 0}, []

    def in_place(_module: Any, args: Any) -> None:
        calls["n"] += 1
        norms.append(float(args[0][0, -1].norm()))
        if calls["n"] > 5:
            args[0].mul_(1.5)

    model.model.layers[2].register_forward_pre_hook(in_place)
    with instrumented(judgements=[keep := Keep()]) as telemetry:
        for _ in range(2):
            model.generate(input_ids=prompt(), max_new_tokens=10, do_sample=False, eos_token_id=None)
    first, second = (run.columns["hidden_l2_norm"] for run in keep.runs)
    assert np.isnan(first).all(1).tolist() == [step == 5 for step in range(10)]
    assert np.isnan(keep.runs[0].columns["hidden_cosine"]).tolist() == [step in (0, 5, 6) for step in range(10)]
    assert not np.isnan(second).any(), "the model is known by now"
    found = np.concatenate((first[:, 1], second[:, 1]))
    assert found[~np.isnan(found)] == pytest.approx(np.delete(norms, 5), rel=1e-5)
    for span in telemetry.spans:
        assert (span.attributes or {})["corevital.layers.nonfinite"] == (0, 0, 0, 0)


@pytest.mark.parametrize("step", [0, 4])
@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("loss", ["a layer is silent", "another batch", "another shape"])
def test_attention_is_the_same_where_hidden_states_are_lost(loss: str, every: int, step: int) -> None:
    from opentelemetry_instrumentation_corevital.capture.collector.collector import thread

    model = sharpen(tiny_model())
    arguments = {**padded_batch(), "max_new_tokens": 9, "do_sample": False, "eos_token_id": None}
    whole, _ = measure(model, {"attention_every": every}, **arguments)
    calls = {"n": 0}

    def lose(_module: Any, _args: Any, _output: Any) -> None:
        if calls["n"] == step:
            collector = thread.collector
            assert collector is not None
            if loss == "a layer is silent":
                collector.hidden.clear()
            elif loss == "another batch":
                collector.hidden.states.pop(0, None)
                collector.hidden._collected[:1] = []
                collector.on_layer(model.model.layers[0], torch.zeros(1, 1, 32))
            else:
                collector.on_layer(model.model.layers[0], torch.zeros(3))
        calls["n"] += 1

    model.get_output_embeddings().register_forward_hook(lose)
    runs, _ = measure(model, {"attention_every": every}, **arguments)
    for run, other in zip(runs, whole, strict=True):
        assert "hidden_states" in run.absent
        assert "hidden_l2_norm" not in run.columns
        for name in (*SELF_SIGNALS, "attention_previous_heads", "entropy"):
            assert np.array_equal(run.columns[name], other.columns[name], equal_nan=True), name


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("brief", [True, False])
def test_nothing_of_a_long_prefill_is_kept_that_the_cache_does_not_hold(
    cache: bool, brief: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry_instrumentation_corevital.capture.attention import scores

    whole = 200 * 32 * 4  # of a layer's outputs, and of its queries
    monkeypatch.setattr(scores, "_BRIEF_BYTES", whole if brief else whole - 1)
    model = tiny_model(num_hidden_layers=6)
    arguments = {"input_ids": prompt(200), "max_new_tokens": 2, "do_sample": False, "eos_token_id": None}
    seen: list[int] = []

    def watch(_module: Any, _args: Any, output: Any) -> None:
        from opentelemetry_instrumentation_corevital.capture.collector.collector import thread

        collector = thread.collector
        assert collector is not None
        attention = collector.attention
        kept = [*collector.hidden.states.values(), *(scores.values for scores in attention._scores.values())]
        kept += [attended.query for attended in attention._attended.values()]
        seen.append(sum(tensor.untyped_storage().nbytes() for tensor in kept))
        held = {} if not cache else {layer.keys.data_ptr() for layer in output.past_key_values.layers}
        assert {attended.key.data_ptr() for attended in attention._attended.values()} <= set(held)

    model.get_decoder().register_forward_hook(watch)
    with instrumented(attention_every=1):
        model.generate(**arguments, use_cache=cache)  # tells that layers leave their outputs as they are
        seen.clear()
        model.generate(**arguments, use_cache=cache)
    # Per layer: 32 values of the last position, and 4 heads x 8 of its query or 4 heads x 200 keys of its scores.
    outputs, attention = (whole, whole) if brief else (32 * 4, 32 * 4)
    assert seen[0] == 6 * (outputs + (attention if cache else 4 * 200 * 4))


def test_what_one_call_has_learned_of_the_layers_does_not_mislead_the_next() -> None:
    """The same model with other sizes, in another precision, and with layers that change what they got."""

    def add_in_place(_module: Any, args: Any) -> None:
        args[0].add_(1.0)

    def change(model: Any, what: str) -> dict[str, Any]:
        if what == "another precision":
            model.to(torch.bfloat16)
        if what == "changed in place":
            model.get_decoder().layers[2].register_forward_pre_hook(add_in_place)
        inputs = padded_batch() if what == "a batch" else {"input_ids": prompt(60 if what == "a longer prompt" else 12)}
        return {**inputs, "max_new_tokens": 5, "do_sample": False, "eos_token_id": None}

    whats = ("first", "again", "a longer prompt", "a batch", "another precision", "changed in place", "and again")
    fresh, known = (sharpen(tiny_model(num_hidden_layers=4)) for _ in range(2))
    expected = {what: measure(fresh, **change(fresh, what))[0] for what in whats}  # each by hooks of its own
    keep = Keep()
    with instrumented(judgements=[keep], attention_every=1):
        for what in whats:
            keep.runs.clear()
            known.generate(**change(known, what))
            for one, other in zip(keep.runs, expected[what], strict=True):
                assert one.columns.keys() == other.columns.keys()
                for name, values in one.columns.items():
                    unknown = np.isnan(values) if what == "changed in place" else np.zeros(values.shape, bool)
                    assert np.array_equal(values[~unknown], other.columns[name][~unknown], equal_nan=True), (what, name)
                    if what == "changed in place" and name == "hidden_l2_norm":
                        assert unknown.all(1).tolist() == [True] + [False] * 4


def test_scores_beyond_the_limit_are_reduced_before_the_end_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry_instrumentation_corevital.capture.collector import step_attention

    model = sharpen(tiny_model(num_hidden_layers=5))
    arguments = {**padded_batch(), "max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    whole, _ = measure(model, **arguments)
    monkeypatch.setattr(step_attention, "PENDING_BYTES", 800)
    parts, _ = measure(model, **arguments)
    for run, other in zip(parts, whole, strict=True):
        for name, values in other.columns.items():
            assert np.allclose(run.columns[name], values, rtol=1e-6, atol=1e-6, equal_nan=True), name


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_oss", "t5"])
@pytest.mark.parametrize("limit", [1, 200, 1500])
def test_scores_are_reduced_in_slices(architecture: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice is some layers, or some sequences of one: with biases, learned sinks, padding, cross-attention."""
    from opentelemetry_instrumentation_corevital.capture.attention import reduction
    from opentelemetry_instrumentation_corevital.capture.collector import step_attention

    if architecture == "t5":
        model = sharpen(tiny_encoder_decoder("t5", num_layers=5, num_decoder_layers=5))
    elif architecture == "gpt_oss":
        model = sharpen(tiny_gpt_oss())
    else:
        model = sharpen(tiny_model(architecture, **{"n_layer" if architecture == "gpt2" else "num_hidden_layers": 5}))
    arguments = {**padded_batch(), "max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    whole, _ = measure(model, **arguments)
    sizes, reduce = [], reduction._reduce_values

    def watched(values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        sizes.append(values.nbytes)
        return reduce(values, *args, **kwargs)

    monkeypatch.setattr(reduction, "_reduce_values", watched)
    monkeypatch.setattr(reduction, "SLICE_BYTES", limit)
    monkeypatch.setattr(step_attention, "SLICE_BYTES", limit)
    parts, _ = measure(model, **arguments)
    assert max(sizes) <= max(limit, 4 * 4 * 16), "one sequence of one layer, at the least"
    for run, other in zip(parts, whole, strict=True):
        assert "attention_entropy" in run.columns
        for name, values in other.columns.items():
            assert np.allclose(run.columns[name], values, rtol=1e-6, atol=1e-6, equal_nan=True), name


def tiny_gpt_oss() -> Any:
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.GptOssConfig(
        **shape, vocab_size=128, num_hidden_layers=4, head_dim=8, num_local_experts=2, num_experts_per_tok=1,
        sliding_window=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=256,
        rope_scaling=None, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.GptOssForCausalLM(config).eval()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.sinks.normal_()
    return model


def test_a_second_attention_of_a_layer_is_seen_after_a_flush_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry_instrumentation_corevital.capture.collector import step_attention

    model = sharpen(tiny_model(num_hidden_layers=3))
    layer = model.model.layers[1]
    second = layer.second_attn = copy.deepcopy(layer.self_attn)
    second.layer_idx = 2
    inner = layer.self_attn.forward

    def both(*args: Any, **kwargs: Any) -> Any:
        found = inner(*args, **kwargs)
        second(*args, **{name: value for name, value in kwargs.items() if not name.startswith("past_key")})
        return found

    layer.self_attn.forward = both
    arguments = {"input_ids": prompt(), "max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    for limit in (step_attention.PENDING_BYTES, 1):
        monkeypatch.setattr(step_attention, "PENDING_BYTES", limit)
        (run,), _ = measure(model, **arguments)
        entropy = run.columns["attention_entropy"]
        assert np.isnan(entropy[:, 1]).all(), limit
        assert not np.isnan(entropy[:, [0, 2]]).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("limit", [1, 1000])
def test_keys_are_widened_in_slices(dtype: torch.dtype, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry_instrumentation_corevital.capture.attention import scores

    query, key = torch.randn(3, 6, 8).to(dtype), torch.randn(3, 2, 50, 8).to(dtype)
    whole = scores.products(query, key)
    monkeypatch.setattr(scores, "SLICE_BYTES", limit)
    sizes, multiply = [], torch.bmm

    def watched(left: torch.Tensor, right: torch.Tensor, **options: Any) -> torch.Tensor:
        sizes.append(right.nbytes)
        return multiply(left, right, **options)

    monkeypatch.setattr(torch, "bmm", watched)
    assert torch.allclose(scores.products(query, key), whole, rtol=1e-6)
    assert max(sizes) == 50 * 8 * 4, "one head of one sequence"


def test_every_nth_step_and_some_layers() -> None:
    model = sharpen(tiny_model(num_hidden_layers=6))
    arguments = {"input_ids": prompt(), "max_new_tokens": 10, "do_sample": False, "eos_token_id": None}
    (whole,), _ = measure(model, **arguments)
    (some,), _ = measure(model, {"attention_every": 4, "layers": "1..2,-1"}, **arguments)
    assert [step for step in range(10) if not np.isnan(some.columns["attention_entropy"][step]).all()] == [0, 4, 8]
    for name in ("attention_entropy", "attention_mass_sink", "hidden_l2_norm"):
        steps = [0, 4, 8] if name.startswith("attention") else range(10)
        found, expected = some.columns[name][list(steps)], whole.columns[name][list(steps)]
        assert np.array_equal(found[:, [1, 2, 5]], expected[:, [1, 2, 5]])
        assert np.isnan(found[:, [0, 3, 4]]).all()
    transformation = some.columns["layer_transformation"]
    assert np.isnan(transformation[:, [0, 1, 3, 4, 5]]).all(), "layers 1 and 5 have no measured neighbour below"
    assert np.array_equal(transformation[:, 2], whole.columns["layer_transformation"][:, 2])
    assert np.array_equal(some.columns["hidden_cosine"], whole.columns["hidden_cosine"], equal_nan=True)
    (none,), _ = measure(model, {"attention_every": 0, "layers": "0"}, **arguments)
    assert "attention_entropy" not in none.columns
    assert "attention_every=0" in none.absent["attention"]
    assert np.isnan(none.columns["hidden_cosine"]).all(), "the last layer was not looked at"


def test_an_unknown_attention_function_is_told_and_not_guessed() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def squared(module: Any, query: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        return sdpa_attention_forward(module, query * 2, key, *args, **kwargs)

    AttentionInterface.register("squared", squared)
    AttentionMaskInterface.register("squared", sdpa_mask)
    model = tiny_model()
    model.set_attn_implementation("squared")
    (run,), _ = measure(model, input_ids=prompt(), max_new_tokens=4, do_sample=False)
    assert "squared" in run.absent["attention"]
    assert "attention_entropy" not in run.columns
    assert "hidden_l2_norm" in run.columns
    assert AttentionInterface()["squared"] is squared, "uninstrumented: as it was"


def flash(
    module: Any, query: Any, key: Any, value: Any, mask: Any, *, scaling: float | None = None, dropout: float = 0.0,
    sliding_window: int | None = None, softcap: float | None = None, watch: Any = None, **_: Any,
) -> Any:  # fmt: skip
    """Stand in for the flash kernels, which need a GPU, in float32 and with their arguments."""
    groups, positions, keys = query.shape[1] // key.shape[1], query.shape[2], key.shape[2]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    rows = torch.arange(keys - positions, keys)[:, None]
    columns = torch.arange(keys)[None]
    hidden = columns > rows
    if sliding_window is not None:
        hidden = hidden | (columns <= rows - sliding_window)
    if mask is not None:
        hidden = hidden | (mask[:, None, None, :] == 0)
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1).nan_to_num()
    if watch is not None:
        watch(module, weights)
    return (weights @ value).transpose(1, 2).contiguous(), None


def register_flash(watch: Any = None, **always: Any) -> None:
    """Register the stand-in as `flash_test`, with arguments that override those of the model."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import flash_attention_mask

    AttentionInterface.register("flash_test", lambda *a, **k: flash(*a, **{**k, **always, "watch": watch}))
    AttentionMaskInterface.register("flash_test", flash_attention_mask)


def test_flash_attention_is_recomputed_with_its_window_and_soft_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def watched(module: Any, weights: torch.Tensor) -> None:
        if module.layer_idx == 1:
            seen.append(weights[:, :, -1])

    register_flash(watched, softcap=5.0, sliding_window=8)
    from opentelemetry_instrumentation_corevital.capture.collector.step_attention import StepAttention

    real = StepAttention.begin

    def begin(self: StepAttention, step: int, prefill: bool) -> Any:
        take = real(self, step, prefill)
        more = {"softcap": 5.0, "sliding_window": 8}
        return lambda report: take((*report[:4], {**report[4], **more}, report[5]))

    monkeypatch.setattr(StepAttention, "begin", begin)
    model = sharpen(tiny_model())
    model.config._attn_implementation = "flash_test"
    runs, _ = measure(model, **padded_batch(), max_new_tokens=6, do_sample=False, eos_token_id=None)
    for row, run in enumerate(runs):
        for step in range(run.steps):
            heads = visible(seen[step][row], length=9 + step, padding=PADDING["padded"][row], window=8)
            expected = layer_reference(heads, step)
            for name in SELF_SIGNALS:
                assert same(float(run.columns[name][step, 1]), expected[name]), (name, step)


@pytest.mark.parametrize("implementation", ["sdpa", "flash_test"])
@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma3", "gpt2"])
def test_other_ways_to_the_same_step_have_the_same_numbers(architecture: str, implementation: str) -> None:
    """A prefill in chunks, embeddings in the place of ids, no cache, and a cache that holds half of the prompt."""
    model, ids = sharpen(tiny_model(architecture)), prompt(20)
    register_flash()
    model.config._attn_implementation = implementation
    arguments = {"max_new_tokens": 10, "do_sample": False, "eos_token_id": None}
    (plain,), _ = measure(model, input_ids=ids, **arguments)
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(ids[:, :12], past_key_values=cache)
    ways: dict[str, dict[str, Any]] = {
        "in chunks": {"input_ids": ids, "prefill_chunk_size": 6},
        "embeddings": {"inputs_embeds": model.get_input_embeddings()(ids)},
        "no cache": {"input_ids": ids, "use_cache": False},
        "continued": {"input_ids": ids, "past_key_values": cache},
    }
    for name, way in ways.items():
        (run,), _ = measure(model, **way, **arguments)
        assert run.tokens.tolist() == plain.tokens.tolist(), name
        for column, values in plain.columns.items():
            assert np.allclose(run.columns[column], values, rtol=1e-4, atol=1e-5, equal_nan=True), (name, column)


@pytest.mark.parametrize("argument", ["indices", "block_indices", "sinks", "learnable_sink"])
def test_flash_attention_to_a_choice_of_keys_is_told_and_not_guessed(argument: str) -> None:
    """Of 4.57 and 5.23 some models give their kernels such arguments: not all keys are seen, or something more."""
    register_flash()
    model = tiny_model()
    model.config._attn_implementation = "flash_test"
    arguments = {"input_ids": prompt(), "max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    extra: dict[str, Any] = {argument: None}

    def give(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, **extra}

    for layer in model.model.layers:
        layer.self_attn.register_forward_pre_hook(give, with_kwargs=True)
    (run,), _ = measure(model, **arguments)
    assert "attention" not in run.absent
    extra[argument] = torch.zeros(4)
    (run,), _ = measure(model, **arguments)
    assert run.absent["attention"] == f"the scores of attention with {argument} cannot be told"
    assert "hidden_l2_norm" in run.columns
