"""A tiny model that counts: behind each of its tokens always comes the next one, and behind the last one the first."""

from pathlib import Path

import torch

from tests.support.saved_models import word_tokenizer
from tests.support.tiny_models import tiny_model

FIRST = 3
"""Of its tokens: those before it are special ones."""

_CHAT = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def save_cyclic(folder: Path, period: int) -> str:
    """Save one, with a tokenizer that takes messages; return the folder.

    Of a period of at most 64 tokens its runs are loops; of a longer one they are not, and end by their limit alone.
    """
    model, tokens = tiny_model(max_position_embeddings=32_768), torch.arange(FIRST, FIRST + period)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()  # what a layer gets is what it returns
        embeddings = torch.nn.functional.normalize(model.get_input_embeddings().weight)
        head = torch.zeros_like(embeddings)
        head[tokens.roll(-1)] = 20.0 * embeddings[tokens]
        model.get_input_embeddings().weight.copy_(embeddings)
        model.get_output_embeddings().weight.copy_(head)
    model.save_pretrained(folder)
    tokenizer = word_tokenizer()
    tokenizer.chat_template = _CHAT
    tokenizer.save_pretrained(folder)
    return str(folder)
