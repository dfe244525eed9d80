"""Production models from the hub: `HF_HUB_OFFLINE=0 pytest -m hub`. They need access, and some of them a GPU.

What is checked is what holds for any model: the tokens are those without CoreVital, every layer was looked at, and the
run is judged. COREVITAL_HUB_MODELS names others, separated by commas.
"""

import os
from typing import Any, Final

import pytest
import torch

from tests.support.in_memory import instrumented

SMALL: Final = ("meta-llama/Llama-3.2-1B", "Qwen/Qwen2-0.5B-Instruct")
LARGE: Final = ("mistralai/Mistral-7B-Instruct-v0.3", "mistralai/Mixtral-8x7B-Instruct-v0.1")
"""Models that no ordinary CPU generates with."""
NAMED: Final = tuple(filter(None, os.environ.get("COREVITAL_HUB_MODELS", "").split(",")))
PROMPT: Final = "A lighthouse keeper finds a letter in a bottle. She opens it and reads:"

pytestmark = [
    pytest.mark.hub,
    pytest.mark.skipif(os.environ.get("HF_HUB_OFFLINE", "1") == "1", reason="HF_HUB_OFFLINE is not 0"),
]


@pytest.mark.parametrize("name", NAMED or (*SMALL, *LARGE))
def test_a_model_of_the_hub_generates_the_same_tokens_and_is_judged(name: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    cuda = torch.cuda.is_available()
    if name in LARGE and not cuda:
        pytest.skip("no CUDA device")
    tokenizer = AutoTokenizer.from_pretrained(name)
    dtype = torch.bfloat16 if cuda else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, device_map="auto" if cuda else None).eval()
    inputs = tokenizer(PROMPT, return_tensors="pt").to(model.device)
    untouched = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    with instrumented(capture="full") as telemetry:
        watched = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    assert torch.equal(untouched, watched)
    (span,) = telemetry.spans()
    assert len(span.attributes["corevital.layers.l2_norm"]) == model.config.num_hidden_layers
    assert span.attributes["corevital.risk.level"] in ("low", "medium", "high")
    assert "hidden_states" not in span.attributes.get("corevital.capture.absent", "")
