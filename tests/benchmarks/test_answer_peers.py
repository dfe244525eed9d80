"""CoreVital beside lm-polygraph, without lm-polygraph: what it would measure is worked out slowly here."""

import importlib
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.tiny_models import PAD, prompt, sharpen, tiny_model
from tests.support.word_tokenizer import SlowWords

FOLDER = Path(__file__).parents[2] / "benchmarks"
RESULT = FOLDER.parent / "docs" / "results" / "answer-peers.json"
LAYERS, STEPS = 6, 7
MIDDLE = [2, 3]

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks")


@pytest.fixture(scope="module")
def parts() -> Iterator[Any]:
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        mine = {name: importlib.import_module(f"peers.{name}") for name in ("equality", "own_runs", "page", "skill")}
        others = {
            name: importlib.import_module(f"zoo.{name}") for name in ("generation", "plan", "prompts", "watching")
        }
        yield SimpleNamespace(**mine, **others, asking=importlib.import_module("answers.asking"))
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.startswith(("answers", "judged", "peers", "runset", "zoo")):
                del sys.modules[name]


@pytest.fixture(scope="module")
def own(parts: Any) -> list[Any]:
    """Two runs of a tiny model with prompts of different lengths, as they come back from the exchange file."""
    model = sharpen(tiny_model(num_hidden_layers=LAYERS))
    words = SlowWords(eos_token="w2")
    asked = [
        parts.asking.Asked(number, "made", "unstopped", _prompt(parts, words, number), ("w5",), "short", STEPS)
        for number in (1, 2)
    ]
    with parts.watching.watched() as keep:
        generator = parts.generation.Generator(parts.plan.MODELS["smollm2"], model, words, "cpu", keep)
        runs = parts.own_runs.own_runs(generator, asked)
    given = parts.own_runs.to_exchange(runs, "folder", PAD, MIDDLE)
    assert given["limit"] == STEPS
    return list(parts.own_runs.from_exchange(json.loads(json.dumps(given))))


def _prompt(parts: Any, words: Any, number: int) -> Any:
    return parts.prompts.Prompt("made", words.decode(prompt(4 + number, seed=number)[0].tolist()))


def theirs(run: Any) -> dict[str, Any]:
    """Return what lm-polygraph writes of a run, from one forward pass of the whole sequence."""
    model = sharpen(tiny_model(num_hidden_layers=LAYERS, attn_implementation="eager"))
    begin = len(run.prompt_ids)
    with torch.no_grad():
        out = model(torch.tensor([run.prompt_ids + run.tokens]), output_attentions=True)
    said = torch.log_softmax(out.logits[0, begin - 1 : -1].double(), -1)
    chosen = [float(said[step, token]) for step, token in enumerate(run.tokens)]
    entropies = (-(said * said.exp()).sum(-1)).tolist()
    rows = [
        [out.attentions[layer][0, :, begin + step - 1, begin + step - 2] for layer in MIDDLE] for step in range(STEPS)
    ]
    previous = torch.stack([torch.stack(row) for row in rows]).double().numpy()
    return {
        "log_likelihoods": chosen,
        "entropies": entropies,
        "previous": previous[2:].tolist(),
        "rauq_of_given": rauq(chosen, previous),
        "whole": {
            "MaximumSequenceProbability": -sum(chosen),
            "Perplexity": -sum(chosen) / STEPS,
            "MeanTokenEntropy": sum(entropies) / STEPS,
            "RAUQ": 0.0,
        },
    }


def rauq(chosen: list[float], previous: Any) -> float:
    """Return RAUQ as lm-polygraph writes it: one layer and one step after the other."""
    scores = []
    for layer in range(previous.shape[1]):
        head = int(np.argmax([previous[1:, layer, head].mean() for head in range(previous.shape[2])]))
        confidence = [math.exp(chosen[0])]
        for step in range(1, len(chosen)):
            carried = previous[step, layer, head] * confidence[-1]
            confidence.append(0.2 * math.exp(chosen[step]) + 0.8 * carried)
        scores.append(1 - sum(map(math.log, confidence)) / len(confidence))
    return max(scores)


