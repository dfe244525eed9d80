"""A small model of any architecture, by rule."""

import copy
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from common import AUTO_CLASSES, HEAD_DIM, HEADS, HIDDEN, LAYERS, VOCABULARY


def _at_most(limit: int) -> Callable[[int], int]:
    return lambda value: min(value, limit)


RULES: Final[tuple[tuple[str, Callable[[int], int]], ...]] = (
    (r"(num_hidden_layers|num_layers|n_layers?|encoder_layers|decoder_layers|num_blocks)$", _at_most(LAYERS)),
    (r"num_(en|de)coder_layers$", _at_most(LAYERS)),
    (r"vocab_size", _at_most(VOCABULARY)),
    (r"(num_key_value_heads|num_kv_heads|num_query_groups)$", lambda value: 1 if value == 1 else 2),
    (r"(num_heads|n_heads?|num_attention_heads|attention_heads)$", _at_most(HEADS)),
    (r"(intermediate_size|ffn_dim|d_ff|n_inner|ffn_hidden_size|ffn_embed_dim|mlp_dim|ff_dim)", _at_most(HIDDEN)),
    (r"(head_dim|d_kv|head_size|kv_channels)$", _at_most(HEAD_DIM)),
    (r"^rotary_dim$", _at_most(HEAD_DIM // 2)),
    (r"(^|_)(hidden_size|d_model|n_embd|dim|embed_dim|embedding_size|hidden_dim|hidden_size_per_layer_input)$",
     _at_most(HIDDEN)),
    (r"lora_rank$", _at_most(HEAD_DIM)),
    (r"(num|n)_(local_|routed_|moe_)?experts$|moe_num_experts$", _at_most(4)),
    (r"(experts_per_tok(en)?|num_selected_experts|moe_k|moe_top_?k|top_k_experts)$", _at_most(2)),
    (r"^(n_group|topk_group|num_expert_groups?)$", _at_most(1)),
    (r"(max_position_embeddings|n_positions|max_source_positions|max_target_positions|max_seq_len)$", _at_most(512)),
)  # fmt: skip
"""Name of a number in a config -> what becomes of it; the first that fits."""

MISSING: Final = {"head_dim": HEAD_DIM, "attention_head_dim": HEAD_DIM, "num_key_value_heads": HEADS // 2}
"""What some configs leave open, and their models then need."""

OVERRIDES: Final[dict[str, dict[str, Any]]] = {
    # Sizes that the rule does not know by their names, or that have to fit each other.
    "bamba": {"mamba_n_heads": 8, "attn_layer_indices": [2]},
    "blip-2": {"image_token_index": VOCABULARY - 1, "num_query_tokens": 4},
    "instructblip": {"image_token_index": VOCABULARY - 1, "num_query_tokens": 4},
    "blenderbot": {"encoder_layers": LAYERS},
    "blt": {"encoder_hash_byte_group_vocab": 512},
    "cpmant": {"dim_head": HEAD_DIM, "dim_ff": HIDDEN},
    "ctrl": {"dff": HIDDEN},
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0}},
    "dots3_note": {"audio_config": {"adapter_input_size": HIDDEN}},
    "dots3_note_text": {
        "num_key_value_heads": HEADS,
        "swa_num_attention_heads": HEADS,
        "swa_num_key_value_heads": HEADS,
    },
    "falcon_h1": {"mamba_n_heads": 8, "mamba_d_ssm": 2 * HIDDEN},
    "gemma3n_text": {"num_kv_shared_layers": 0, "intermediate_size": HIDDEN},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}},
    "gemma4_text": {"global_head_dim": HEAD_DIM},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {
        "mamba_n_heads": 8,
        "layer_types": ["mamba", "mamba", "attention", "mamba"],
    },
    "jamba": {"attn_layer_offset": 2, "use_mamba_kernels": False},
    "longcat_flash": {"expert_ffn_hidden_size": HIDDEN, "zero_expert_num": 2},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "nemotron_h": {"mamba_num_heads": 8, "mamba_head_dim": 16},
    "recurrent_gemma": {"lru_width": HIDDEN},
    "reformer": {"axial_pos_shape": [16, 32], "axial_pos_embds_dim": [16, 48]},
    "vibevoice_asr": {
        "acoustic_tokenizer_encoder_config": {"num_filters": 1},
        "semantic_tokenizer_encoder_config": {"num_filters": 1},
    },
    "xlstm": {"hidden_size": 2 * HIDDEN},
    "zamba": {
        "use_mamba_kernels": False,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
    "xmod": {"default_language": "en_XX"},
    # The defaults of these cannot be instantiated or hold no layer of their kind: what is missing in them.
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"]},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 4 * HEAD_DIM,
        "indexer_budget": 512,
        "indexer_compress_ratio": 2,
    },
}
"""Model type -> what the rule gets wrong, as keyword arguments of the config; also where it is part of another."""


