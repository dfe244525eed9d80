"""The hooks of a model: they come and go without a trace, keep apart what belongs apart, and stay out of graphs."""

import copy
import gc
import os
import pickle
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AttentionInterface,
    BartForConditionalGeneration,
    BertConfig,
    Blip2Config,
    Blip2ForConditionalGeneration,
    CompileConfig,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LogitsProcessor,
    LogitsProcessorList,
    MambaConfig,
    MambaForCausalLM,
    MptConfig,
    MptForCausalLM,
    Pix2StructConfig,
    Pix2StructForConditionalGeneration,
    SpeechEncoderDecoderConfig,
    SpeechEncoderDecoderModel,
    Wav2Vec2Config,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.capture.attention.scores import from_weights, tells_visible
from opentelemetry_instrumentation_corevital.capture.model.description import describe_model
from opentelemetry_instrumentation_corevital.capture.model.structure import examine, layers_path
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.spans import run_code
from tests.support.tiny_models import padded_batch, prompt, sharpen, tiny_encoder_decoder, tiny_model

ARGUMENTS: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}


def hooks_of(model: nn.Module) -> list[str]:
    return [
        type(hook).__name__
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]


def runs_of(model: Any, inputs: dict[str, Any] | None = None, **options: Any) -> list[Run]:
    keep = Keep()
    with instrumented(judgements=[keep], **{"attention_every": 1, **options}):
        model.generate(**(inputs or {"input_ids": prompt()}), **ARGUMENTS)
    return keep.runs


def test_uninstrumenting_takes_every_hook_and_wrapper_away() -> None:
    sdpa, eager = tiny_model(), tiny_model()
    eager.set_attn_implementation("eager")
    with instrumented():
        for model in (sdpa, eager):
            model.generate(prompt(), **ARGUMENTS)
        assert hooks_of(sdpa) == ["LayerHook"] * 2
        assert sorted(hooks_of(eager)) == ["LayerHook", "LayerHook", "WeightsHook", "WeightsHook"]
        assert AttentionInterface()["sdpa"] is not sdpa_attention_forward
        model.generate(prompt(), **ARGUMENTS)
        assert len(hooks_of(eager)) == 4, "there are no more after a second run"
    assert hooks_of(sdpa) == hooks_of(eager) == []
    assert AttentionInterface()["sdpa"] is sdpa_attention_forward


def test_an_attention_function_that_somebody_put_over_ours_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AttentionInterface._global_mapping, "sdpa", sdpa_attention_forward)

    def theirs(*args: Any, **kwargs: Any) -> Any:
        return sdpa_attention_forward(*args, **kwargs)

    model = tiny_model()
    with instrumented():
        model.generate(prompt(), **ARGUMENTS)
        AttentionInterface.register("sdpa", theirs)
    assert AttentionInterface()["sdpa"] is theirs


def test_a_copied_or_pickled_model_has_inert_hooks_and_can_be_watched_itself() -> None:
    model = tiny_model()
    plain = model.generate(prompt(), **ARGUMENTS)
    with instrumented(judgements=[keep := Keep()]):
        model.generate(prompt(), **ARGUMENTS)
        data = pickle.dumps(model)
        assert b"corevital" not in data.lower()
        for other in (copy.deepcopy(model), pickle.loads(data)):
            assert "LayerHook" not in hooks_of(other)
            assert torch.equal(other.generate(prompt(), **ARGUMENTS), plain)
            assert np.array_equal(keep.runs[-1].columns["hidden_l2_norm"], keep.runs[0].columns["hidden_l2_norm"])
    assert torch.equal(pickle.loads(data).generate(prompt(), **ARGUMENTS), plain)


def test_no_model_is_kept_alive() -> None:
    with instrumented():
        model = tiny_model()
        model.generate(prompt(), **ARGUMENTS)
        gone = weakref.ref(model)
        del model
        gc.collect()
        assert gone() is None


