"""Prompts for the real model: one that it loops on, one that it answers."""

import torch

from opentelemetry_instrumentation_corevital.loading.models import LoadedModel

LOOPING = "Tell me everything about the history of the universe in great detail."
HEALTHY = "Name three primary colours."


def chat(loaded: LoadedModel, *questions: str) -> dict[str, torch.Tensor]:
    messages = [[{"role": "user", "content": question}] for question in questions]
    encoded = loaded.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True, padding_side="left"
    )
    return dict(encoded)