def test_what_both_measure_is_the_same(parts: Any, own: list[Any]) -> None:
    found = parts.equality.differences(own, [theirs(run) for run in own])
    assert found.pop("RAUQ as each defines the attention") > 0.1
    assert max(found.values()) < 2e-4, found


def test_a_number_that_differs_is_told_by_name(parts: Any, own: list[Any]) -> None:
    columns = {**own[1].columns, "surprisal": own[1].columns["surprisal"] + np.eye(STEPS)[-1] / math.log(2)}
    found = parts.equality.differences([own[0], replace(own[1], columns=columns)], [theirs(run) for run in own])
    assert found["negative log-probability of the run"] == pytest.approx(1, abs=1e-3)
    assert found["log-probability of a token behind the first 2"] == pytest.approx(1, abs=1e-3)
    assert found["log-perplexity"] == pytest.approx(1 / STEPS, abs=1e-3)
    assert found["RAUQ of the same attention"] > 1e-3
    assert found["mean entropy"] < 1e-3


@pytest.mark.parametrize(
    ("tokens", "steps"), [("calf \n and", 2), ("calf END cow", 2), ("\n calf \n", 3), ("calf cow", 2), ("calf", 1)]
)
def test_an_answer_ends_with_its_line(parts: Any, tokens: str, steps: int) -> None:
    words = re.findall(r"\n|\w+", tokens)
    assert parts.own_runs.line_steps(words, "END", "".join) == steps


def test_skill_is_the_mean_over_tasks_that_have_both_outcomes(parts: Any) -> None:
    tasks = ["a"] * 10 + ["b"] * 10 + ["one-sided"] * 10
    wrong = np.array([False] * 5 + [True] * 5 + [False] * 5 + [True] * 5 + [True] * 10)
    rising = np.arange(30.0)
    half = np.where(np.array(tasks) == "a", rising, -rising)
    found = parts.skill.skill({"rising": rising, "half": half, "level": np.zeros(30)}, tasks, wrong)
    assert found.by_task == {
        "rising": {"a": 1.0, "b": 1.0},
        "half": {"a": 1.0, "b": 0.0},
        "level": {"a": 0.5, "b": 0.5},
    }
    assert found.macro == {"rising": 1.0, "half": 0.5, "level": 0.5}
    figures = parts.skill.as_figures(found, ["half", "level"], "rising")
    assert figures["gain"] == {"over": "half", "value": 0.5, "interval": [0.5, 0.5]}
    with pytest.raises(ValueError, match="no task"):
        parts.skill.skill({"rising": rising[-10:]}, tasks[-10:], wrong[-10:])


def test_the_interval_is_that_of_questions(parts: Any) -> None:
    draw = np.random.default_rng(3)
    wrong = np.arange(60) % 2 == 0
    found = parts.skill.skill({"some": wrong + draw.normal(0, 1.5, 60)}, ["a"] * 60, wrong)
    low, high = found.interval("some")
    assert low < found.macro["some"] < high
    # Hanley and McNeil (1982): the standard error of an area of about .7 from 30 and 30 is .068.
    assert high - low == pytest.approx(2 * 1.96 * 0.068, rel=0.25)


def test_the_page_is_made_of_the_result(parts: Any) -> None:
    found = json.loads(RESULT.read_text("utf-8"))
    assert RESULT.with_suffix(".md").read_text("utf-8") == parts.page.page(found)


def test_lm_polygraph_is_pinned_and_no_dependency() -> None:
    pins = (FOLDER / "peers" / "requirements.txt").read_text("utf-8").split()
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", pin) for pin in pins)
    assert any(pin.startswith("lm-polygraph==") for pin in pins)
    assert "polygraph" not in (FOLDER.parent / "pyproject.toml").read_text("utf-8")