PARTS: Final[dict[str, dict[str, str]]] = {
    "blip-2": {"text_config": "t5"},
    "instructblip": {"text_config": "t5"},
    "encoder-decoder": {"encoder": "bert", "decoder": "bert"},
    "vision-encoder-decoder": {"encoder": "vit", "decoder": "bert"},
    "speech-encoder-decoder": {"encoder": "wav2vec2", "decoder": "bert"},
}
"""Model type -> which configs it is made of, where that is open or where the default is no encoder-decoder."""


def small_config(model_type: str, kind: str) -> Any:
    """Return a small config of a model type, made from its default one."""
    from transformers import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[model_type]
    parts = {name: _small_part(name, part) for name, part in PARTS.get(model_type, {}).items()}
    arguments = parts
    if not {"encoder", "decoder"} <= parts.keys():
        arguments = {**_small_arguments(config_class(), OVERRIDES.get(model_type, {})), **parts}
    if kind == "causal" and "is_decoder" in _parameters(config_class):
        arguments["is_decoder"] = True
    return config_class(**arguments)


def _small_part(name: str, model_type: str) -> dict[str, Any]:
    """Return keyword arguments of a small config that is part of another."""
    from transformers import CONFIG_MAPPING

    decodes = {"is_decoder": True, "add_cross_attention": True} if name == "decoder" else {}
    return {"model_type": model_type, "bos_token_id": 1, **_small_arguments(CONFIG_MAPPING[model_type](), decodes)}


def _parameters(config_class: type) -> dict[str, Any]:
    """Return the names of a config's own parameters with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(config_class.__init__).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD and name != "self"
    }


def _small_arguments(config: Any, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments that make a small config of the same class as a default one."""
    arguments: dict[str, Any] = {}
    special = iter(range(VOCABULARY - 1, 0, -1))
    overrides = {**OVERRIDES.get(config.model_type, {}), **overrides}
    layers = _default_layers(config)
    for name, default in _parameters(type(config)).items():
        value = config_value(config, name, default)
        if _is_config(value):
            small: Any = _small_arguments(value, overrides.pop(name, {}))
            arguments[name] = {**({"model_type": value.model_type} if value.model_type else {}), **small}
        elif isinstance(value, list | tuple):
            if re.search(r"_token_ids?$", name):
                arguments[name] = [min(token, 2) for token in value]
            elif layers is not None and layers > LAYERS and len(value) == layers:
                arguments[name] = _all_kinds(list(value))
        elif name in MISSING and (value is None or default is None):
            arguments[name] = MISSING[name]
        elif isinstance(value, int) and isinstance(default, int) and not isinstance(value, bool):
            # A number whose default is open was derived from others, and will be again.
            arguments[name] = _small_number(name, value, special)
    if "kv_lora_rank" in arguments and "num_key_value_heads" in arguments:
        arguments["num_key_value_heads"] = HEADS  # latent attention has a key for each head
    return {**arguments, **overrides}


def config_value(config: Any, name: str, default: Any) -> Any:
    """Return an attribute of a config, the default also where reading it raises."""
    try:
        return getattr(config, name, default)
    except Exception:  # some configs of 5.23 refuse what differs from layer to layer
        return default


def _default_layers(config: Any) -> int | None:
    names = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
    return next((value for name in names if isinstance(value := config_value(config, name, None), int)), None)


def _all_kinds(values: list[Any]) -> list[Any]:
    """Return the first entries of a list by layer, the last of them replaced until every kind of layer is there."""
    short = values[:LAYERS]
    try:
        missing = [value for value in dict.fromkeys(values) if value not in short]
    except TypeError:  # entries that are lists themselves
        return short
    for position, value in zip(range(LAYERS - 1, 0, -1), missing, strict=False):
        short[position] = value
    return short


def _small_number(name: str, value: int, special: Iterator[int]) -> int:
    if re.search(r"token_(id|index)$", name):
        usual = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        return value if value < VOCABULARY else usual[name] if name in usual else next(special)
    return next((rule(value) for pattern, rule in RULES if re.search(pattern, name)), value)


def _is_config(value: Any) -> bool:
    from transformers import PretrainedConfig

    return isinstance(value, PretrainedConfig)


def build(kind: str, config: Any, implementation: str | None = None) -> Any:
    """Return the model with the same random weights each time, its attention far from uniform."""
    import torch
    import transformers

    from tests.support.tiny_models import sharpen

    auto = getattr(transformers, AUTO_CLASSES[kind])
    options = {} if implementation is None else {"attn_implementation": implementation}
    torch.manual_seed(0)
    model = auto.from_config(copy.deepcopy(config), **options).float().eval()
    if not model.can_generate():
        raise TypeError("the class has no generate()")
    for name in ("eos_token_id", "forced_eos_token_id", "forced_bos_token_id", "suppress_tokens"):
        setattr(model.generation_config, name, None)
    model.generation_config.pad_token_id = 0
    if model.generation_config.decoder_start_token_id is None and model.generation_config.bos_token_id is None:
        model.generation_config.bos_token_id = 1
    return sharpen(model, 4.0)
