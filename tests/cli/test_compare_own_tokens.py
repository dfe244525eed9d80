"""`corevital compare` of models whose prompts the program has made tokens of itself, through the store."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from transformers import AutoModelForCausalLM

from opentelemetry_instrumentation_corevital.store import RunSummary, SQLiteSpanExporter, open_store
from opentelemetry_instrumentation_corevital.store.comparison import in_common
from tests.support.command_line import Cli
from tests.support.in_memory import Telemetry, instrumented
from tests.support.saved_models import save_tiny, word_tokenizer
from tests.support.word_tokenizer import SlowWords

PROMPTS = [f"w{number} w{number + 1} w{number + 2}" for number in range(5, 55, 10)]
OPTIONS: dict[str, Any] = {"max_new_tokens": 2, "do_sample": False}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("base")
    return [
        AutoModelForCausalLM.from_pretrained(save_tiny(folder / name, seed=seed))
        for seed, name in enumerate(("one", "two"))
    ]


@pytest.fixture
def recorded(cli: Cli) -> Iterator[Path]:
    """The file that calls of the test are recorded in."""
    telemetry, exporter = Telemetry(), SQLiteSpanExporter(str(cli.db))
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    with instrumented(telemetry):
        yield cli.db
    exporter.shutdown()


def by_model(database: Path) -> dict[str, list[RunSummary]]:
    with open_store(str(database)) as store:
        found: dict[str, list[RunSummary]] = {}
        for run in store.runs(limit=None):
            found.setdefault(str(run.model), []).append(run)
        return found


def test_base_models_are_compared_over_the_same_texts(cli: Cli, recorded: Path, models: list[Any]) -> None:
    tokenizers = [word_tokenizer(), SlowWords(first=3)]
    for model, tokenizer in zip(models, tokenizers, strict=True):
        for prompt in PROMPTS:
            model.generate(**tokenizer(prompt, return_tensors="pt"), **OPTIONS)
    assert tokenizers[0](PROMPTS[0])["input_ids"] != tokenizers[1](PROMPTS[0])["input_ids"]
    assert {run.prompt_hash_source for runs in by_model(recorded).values() for run in runs} == {"text"}
    _, out, err = cli("compare", "--models", "one,two", "--shared", "--json")
    told = json.loads(out)
    assert err == ""
    assert [each["prompts"] for each in told["models"]] == [len(PROMPTS)] * 2
    assert {each["basis"] for each in told["differences"]} == {"pairs"}


def test_token_ids_are_compared_within_one_tokenizer_only(cli: Cli, recorded: Path, models: list[Any]) -> None:
    one, two = models
    again = AutoModelForCausalLM.from_pretrained(one.config._name_or_path, dtype=torch.bfloat16)
    for number in range(5):
        for model in (one, again, two):
            model.generate(torch.tensor([[5, 6, 7 + number]]), **OPTIONS)
    groups = by_model(recorded)
    assert {run.prompt_hash_source for runs in groups.values() for run in runs} == {"tokens"}
    assert len({run.prompt_hash for run in groups["one"]}) == 5
    assert [len(groups[name]) for name in ("one", "two")] == [10, 5], "the same checkpoint in another dtype joins"
    assert in_common(groups) == set()
    code, out, _ = cli("compare", "--models", "one,two")
    assert code == 0
    assert "token ids are compared within one tokenizer only" in " ".join(out.split())
    assert "no prompt in common" in cli("compare", "--models", "one,two", "--shared")[2]


def test_a_text_and_tokens_are_not_joined(cli: Cli, recorded: Path, models: list[Any]) -> None:
    tokenizer = word_tokenizer()
    for prompt in PROMPTS:
        models[0].generate(**tokenizer(prompt, return_tensors="pt"), **OPTIONS)
        models[1].generate(torch.tensor([[70, 71, 72]]), **OPTIONS)
    assert in_common(by_model(recorded)) == set()
    out = " ".join(cli("compare", "--models", "one,two")[1].split())
    assert "prompts are hashed some from their text, some from token ids" in out