def test_exchanged_layers_are_found_again() -> None:
    model = tiny_model(num_hidden_layers=3)
    with instrumented(judgements=[keep := Keep()]):
        model.generate(prompt(), **ARGUMENTS)
        old = model.model.layers[1]
        model.model.layers[1] = copy.deepcopy(model.model.layers[2])
        model.model.layers[1].self_attn.layer_idx = 1
        model.generate(prompt(), **ARGUMENTS)
        assert not old._forward_hooks
    assert np.isfinite(keep.runs[1].columns["hidden_l2_norm"]).all()
    assert not np.array_equal(
        keep.runs[0].columns["hidden_l2_norm"][:, 1], keep.runs[1].columns["hidden_l2_norm"][:, 1]
    )


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_an_exchanged_attention_is_found_again(implementation: str) -> None:
    model = sharpen(tiny_model(num_hidden_layers=3))
    model.set_attn_implementation(implementation)
    with instrumented(judgements=[keep := Keep()], attention_every=1):
        model.generate(prompt(), **ARGUMENTS)
        old = model.model.layers[1].self_attn
        model.model.layers[1].self_attn = copy.deepcopy(old)
        with torch.no_grad():
            model.model.layers[1].self_attn.q_proj.weight.mul_(-1)
        model.generate(prompt(), **ARGUMENTS)
        assert not old._forward_hooks
    before, after = (run.columns["attention_entropy"][0] for run in keep.runs)
    assert np.isfinite(after).all()
    assert (before == after).tolist() == [True, False, False]


def same_model(model: Any) -> Any:
    return copy.copy(model)


def other_head(model: Any) -> Any:
    other = tiny_model()
    other.lm_head, other.model = model.lm_head, model.model
    return other


def other_list(model: Any) -> Any:
    other = tiny_model()
    other.lm_head = model.lm_head
    other.model.embed_tokens, other.model.norm = model.model.embed_tokens, model.model.norm
    other.model.layers = nn.ModuleList(model.model.layers)
    return other


@pytest.mark.parametrize("share", [same_model, other_head, other_list])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_models_that_share_layers_share_their_hooks(implementation: str, share: Any) -> None:
    model = sharpen(tiny_model())
    other = share(model)
    for sharing in (model, other):
        sharing.set_attn_implementation(implementation)
    attached = ["LayerHook"] * 2 + ["WeightsHook"] * 2 * (implementation == "eager")
    with instrumented(judgements=[keep := Keep()], attention_every=1):
        for sharing in (model, other, model):
            sharing.generate(prompt(), **ARGUMENTS)
            assert sorted(hooks_of(model)) == attached
        del other, sharing
        gc.collect()
        model.generate(prompt(), **ARGUMENTS)
        for run in keep.runs:
            assert not {"hidden_states", "attention"} & run.absent.keys(), run.absent
            for name in ("hidden_l2_norm", "attention_entropy"):
                assert np.array_equal(run.columns[name], keep.runs[0].columns[name])
    assert hooks_of(model) == []


def test_a_layer_that_one_model_gives_away_stays_hooked_for_the_other() -> None:
    model = tiny_model()
    other = other_list(model)
    shared = model.model.layers[1]
    with instrumented(judgements=[keep := Keep()]):
        model.generate(prompt(), **ARGUMENTS)
        other.generate(prompt(), **ARGUMENTS)
        model.model.layers[1] = copy.deepcopy(shared)
        model.generate(prompt(), **ARGUMENTS)
        assert len(shared._forward_hooks) == 1
        other.generate(prompt(), **ARGUMENTS)
        other.model.layers[1] = model.model.layers[1]
        other.generate(prompt(), **ARGUMENTS)
        assert not shared._forward_hooks
    for run in keep.runs:
        assert np.array_equal(run.columns["hidden_l2_norm"], keep.runs[0].columns["hidden_l2_norm"])
    assert "LayerHook" not in hooks_of(model) + hooks_of(other)


def test_layers_that_outlive_their_model_are_left_clean() -> None:
    model = tiny_model()
    with instrumented():
        model.generate(prompt(), **ARGUMENTS)
        decoder = model.model
        del model
        gc.collect()
        assert hooks_of(decoder) == ["LayerHook"] * 2
    assert hooks_of(decoder) == []


