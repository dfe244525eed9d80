"""What is told of a prompt is held against what the model itself says of it."""

import math
from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital.run import PromptAnalysis, Run
from tests.support.model_internals import measure, same, window_of
from tests.support.prompt_reference import (
    PromptTruth,
    basin_reference,
    connections_reference,
    surprisal_reference,
    transformation_reference,
)


def generate(model: Any, mode: str = "full", **arguments: Any) -> list[Run]:
    """Return the runs of two new tokens with their prompts analysed."""
    given = {"max_new_tokens": 2, "do_sample": False, "eos_token_id": None, **arguments}
    return measure(model, {"prompt_analysis": mode}, **given)[0]


def analysis_of(run: Run) -> PromptAnalysis:
    """Return the analysis, which has to be there."""
    assert run.prompt_analysis is not None
    return run.prompt_analysis


def assert_prompt(found: PromptAnalysis, truth: PromptTruth, row: int, config: Any, real: list[int], ids: Any) -> None:
    """Hold all of an analysis in full against the model; `real` are the columns without padding."""
    expected = surprisal_reference(truth.logits[row], ids, real)
    assert found.surprisal is not None
    assert found.layer_transformation is not None
    assert len(found.surprisal) == len(expected) == len(real) - 1
    assert np.allclose(found.surprisal, expected, atol=2e-5)
    assert same(found.surprisal_mean or 0.0, math.fsum(expected) / len(expected))
    assert same(found.surprisal_max or 0.0, max(expected))
    assert found.surprising is not None
    order = sorted(range(len(expected)), key=lambda at: -expected[at])[:10]
    assert [float(found.surprisal[at - 1]) for at in found.surprising] == [float(found.surprisal[at]) for at in order]
    changes = transformation_reference([state[row] for state in truth.hidden], real)
    assert all(same(float(a), b) for a, b in zip(found.layer_transformation, changes, strict=True))
    assert_attention(found, truth, row, config, real)


def assert_attention(found: PromptAnalysis, truth: PromptTruth, row: int, config: Any, real: list[int]) -> None:
    """Hold basin scores and connections against the model."""
    assert found.basin is not None
    assert found.connections is not None
    assert found.basin.shape == (len(truth.attention), truth.attention[0].shape[1])
    for layer, weights in enumerate(truth.attention):
        window = None if config.is_encoder_decoder else window_of(config, layer)
        for head, values in enumerate(weights[row].double().tolist()):
            expected = basin_reference(values, real, window)
            assert same(float(found.basin[layer, head]), expected), (layer, head, found.basin[layer, head], expected)
            largest = connections_reference(values, real, window)
            kept = found.connections.weight[layer, head]
            assert np.allclose(kept[: len(largest)], [weight for _, weight in largest], atol=1e-5)
            assert np.isnan(kept[len(largest) :]).all()
            by_index = {at: values[column] for at, column in enumerate(real)}
            index = found.connections.index[layer, head]
            assert (index[len(largest) :] == -1).all()
            assert len(set(index[: len(largest)].tolist())) == len(largest)
            for at, weight in zip(index[: len(largest)].tolist(), kept, strict=False):
                assert abs(by_index[at] - weight) < 1e-5
