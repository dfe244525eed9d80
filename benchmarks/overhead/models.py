"""Models and prompts."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
import transformers

SHAPES: Final[dict[str, dict[str, Any]]] = {
    "tiny-shape": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1024,
    },
    "135m-shape": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
    "llama-1b-shape": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "llama-8b-shape": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}
"""Shapes of Llama models whose random weights stand in for a checkpoint: cost does not depend on the weights."""


def load(name: str, device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    """Return a model: random weights of a shape, the demo model, or a saved one."""
    if name.startswith("random:"):
        return random_model(SHAPES[name.removeprefix("random:")], device, dtype, seed)
    if name == "smollm2":
        from opentelemetry_instrumentation_corevital.loading.models import demo_model_path

        name = str(demo_model_path())
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype, local_files_only=True)
    return model.to(device).eval()


def shown_model(name: str) -> str:
    """Return a model's name for the report: of a folder the last part, the rest tells about the machine."""
    return name if name.startswith("random:") else Path(name).name


def random_model(shape: Mapping[str, Any], device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    """Return a Llama model with seeded random weights, made on the device."""
    config = transformers.LlamaConfig(
        **shape, max_position_embeddings=131072, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    torch.manual_seed(seed)
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).to(device).eval()


def eager_twin(model: Any) -> Any:
    """Return a model of the same weights, with eager attention, for the arm that asks for transformers' outputs.

    A model that has been asked for them once keeps transformers' own hooks for good, so `plain` could not share it.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    twin.set_attn_implementation("eager")
    return twin
