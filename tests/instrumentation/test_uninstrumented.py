"""What generates past `GenerationMixin.generate` is named, once per process, and runs as ever."""

import importlib.util
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import GenerationConfig, LlamaForCausalLM, LogitsProcessorList

from opentelemetry_instrumentation_corevital.doctor import instrumented as doctors
from opentelemetry_instrumentation_corevital.instrumentation import uninstrumented
from tests.support.in_memory import instrumented
from tests.support.tiny_models import prompt, tiny_encoder_decoder, tiny_model

PACKAGE = Path(str(importlib.util.find_spec("transformers").origin)).parent  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uninstrumented, "_told", set())


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == uninstrumented.__name__]


def musicgen() -> Any:
    config = transformers.MusicgenDecoderConfig(
        vocab_size=16,
        num_hidden_layers=1,
        ffn_dim=16,
        num_attention_heads=2,
        hidden_size=16,
        num_codebooks=2,
        pad_token_id=16,
        bos_token_id=16,
    )
    torch.manual_seed(0)
    model = transformers.MusicgenForCausalLM(config).eval()
    settings = model.generation_config
    settings.pad_token_id = settings.bos_token_id = settings.decoder_start_token_id = 16
    return model


def test_a_generate_of_the_models_own_is_named_once_and_runs_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    model, ids = musicgen(), torch.full((2, 1), 16)
    plain = model.generate(ids, max_new_tokens=3, do_sample=False, num_return_sequences=1)
    with instrumented() as telemetry:
        for _ in range(2):
            assert torch.equal(model.generate(ids, max_new_tokens=3, do_sample=False, num_return_sequences=1), plain)
    assert not telemetry.spans
    assert told(caplog) == [
        "CoreVital: MusicgenForCausalLM.generate, a loop of the model's own, makes no span and no metric: "
        "only transformers' own generate() is seen."
    ]
    assert torch.equal(model.generate(ids, max_new_tokens=3, do_sample=False, num_return_sequences=1), plain)


class OfTheHub(LlamaForCausalLM):
    """A model of a repository's own code, which transformers does not have."""

    def generate(self, ids: torch.Tensor, steps: int) -> torch.Tensor:
        config = GenerationConfig(max_new_tokens=steps)
        processors: LogitsProcessorList = self._get_logits_processor(config)
        with torch.no_grad():
            for _ in range(steps):
                chosen = processors(ids, self(ids).logits[:, -1]).argmax(-1, keepdim=True)
                ids = torch.cat([ids, chosen], dim=1)
        return ids


def test_a_loop_of_another_package_is_named_too(caplog: pytest.LogCaptureFixture) -> None:
    model = OfTheHub(tiny_model().config).eval()
    plain = model.generate(prompt(), 3)
    with instrumented():
        assert torch.equal(model.generate(prompt(), 3), plain)
    (line,) = told(caplog)
    assert "OfTheHub.generate" in line


def test_continuous_batching_is_named(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    with instrumented():
        for _ in range(2):
            model.init_continuous_batching(generation_config=GenerationConfig(max_new_tokens=2, eos_token_id=None))
    (line,) = told(caplog)
    assert "generate_batch (continuous batching)" in line


@pytest.mark.acceptance
def test_continuous_batching_is_not_named_where_generate_hands_over_to_it(caplog: pytest.LogCaptureFixture) -> None:
    if not hasattr(transformers, "ContinuousBatchingConfig"):
        pytest.skip("this transformers has no such configuration")
    small = transformers.ContinuousBatchingConfig(num_blocks=8, max_batch_tokens=64)  # else it takes most of the memory
    options = {"cache_implementation": "paged", "continuous_batching_config": small}
    with instrumented() as telemetry:
        tiny_model().generate(prompt(), max_new_tokens=2, **options)
    assert len(telemetry.spans) == 1
    assert not told(caplog)


class Calls(LlamaForCausalLM):
    """A model whose `generate` ends in transformers' own."""

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return super().generate(*args, **kwargs)


def test_what_is_seen_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    decoder, other = Calls(tiny_model().config).eval(), tiny_encoder_decoder("t5")
    with instrumented() as telemetry, caplog.at_level(logging.DEBUG):
        decoder.generate(prompt(), max_new_tokens=2)
        other.generate(prompt(), max_new_tokens=2)
        tiny_model()._get_logits_processor(GenerationConfig())
    assert len(telemetry.spans) == 2
    assert told(caplog) == []


def test_the_doctor_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = [each for each in doctors.check() if each.subject == "not seen"]
    for name in ("generate_batch", "MusicgenForConditionalGeneration", "DiaGenerationMixin"):
        assert name in finding.text


def test_the_table_has_every_generate_that_does_not_end_in_transformers_own() -> None:
    for path in (*PACKAGE.glob("models/*/modeling_*.py"), *PACKAGE.glob("models/*/generation_*.py")):
        module = ".".join(("transformers", *path.relative_to(PACKAGE).with_suffix("").parts))
        for name, body in re.findall(r"^class (\w+)\(.*?\):(.*?)(?=^class |\Z)", path.read_text("utf-8"), re.M | re.S):
            method = re.search(r"\n    def generate\((.*?)(?=\n    def |\n    @|\Z)", body, re.DOTALL)
            code = re.sub(r'"""(.*?)"""', "", method[1], flags=re.DOTALL) if method else ".generate("
            if ".generate(" not in code and name != "WhisperGenerationMixin":  # it ends there by a method beside it
                assert name in uninstrumented.OWN_GENERATE.get(module, ()), f"{module}.{name}"
