"""The methods that are patched."""

from typing import Any

from transformers.generation.utils import GenerationMixin

PATCHED = ("generate", "_get_logits_processor", "_get_stopping_criteria")


def methods() -> list[Any]:
    return [vars(GenerationMixin)[name] for name in PATCHED]