def test_a_generation_inside_a_run_leaves_its_numbers_alone() -> None:
    model, other = sharpen(tiny_model()), sharpen(tiny_model(seed=1))

    class Asks(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            model.generate(prompt(4), max_new_tokens=2, do_sample=False)
            other(prompt(3))
            model(prompt(7))  # a forward pass of the same model, as classifier-free guidance makes one
            return scores

    (plain,) = runs_of(model)
    (asking,) = runs_of(model, {"input_ids": prompt(), "logits_processor": LogitsProcessorList([Asks()])})
    for name, values in plain.columns.items():
        assert np.array_equal(asking.columns[name], values, equal_nan=True), name


def test_the_attention_implementation_and_the_config_are_left_alone() -> None:
    model = tiny_model()
    before = model.config.to_dict(), model.config._attn_implementation
    (run,) = runs_of(model)
    assert (model.config.to_dict(), model.config._attn_implementation) == before
    assert run.model.attention_implementation == "sdpa"


@pytest.mark.parametrize("models", [1, 4])
def test_sixteen_threads_have_their_own_numbers(models: int) -> None:
    loaded = [sharpen(tiny_model(seed=seed)) for seed in range(models)]
    inputs = [prompt(4 + index, seed=index) for index in range(16)]
    alone = []
    for index in range(16):
        (run,) = runs_of(loaded[index % models], {"input_ids": inputs[index]})
        alone.append(run)
    telemetry, together, barrier = Telemetry(), {}, threading.Barrier(16)

    class Sort:
        role = "sort"

        def on_run_ending(self, span: Any, run: Run) -> None:
            together[threading.get_ident()] = run, span.get_span_context().span_id

    def work(index: int) -> None:
        barrier.wait()
        loaded[index % models].generate(inputs[index], **ARGUMENTS)
        found[index] = together[threading.get_ident()]

    found: dict[int, Any] = {}
    with instrumented(telemetry, judgements=[Sort()], attention_every=1):
        threads = [threading.Thread(target=work, args=(index,)) for index in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    spans = {span.context.span_id: span for span in telemetry.spans if span.context is not None}
    assert len(spans) == 16
    for index, (run, span_id) in found.items():
        assert run.tokens.tolist() == alone[index].tokens.tolist()
        for name, values in alone[index].columns.items():
            assert np.allclose(run.columns[name], values, rtol=1e-5, atol=1e-6, equal_nan=True), (index, name)
        norms = (spans[span_id].attributes or {})["corevital.layers.l2_norm"]
        assert norms == pytest.approx(alone[index].columns["hidden_l2_norm"].mean(0), rel=1e-5)


def test_layers_on_several_devices_and_on_disk(tmp_path: Path) -> None:
    """Without a second device: accelerate moves what is on disk in and out around each layer's own forward."""
    model = sharpen(tiny_model(num_hidden_layers=4))
    plain = model.generate(**padded_batch(), **ARGUMENTS)
    expected = runs_of(model, padded_batch())
    places: dict[str, Any] = {f"model.layers.{layer}": "disk" if layer in (1, 3) else "cpu" for layer in range(4)}
    places |= {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    offloaded = accelerate.dispatch_model(
        copy.deepcopy(model), device_map=places, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True
    )
    keep = Keep()
    with instrumented(judgements=[keep], attention_every=1):
        assert torch.equal(offloaded.generate(**padded_batch(), **ARGUMENTS), plain)
        assert offloaded.model.layers[1].mlp.up_proj.weight.device.type == "meta", "it is on disk between calls"
    for run, other in zip(keep.runs, expected, strict=True):
        for name, values in other.columns.items():
            assert np.allclose(run.columns[name], values, rtol=1e-5, atol=1e-6, equal_nan=True), name


_graphs: list[int] = []


def count_graphs(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
    """Compile nothing, but keep the size of each graph: a function, since generate() copies its config."""
    _graphs.append(len(list(graph.graph.nodes)))
    return graph.forward


def compiled_run(watched: bool) -> tuple[list[int], torch.Tensor, list[Run]]:
    """Generate twice with a static cache and compiled decoding, as generate() does by itself on CUDA."""
    torch._dynamo.reset()
    _graphs.clear()
    keep = Keep()
    model = sharpen(tiny_model())
    config = CompileConfig(backend=count_graphs, mode=None, fullgraph=True)
    config._compile_all_devices = True
    arguments = {**ARGUMENTS, "cache_implementation": "static", "compile_config": config, "disable_compile": False}
    if watched:
        with instrumented(judgements=[keep], attention_every=1):
            model.generate(prompt(), **arguments)
            tokens = model.generate(prompt(), **arguments)
    else:
        model.generate(prompt(), **arguments)
        tokens = model.generate(prompt(), **arguments)
    torch._dynamo.reset()
    return list(_graphs), tokens, keep.runs


def test_a_compiled_graph_is_the_one_without_hooks_and_what_is_inside_is_absent() -> None:
    plain_graphs, plain, _ = compiled_run(False)
    graphs, tokens, runs = compiled_run(True)
    assert len(plain_graphs) >= 1, "the test needs a compiled graph"
    assert graphs == plain_graphs
    assert torch.equal(tokens, plain)
    for run in runs:
        assert run.absent["hidden_states"] == run.absent["attention"] == "compiled"
        assert "hidden_l2_norm" not in run.columns
        assert np.isfinite(run.columns["entropy"]).all()


def test_autocast_and_inference_mode_change_no_number() -> None:
    model = sharpen(tiny_model())
    (plain,) = runs_of(model)
    with torch.inference_mode():
        (inference,) = runs_of(model)
    for name, values in plain.columns.items():
        assert np.array_equal(inference.columns[name], values, equal_nan=True), name
    scores: list[torch.Tensor] = []
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    with torch.autocast("cpu", torch.bfloat16):
        result = eager.generate(prompt(), **ARGUMENTS, return_dict_in_generate=True, output_logits=True)
        scores.extend(result.logits)
        (cast,) = runs_of(model)
    entropy = [torch.distributions.Categorical(logits=row[0].double()).entropy() / np.log(2) for row in scores]
    assert cast.columns["entropy"] == pytest.approx([float(bits) for bits in entropy], abs=0.1)
    weights = sum(cast.columns[f"attention_mass_{region}"] for region in ("sink", "prompt", "generated"))
    assert weights == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("encoder_decoder", [False, True])
def test_the_layers_of_a_model_with_several_parts_are_those_of_its_text_decoder(encoder_decoder: bool) -> None:
    if encoder_decoder:
        model = tiny_encoder_decoder("bart", encoder_layers=3, decoder_layers=4)
        path, layers = "model.decoder.layers", 4
    else:
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3}
        config = Gemma3Config(
            text_config={**shape, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 128},
            vision_config={**shape, "num_hidden_layers": 5, "image_size": 28, "patch_size": 14},
            mm_tokens_per_image=4,
        )
        model = Gemma3ForConditionalGeneration(config)
        path, layers = "model.language_model.layers", 3
    assert layers_path(model) == path
    info = describe_model(model)
    assert (info.layer_count, info.head_count, info.vocabulary_size) == (layers, 4, 128)


class Attention(nn.Module):
    """An attention of no known library."""

    def __init__(self) -> None:
        super().__init__()
        self.q_lin = nn.Linear(4, 4)


def test_lists_of_attentions_and_norms_are_no_layers() -> None:
    model = nn.Module()
    model.attentions = nn.ModuleList(Attention() for _ in range(4))
    model.norms = nn.ModuleList(nn.LayerNorm(4) for _ in range(4))
    assert layers_path(model) is None
    model.layers = nn.ModuleList(nn.Sequential(Attention(), nn.LayerNorm(4)) for _ in range(6))
    assert layers_path(model) == "layers"


def test_a_layer_that_runs_several_times_a_step_is_told() -> None:
    model = tiny_model(num_hidden_layers=3)
    inner = model.model.layers[1].forward

    def twice(hidden: torch.Tensor, **kwargs: Any) -> Any:
        out = inner(hidden, **kwargs)
        for hook in model.model.layers[1]._forward_hooks.values():
            hook(model.model.layers[1], (hidden,), out)
        return out

    model.model.layers[1].forward = twice
    (run,) = runs_of(model)
    assert run.absent["hidden_states"] == run.absent["attention"] == "a layer runs several times in a step"
    assert "hidden_l2_norm" not in run.columns


def test_what_cannot_be_weights_is_not_taken_for_them() -> None:
    model = sharpen(tiny_model())
    model.set_attn_implementation("eager")
    weights = torch.rand(1, 4, 1, 9).softmax(-1)
    module = nn.Identity()
    for returned, expected in ((weights, False), (weights.log(), True), (weights * 3, True)):
        scores = from_weights(module, returned, None, certain=False)
        assert bool(scores.values.isnan().all()) is expected
        assert not from_weights(module, weights, None, certain=True).values.isnan().any()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_was_forked_during_a_call_can_generate() -> None:
    code = """
        import os, threading, time, sys
        sys.setswitchinterval(1e-6)
        import torch
        torch.set_num_threads(1)
        from opentelemetry_instrumentation_corevital._internal import safety
        from opentelemetry_instrumentation_corevital.capture.attach import attention_registry as registry
        from opentelemetry_instrumentation_corevital.capture.attach import module_hooks as hooks
        from tests.support.in_memory import instrumented
        from tests.support.tiny_models import prompt, tiny_model
        model = tiny_model()
        with instrumented():
            model.generate(prompt(), max_new_tokens=2, do_sample=False)
            for lock in (hooks._lock, registry._lock, safety._errors._lock):
                taken, done = threading.Event(), threading.Event()

                def hold():
                    with lock:
                        taken.set()
                        done.wait(0.3)

                thread = threading.Thread(target=hold)
                thread.start()
                taken.wait()
                child = os.fork()
                if child == 0:
                    hooks.detach_all()
                    registry.unwrap_attention_functions()
                    safety.reset()
                    hooks.attach(model)
                    registry.wrap_attention_functions()
                    os._exit(0)
                done.set()
                thread.join()
                for _ in range(100):
                    found, status = os.waitpid(child, os.WNOHANG)
                    if found:
                        break
                    time.sleep(0.1)
                else:
                    os.kill(child, 9)
                    raise SystemExit("a child waits for a lock that nobody holds")
                assert status == 0, status
    """
    found = run_code(code)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("empty", [0, 4], ids=["dynamic", "static"])
@pytest.mark.parametrize("kind", ["additive", "visible", "masked"])
def test_masks_tell_which_keys_are_visible_where_weights_are_too_small(
    kind: str, empty: int, dtype: torch.dtype
) -> None:
    """Padding at the start, empty places of a static cache at the end, and visible keys without weight in between."""
    visible = torch.tensor([[False] * padding + [True] * (12 - padding) + [False] * empty for padding in (0, 3)])
    scores = torch.randn(2, 4, 12 + empty) - 30.0 * (torch.arange(12 + empty) % 3 > 0)
    weights = scores.masked_fill(~visible[:, None], -torch.inf).softmax(-1).to(dtype)
    assert bool((weights[0, :, :12] == 0).any()) is (dtype == torch.float16), "the test needs what vanishes in half"
    added = torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)
    mask = {"visible": visible, "masked": ~visible, "additive": added}[kind]
    mask = mask[:, None, None, :].expand(2, 1, 5, -1)
    assert tells_visible(weights[:, :, None], mask, certain=False)
    found = from_weights(nn.Identity(), weights[:, :, None], mask, certain=False)
    assert found.visible is not None
    assert torch.equal(found.visible, visible)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_that_do_not_tell_which_keys_are_visible_are_left_out(dtype: torch.dtype, hidden: bool) -> None:
    """MPT computes its own attention and says True for what is masked."""
    config = MptConfig(d_model=32, n_heads=4, n_layers=2, max_seq_len=64, vocab_size=128)
    torch.manual_seed(0)
    model = sharpen(MptForCausalLM(config).eval()).to(dtype)

    def hide(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        rest = dict(kwargs)
        names = ("position_bias", "past_key_values", "past_key_value", "attention_mask")
        return (*args, *(rest.pop(name) for name in names if name in rest)), rest

    if hidden:
        for block in model.transformer.blocks:
            block.attn.register_forward_pre_hook(hide, with_kwargs=True)
    for run in runs_of(model, padded_batch()):
        if hidden and dtype == torch.float16:
            assert run.absent["attention"] == "float16 weights do not tell which keys are visible"
        else:
            assert np.isfinite(run.columns["attention_entropy"]).all()


def tiny_florence2(seed: int = 0) -> Any:
    """A vision model and a whole BART, encoder and decoder."""
    shape = {"d_model": 32, "encoder_layers": 3, "decoder_layers": 3, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    tokens = {"vocab_size": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = Florence2Config(
        text_config={**shape, **heads, **tokens, "max_position_embeddings": 128},
        vision_config={"embed_dim": [8] * 4, "num_heads": [2] * 4, "num_groups": [2] * 4, "depths": [1] * 4},
        image_token_id=127,
    )
    torch.manual_seed(seed)
    return sharpen(Florence2ForConditionalGeneration(config).eval())


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_text_part_that_is_an_encoder_decoder_is_measured_in_its_decoder(implementation: str) -> None:
    model = tiny_florence2()
    bart = BartForConditionalGeneration(model.config.text_config).eval()
    bart.model, bart.lm_head = model.model.language_model, model.lm_head
    inputs = {"input_ids": prompt(9).clamp(max=126), "decoder_start_token_id": 1}
    for each in (model, bart):
        each.set_attn_implementation(implementation)
        each.generation_config.forced_eos_token_id = each.generation_config.forced_bos_token_id = None
    (run,), (alone,) = runs_of(model, inputs), runs_of(bart, inputs)
    assert layers_path(model) == "model.language_model.decoder.layers"
    assert (run.model.layer_count, run.model.head_count) == (3, 4)
    assert not {"hidden_states", "attention"} & run.absent.keys(), run.absent
    assert run.tokens.tolist() == alone.tokens.tolist()
    for name, values in alone.columns.items():
        assert np.allclose(run.columns[name], values, rtol=1e-5, atol=1e-6, equal_nan=True), name
    assert "cross_attention_entropy" in run.columns


def blip2_t5() -> Any:
    t5 = {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_decoder_layers": 3}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    reader = {**vision, "vocab_size": 128, "encoder_hidden_size": 32}
    return Blip2ForConditionalGeneration, Blip2Config(
        text_config={**t5, "num_heads": 4, "vocab_size": 128}, vision_config=vision, qformer_config=reader
    )


def speech_bert() -> Any:
    bert = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    decoder = BertConfig(**bert, vocab_size=128, is_decoder=True, add_cross_attention=True)
    config = SpeechEncoderDecoderConfig.from_encoder_decoder_configs(Wav2Vec2Config(**bert), decoder)
    return SpeechEncoderDecoderModel, config


def pix2struct() -> Any:
    text = {"hidden_size": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4, "vocab_size": 128}
    vision = {"hidden_size": 32, "d_kv": 8, "d_ff": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    return Pix2StructForConditionalGeneration, Pix2StructConfig(text_config=text, vision_config=vision)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (blip2_t5, "language_model.decoder.block"),
        (speech_bert, "decoder.bert.encoder.layer"),
        (pix2struct, "decoder.layer"),
    ],
)
def test_the_decoder_is_found_wherever_it_is(make: Any, path: str) -> None:
    """An encoder-decoder below a vision model, a decoder that calls its layers an encoder, other names."""
    kind, config = make()
    with torch.device("meta"):
        model = kind(config)
    anatomy = examine(model)
    assert anatomy.path == path
    assert Counter(found.kind for found in anatomy.attention_of.values()) == {"self": 3, "cross": 3}


def test_layers_that_do_not_run_are_named() -> None:
    """As where a user's subclass decodes with other layers than those that its config counts."""
    model = tiny_model()
    model.unused = model.model.layers
    del model.model.layers
    vars(model.model)["layers"] = copy.deepcopy(list(model.unused))
    (run,) = runs_of(model)
    assert run.absent["hidden_states"] == run.absent["attention"] == "the layers at unused did not run"


def test_a_model_without_attention_is_told_so() -> None:
    config = MambaConfig(hidden_size=32, state_size=4, num_hidden_layers=2, vocab_size=128)
    torch.manual_seed(0)
    (run,) = runs_of(MambaForCausalLM(config).eval())
    assert run.absent["attention"] == "no attention was found in the model's layers"
    assert "hidden_l2_norm" in run.columns
