"""The models of the zoo: how each is made and trained, and how many runs are collected of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

CONTEXT: Final = 1024
BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
PARTS: Final = ("healthy", "structured", "tasks", "faults")
"""What is collected of a model, one after the other or by processes side by side."""
DEMO: Final = "smollm2"
"""The seventh: SmolLM2-135M-Instruct, which is loaded, not trained."""


@dataclass(frozen=True, slots=True)
class Training:
    """How a model is trained: AdamW, a warm-up, then a rate that falls to zero in the last quarter.

    `seconds` is a limit: where it comes before `steps` are done, the rate falls earlier. The same steps give the same
    weights as far as the device allows it; fewer do not.
    """

    steps: int = 1200
    rows: int = 64
    micro_rows: int = 64
    learning_rate: float = 1.5e-3
    seconds: float = 240.0


@dataclass(frozen=True, slots=True)
class Model:
    """One model: a class of transformers with its shape, its vocabulary and its training."""

    name: str
    config: str
    shape: Mapping[str, Any]
    vocabulary: int = 16_384
    dtype: str = "bfloat16"
    seed: int = 1
    context: int = CONTEXT
    training: Training = field(default_factory=Training)
    shots: int = 0
    """Solved examples before a question."""

    @property
    def trained(self) -> bool:
        """Whether it is trained here."""
        return self.name != DEMO


MODELS: Final = {
    model.name: model
    for model in (
        Model(
            "gpt2",
            "GPT2Config",
            {"n_embd": 384, "n_layer": 8, "n_head": 6, "n_positions": CONTEXT},
            dtype="float32",
            seed=11,
        ),
        Model(
            "llama",
            "LlamaConfig",
            {
                "hidden_size": 384,
                "intermediate_size": 1024,
                "num_hidden_layers": 12,
                "num_attention_heads": 6,
                "num_key_value_heads": 2,
                "tie_word_embeddings": False,
            },
            seed=12,
        ),
        Model(
            "mistral",
            "MistralConfig",
            {
                "hidden_size": 320,
                "intermediate_size": 896,
                "num_hidden_layers": 16,
                "num_attention_heads": 5,
                "num_key_value_heads": 1,
                "head_dim": 64,
                "sliding_window": 128,
                "tie_word_embeddings": False,
            },
            seed=13,
        ),
        Model(
            "qwen3",
            "Qwen3Config",
            {
                "hidden_size": 256,
                "intermediate_size": 704,
                "num_hidden_layers": 24,
                "num_attention_heads": 8,
                "num_key_value_heads": 4,
                "head_dim": 32,
                "tie_word_embeddings": True,
            },
            seed=14,
        ),
        Model(
            "olmo2",
            "Olmo2Config",
            {
                "hidden_size": 384,
                "intermediate_size": 1024,
                "num_hidden_layers": 6,
                "num_attention_heads": 6,
                "num_key_value_heads": 6,
                "tie_word_embeddings": True,
            },
            vocabulary=100_352,
            seed=15,
            training=Training(micro_rows=32),
        ),
        Model(
            "mixtral",
            "MixtralConfig",
            {
                "hidden_size": 384,
                "intermediate_size": 768,
                "num_hidden_layers": 4,
                "num_attention_heads": 6,
                "num_key_value_heads": 2,
                "num_local_experts": 8,
                "num_experts_per_tok": 2,
                "router_aux_loss_coef": 0.02,
                "tie_word_embeddings": False,
            },
            seed=16,
            training=Training(micro_rows=32),
        ),
        Model(DEMO, "LlamaConfig", {}, vocabulary=49_152, seed=17, context=2048, shots=3),
    )
}
"""By name; 22 to 50 million parameters but for SmolLM2."""

_TINY: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "sliding_window": 64,
}
_TINY_GPT2: Final = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many runs are collected of a model."""

    lengths: Mapping[int, int] = field(default_factory=lambda: {40: 72, 80: 54, 160: 44, 320: 28, 600: 14})
    """Most tokens of a healthy run -> runs wanted at each temperature."""
    more: Mapping[float, float] = field(default_factory=lambda: {0.0: 3.0, 0.7: 1.8, 1.0: 1.5})
    """Temperature -> runs generated for each one wanted: some end early, some in a loop."""
    shortest: int = 40
    """Tokens of the shortest healthy run."""
    loops: int = 80
    every_step: int = 60
    """Healthy runs that are kept with every step of their layers."""
    structured: int = 15
    """Runs of each format at each temperature."""
    structured_tokens: int = 256
    made: int = 20
    """Structured documents of each format that are tokenized as they are."""
    questions: int = 60
    """Of each task."""
    pilot: int = 16
    """Of each task and level."""
    samples: int = 5
    answer_tokens: int = 40
    fault_layers: int = 6
    fault_rows: int = 4
    fault_tokens: int = 48


TOY_AMOUNTS: Final = Amounts(
    lengths={24: 2, 48: 1},
    shortest=8,
    loops=4,
    every_step=2,
    structured=1,
    structured_tokens=24,
    made=2,
    questions=2,
    pilot=2,
    samples=2,
    answer_tokens=6,
    fault_layers=1,
    fault_rows=2,
    fault_tokens=20,
)


def toy(model: Model) -> Model:
    """Return a model of the same make that a processor trains in seconds."""
    small = _TINY_GPT2 if model.config == "GPT2Config" else {k: v for k, v in _TINY.items() if _has(model, k)}
    return replace(
        model,
        shape={**model.shape, **small} if model.trained else {},
        vocabulary=900 if model.vocabulary > 50_000 else 500,
        dtype="float32",
        context=256,
        training=Training(steps=20, rows=4, micro_rows=4, seconds=60.0),
    )


def _has(model: Model, key: str) -> bool:
    return key in model.shape or key not in ("head_dim", "sliding_window")
