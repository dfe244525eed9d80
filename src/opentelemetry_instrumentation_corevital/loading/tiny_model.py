"""A tiny causal language model with random weights, made in memory: to see what `generate()` does on this machine."""

from typing import Any, Final

from .models import default_device, libraries

NAME: Final = "corevital-doctor"
_WORDS: Final = 8
"""Of the vocabulary: an entropy of 3 bits at most, so that no run of it looks unsure."""
_SHAPE: Final[dict[str, Any]] = {
    "vocab_size": _WORDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.6,  # with the usual 0.02 every word is as likely, and the run is warned of
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": 0,
}


class TinyModel:
    """The model, on the device on which a model would be loaded.

    Raises:
        UserError: if torch or transformers is not installed.
    """

    def __init__(self) -> None:
        torch, transformers = libraries(NAME)
        self._torch = torch
        self.device: Any = default_device(torch)
        config = transformers.LlamaConfig(**_SHAPE)
        config._name_or_path = NAME
        self.model: Any = transformers.LlamaForCausalLM(config).to(self.device).eval()

    @property
    def device_name(self) -> str:
        """The device as people know it, with torch's version."""
        torch, kind = self._torch, self.device.type
        if kind == "cuda":
            count = torch.cuda.device_count()
            name = f"cuda, {torch.cuda.get_device_name(self.device)}{f', the first of {count}' if count > 1 else ''}"
        else:
            name = f"cpu, {torch.get_num_threads()} threads" if kind == "cpu" else kind
        return f"{name}, torch {torch.__version__}"

    def generate(self, tokens: int) -> None:
        """Generate so many tokens, greedily."""
        prompt = self._torch.tensor([[1, 2, 3, 4]], device=self.device)
        self.model.generate(
            prompt,
            attention_mask=self._torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=tokens,
        )
