"""Tiny random models of many architectures, and prompts for them."""

from typing import Any

import torch
import transformers

PAD, BOS, EOS, VOCABULARY = 0, 1, 2, 128
TRANSFORMERS_4 = transformers.__version__.startswith("4.")

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "mistral": ("MistralConfig", {"sliding_window": 8, "head_dim": 8}),
    "mixtral": ("MixtralConfig", {"sliding_window": 8, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2": ("Qwen2Config", {}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 8, "head_dim": 8}),
    "qwen3": ("Qwen3Config", {"head_dim": 8}),
    "gemma2": ("Gemma2Config", {"sliding_window": 8, "head_dim": 8, "query_pre_attn_scalar": 8}),
    "phi3": ("Phi3Config", {}),
    "olmo2": ("Olmo2Config", {}),
    "gpt_neox": ("GPTNeoXConfig", {}),
    "gpt2": (
        "GPT2Config",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "n_inner": 64},
    ),
}

ENCODER_DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": (
        "T5Config",
        {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4},
    ),
    "bart": (
        "BartConfig",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": 256,
        },
    ),
}


def tiny_model(architecture: str = "llama", *, seed: int = 0, scale: float = 8.0, **overrides: Any) -> Any:
    """Return a random float32 model whose distributions are neither uniform nor one-hot."""
    config_name, extra = ARCHITECTURES[architecture]
    shape = (
        {key: value for key, value in _SHAPE.items() if key.endswith("_id") or key == "vocab_size"}
        if architecture == "gpt2"
        else dict(_SHAPE)
    )
    config = getattr(transformers, config_name)(**{**shape, **extra, **overrides})
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        # An untied head: scaling a tied one would scale the embeddings too.
        model.get_output_embeddings().weight = torch.nn.Parameter(torch.randn_like(head) * scale / head.shape[1] ** 0.5)
    return model


def tiny_encoder_decoder(architecture: str, *, seed: int = 0, **overrides: Any) -> Any:
    """Return a random float32 encoder-decoder model."""
    config_name, extra = ENCODER_DECODERS[architecture]
    tokens = {"pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": BOS, "forced_eos_token_id": None}
    config = getattr(transformers, config_name)(**{"vocab_size": VOCABULARY, **tokens, **extra, **overrides})
    torch.manual_seed(seed)
    return transformers.AutoModelForSeq2SeqLM.from_config(config).eval()


def sharpen(model: Any, factor: float = 6.0) -> Any:
    """Scale the projections of a random model, so that its attention is not uniform; return the model."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and any(part in name.lower() for part in ("attn", "attention")):
                parameter.mul_(factor)
    return model


def prompt(length: int = 6, *, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Return random prompt ids [batch, length] without special tokens."""
    return torch.randint(3, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def padded_batch() -> dict[str, torch.Tensor]:
    """Return a left-padded batch of three prompts."""
    ids, mask = prompt(9, batch=3), torch.ones(3, 9, dtype=torch.long)
    for row, padding in enumerate((0, 3, 6)):
        ids[row, :padding], mask[row, :padding] = PAD, 0
    return {"input_ids": ids, "attention_mask": mask}
