"""What routers of experts say, from a plain forward pass, in float64."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers

from opentelemetry_instrumentation_corevital import Run
from tests.support.model_internals import same
from tests.support.tiny_models import BOS, EOS, PAD, VOCABULARY

_EXPERTS = {
    "mixtral": ("MixtralConfig", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3_moe": ("Qwen3MoeConfig", {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    "qwen2_moe": (
        "Qwen2MoeConfig",
        {
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
        },
    ),
    "olmoe": ("OlmoeConfig", {"num_experts": 4, "num_experts_per_tok": 2}),
    "granitemoe": ("GraniteMoeConfig", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "gpt_oss": ("GptOssConfig", {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}),
    "deepseek_v3": (
        "DeepseekV3Config",
        {
            "n_routed_experts": 8,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
            "num_key_value_heads": 4,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    "llama4": (
        "Llama4TextConfig",
        {
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "intermediate_size_mlp": 64,
            "head_dim": 8,
            "interleave_moe_layer_step": 2,
        },
    ),
    "jamba": (
        "JambaConfig",
        {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "use_mamba_kernels": False,
            "mamba_d_state": 4,
            "mamba_d_conv": 2,
            "mamba_dt_rank": 4,
        },
    ),
}


def model_with_experts(kind: str, **overrides: Any) -> Any:
    """Return a tiny random model whose routers prefer some experts."""
    name, extra = _EXPERTS[kind]
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
    }
    torch.manual_seed(0)
    config = getattr(transformers, name)(**{**shape, **extra, **overrides})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for path, weights in model.named_parameters():
            if path.endswith(("gate.weight", "router.weight", "router.layer.weight")) and weights.ndim == 2:
                weights.mul_(40.0)
    return model


def router_reference(logits: Sequence[float]) -> dict[str, float]:
    """Return what one router says of one token."""
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    shares = [weight / math.fsum(weights) for weight in weights]
    entropy = -math.fsum(p * math.log(p) for p in shares if p > 0)
    return {"router_entropy": entropy / math.log(len(logits)), "router_top1_prob": max(shares)}


def layers_with_routers(model: Any) -> list[int]:
    """Return the indices of the layers that have a router, by the names of their parameters."""
    paths = [path.split(".") for path, _ in model.named_parameters() if "gate." in path or "router" in path]
    return sorted({int(path[path.index("layers") + 1]) for path in paths if "shared_expert_gate" not in path})


@torch.no_grad()
def assert_routers(model: Any, run: Run, tokens: torch.Tensor, padding: int, tolerance: float = 2e-5) -> None:
    """Compare a run with the router logits of one forward over its whole sequence, without a cache or padding."""
    ids = tokens[None, padding:]
    logits = model(input_ids=ids, output_router_logits=True, use_cache=False).router_logits
    layers, length = layers_with_routers(model), ids.shape[1]
    assert len(logits) == len(layers)
    first = length - run.steps - 1
    for name in ("router_entropy", "router_top1_prob"):
        found = run.columns[name]
        assert found.shape == (run.steps, model.config.num_hidden_layers)
        assert np.isnan(np.delete(found, layers, axis=1)).all(), "layers without a router"
        for layer, of_layer in zip(layers, logits, strict=True):
            rows = of_layer.reshape(length, -1).double().tolist()
            for step in range(run.steps):
                expected = router_reference(rows[first + step])[name]
                assert same(float(found[step, layer]), expected, tolerance), (name, step, layer)
