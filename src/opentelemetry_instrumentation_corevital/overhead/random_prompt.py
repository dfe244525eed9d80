"""Prompts of random tokens: what a step costs does not depend on what they mean."""

from typing import Any, Final

from .overhead_error import OverheadError

_OFTEN_SPECIAL: Final = 16
"""The first ids of a vocabulary, which often end or pad a sequence."""


def random_prompt(model: Any, batch: int, length: int, new_tokens: int, seed: int) -> Any:
    """Return prompts of random tokens [batch, length] on the model's device.

    Raises:
        OverheadError: if the model has fewer positions than prompt and new tokens together.
    """
    import torch

    text = model.config.get_text_config(decoder=True)
    room = getattr(text, "max_position_embeddings", None)
    if room is not None and length + new_tokens > room:
        raise OverheadError(
            f"--prompt-tokens and --new-tokens: the model has {room} positions: fewer than the {length} tokens of the "
            f"prompt and the {new_tokens} new ones together"
        )
    generator = torch.Generator().manual_seed(seed)
    lowest = min(_OFTEN_SPECIAL, text.vocab_size // 2)
    return torch.randint(lowest, text.vocab_size, (batch, length), generator=generator).to(model.device)
