"""lm-polygraph's numbers of the same runs; runs in an environment of its own, which has no CoreVital.

    python with_lm_polygraph.py IN.json OUT.json

IN has prompts, the tokens that CoreVital saw, and its attention to the previous token (`own_runs.py`); OUT has what
lm-polygraph generated and estimated. One prompt at a time: its calculator takes the attention of a batch's first row
for every row.
"""

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_polygraph.estimators import (
    RAUQ,
    BoostedProbSequence,
    FisherRao,
    MaximumSequenceProbability,
    MeanTokenEntropy,
    Perplexity,
    RenyiNeg,
    SelfCertainty,
)
from lm_polygraph.model_adapters import WhiteboxModel
from lm_polygraph.stat_calculators import EntropyCalculator, GreedyProbsCalculator
from transformers import AutoModelForCausalLM, AutoTokenizer

PACKAGES = ("lm-polygraph", "torch", "transformers", "numpy")
ESTIMATORS = (
    MaximumSequenceProbability(),
    Perplexity(),
    MeanTokenEntropy(),
    SelfCertainty(),
    RenyiNeg(),
    FisherRao(),
    BoostedProbSequence(),
    RAUQ(),
    RAUQ(use_entropy=True),
)
"""Those that need one pass over the answer and nothing else."""


def loaded(folder: str, end: int) -> WhiteboxModel:
    """Return the model, which ends a run only at the token `end`."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = end
    return WhiteboxModel(model, tokenizer, model_path=folder)


def statistics(model: WhiteboxModel, prompt: str, limit: int) -> dict[str, Any]:
    """Return what its calculators make of one prompt."""
    found = GreedyProbsCalculator()({}, [prompt], model, max_new_tokens=limit)
    found |= EntropyCalculator()(found, [prompt], model, max_new_tokens=limit)
    return found | {"model": model}


def first(stats: dict[str, Any], steps: int) -> dict[str, Any]:
    """Return the statistics of a run's first steps."""
    parts = ("greedy_log_probs", "greedy_log_likelihoods", "greedy_tokens", "entropy")
    cut = {name: [stats[name][0][:steps]] for name in parts}
    return {**stats, **cut, "attention_all": [stats["attention_all"][0][:, :steps, :steps]]}


def estimates(stats: dict[str, Any]) -> dict[str, float]:
    """Return each estimator's number; larger is less sure."""
    return {str(each): float(each(stats)[0]) for each in ESTIMATORS}


def by_head(stats: dict[str, Any], middle: Sequence[int], back: int) -> np.ndarray:
    """Return the weights on the token so many before the one that is chosen: [T - back, middle layers, heads]."""
    config = stats["model"].model.config
    weights = stats["attention_all"][0]
    shape = (config.num_hidden_layers, config.num_attention_heads, *weights.shape[-2:])
    diagonal = np.diagonal(weights.reshape(shape), offset=-back, axis1=2, axis2=3)
    return np.moveaxis(diagonal, -1, 0)[:, list(middle)]


def rauq_of(previous: Any, stats: dict[str, Any], middle: Sequence[int]) -> float:
    """Return lm-polygraph's RAUQ of CoreVital's weights [T, middle layers, heads] and its own probabilities."""
    config, steps = stats["model"].model.config, len(previous)
    weights = np.zeros((config.num_hidden_layers, config.num_attention_heads, steps, steps))
    given = np.asarray(previous)
    for step in range(1, steps):
        weights[list(middle), :, step, step - 1] = given[step]
    rauq = RAUQ(n_layers=config.num_hidden_layers, n_heads=config.num_attention_heads)
    rauq.layers = list(middle)
    return float(rauq({**stats, "attention_all": [weights.reshape(-1, steps, steps)]})[0])


def answered(model: WhiteboxModel, given: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return what lm-polygraph makes of one prompt; of other tokens than CoreVital's only these."""
    stats = statistics(model, row["prompt"], given["limit"])
    found = {"prompt_ids": stats["input_tokens"][0], "tokens": stats["greedy_tokens"][0]}
    if found["tokens"] != row["tokens"]:
        return found
    return found | {
        "log_likelihoods": [float(value) for value in stats["greedy_log_likelihoods"][0]],
        "entropies": [float(value) for value in stats["entropy"][0]],
        "previous": by_head(stats, given["middle"], 2).tolist(),
        "rauq_of_given": rauq_of(row["previous"], stats, given["middle"]),
        "whole": estimates(stats),
        "line": estimates(first(stats, row["line_steps"])),
    }


def main() -> None:
    """Read, answer, write."""
    source, target = map(Path, sys.argv[1:])
    given = json.loads(source.read_text(encoding="utf-8"))
    model = loaded(given["model"], given["end"])
    rows = []
    for number, row in enumerate(given["runs"], 1):
        rows.append(answered(model, given, row))
        if not number % 30:
            print(f"lm-polygraph: {number} of {len(given['runs'])}", flush=True)
    versions = {name: version(name) for name in PACKAGES}
    target.write_text(json.dumps({"versions": versions, "runs": rows}), encoding="utf-8")


if __name__ == "__main__":
    main()
