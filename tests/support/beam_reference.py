"""What is to be measured of each returned beam: a plain forward pass over it, in float64."""

import copy
import math
from typing import Any, Final

import numpy as np
import torch

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.assessment.consistency import disagreements
from opentelemetry_instrumentation_corevital.run import CROSS_SIGNALS, HIDDEN_SIGNALS, SELF_SIGNALS
from tests.support.alternatives_reference import assert_alternatives
from tests.support.model_internals import measure, same, window_of
from tests.support.reference import cosine_reference, hidden_reference, layer_reference, reference_signals

NEW_TOKENS: Final = 10


SEARCHES: Final[dict[str, dict[str, Any]]] = {
    "search": {"num_beams": 3, "do_sample": False, "num_return_sequences": 2},
    "sample": {"num_beams": 3, "do_sample": True, "num_return_sequences": 3, "temperature": 3.0},
}


TOLERANCE: Final = 2e-4
"""The model runs in float32, its reference in float64."""


def forward(model: Any, layers: str, **inputs: torch.Tensor) -> tuple[Any, list[torch.Tensor]]:
    """Run a model in float64 with eager attention; return its output, and every decoder layer's [positions, D]."""
    model = copy.deepcopy(model).double()
    model.set_attn_implementation("eager")
    states: list[torch.Tensor] = []
    for layer in model.get_submodule(layers):
        layer.register_forward_hook(
            lambda _module, _args, output: states.append((output[0] if isinstance(output, tuple) else output)[0])
        )
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True, output_attentions=True, use_cache=False)
    kept = output["decoder_hidden_states" if "decoder_hidden_states" in output else "hidden_states"]
    for state, ours in zip(kept[1:-1], states, strict=False):
        assert torch.equal(state[0], ours), "the hooks see what the model returns"
    return output, states


def expected_columns(
    model: Any, layers: str, run: Run, start: torch.Tensor, encoded: torch.Tensor | None = None
) -> dict[str, np.ndarray]:
    """Return every column of a run by its definition.

    Args:
        model: which has generated it.
        layers: where its layers are.
        run: for its tokens.
        start: ids [columns] that the decoder began with, without padding.
        encoded: ids [columns] of the encoder, without padding.
    """
    ids = torch.cat((start, torch.tensor(run.tokens[:-1].tolist(), dtype=torch.long, device=start.device)))[None]
    if encoded is None:
        output, states = forward(model, layers, input_ids=ids)
        attentions, crosses = output.attentions, ()
    else:
        output, states = forward(model, layers, input_ids=encoded[None], decoder_input_ids=ids)
        attentions, crosses = output.decoder_attentions, output.cross_attentions
    steps: list[dict[str, Any]] = []
    first = len(start) - 1
    assert_alternatives(run.alternatives, output.logits[0, first : first + run.steps].tolist(), TOLERANCE)
    for step, token in enumerate(run.tokens.tolist()):
        at = len(start) - 1 + step
        row: dict[str, Any] = dict(reference_signals(output.logits[0, at].tolist(), token))
        vectors = [state[at].tolist() for state in states]
        hidden = [hidden_reference(vector) for vector in vectors]
        row |= {name: [layer[name] for layer in hidden] for name in HIDDEN_SIGNALS if name in hidden[0]}
        pairs = zip(vectors[1:], vectors, strict=False)
        row["layer_transformation"] = [math.nan, *(1 - cosine_reference(*pair) for pair in pairs)]
        before = states[-1][at - 1].tolist()
        row["hidden_cosine"] = cosine_reference(vectors[-1], before) if step else math.nan
        seen = [
            layer_reference(weights[0, :, at, _first(model.config, layer, at) : at + 1].tolist(), step)
            for layer, weights in enumerate(attentions)
        ]
        row |= {name: [layer[name] for layer in seen] for name in SELF_SIGNALS}
        over = [layer_reference(weights[0, :, at].tolist(), 0) for weights in crosses]
        if over:
            row |= {name: [layer[name.removeprefix("cross_")] for layer in over] for name in CROSS_SIGNALS}
        steps.append(row)
    return {name: np.array([row[name] for row in steps]) for name in steps[0]}


def _first(config: Any, layer: int, position: int) -> int:
    """Return the first key that a query sees."""
    window = window_of(config, layer)
    return 0 if window is None else max(0, position + 1 - window)


def assert_equal(run: Run, expected: dict[str, np.ndarray]) -> None:
    for name in ("hidden_states", "attention", "nonfinite", "entropy"):
        assert name not in run.absent, run.absent
    assert set(run.columns) - {"attention_previous_heads"} == set(expected)
    for name, values in expected.items():
        found = run.columns[name]
        assert found.shape == values.shape, name
        for place, value in np.ndenumerate(values):
            assert same(float(found[place]), float(value), TOLERANCE), (name, place, found[place], value)


def ends_early(model: Any, inputs: dict[str, torch.Tensor], options: dict[str, Any], at: int = 4) -> dict[str, Any]:
    """Return the options with end tokens that beams of this model choose before the limit."""
    torch.manual_seed(3)
    ids = model.generate(**inputs, **options, max_new_tokens=NEW_TOKENS, eos_token_id=None)
    return {**options, "eos_token_id": sorted(set(ids[:, -NEW_TOKENS:][:, at].tolist()))}


def compare(
    model: Any, layers: str, inputs: dict[str, torch.Tensor], options: dict[str, Any], **settings: Any
) -> list[Run]:
    """Generate, hold every returned sequence against its definition, and return the runs."""
    generation = {"max_new_tokens": NEW_TOKENS, **options}
    runs, tokens = measure(model, {"capture": "full", **settings}, **inputs, **generation)
    ids, returned = inputs["input_ids"], options.get("num_return_sequences", 1)
    mask = inputs.get("attention_mask", torch.ones_like(ids)) != 0
    assert len(runs) == len(tokens) == returned * len(ids)
    for index, run in enumerate(runs):
        at = index // returned
        assert run.prompt_index == at
        given = ids[at][mask[at]]
        if model.config.is_encoder_decoder:
            start, prompted = tokens[0, :1], 1
            expected = expected_columns(model, layers, run, start, given)
        else:
            prompted = ids.shape[1]
            expected = expected_columns(model, layers, run, given)
        assert run.tokens.tolist() == tokens[index, prompted : prompted + run.steps].tolist()
        assert len(set(tokens[index, prompted + run.steps :].tolist())) <= 1, "padding"
        assert_equal(run, expected)
        assert disagreements(run) == []
        assert run.risk is not None
        assert run.stop_reason is not None
        assert run.time_ns.tolist() == sorted(run.time_ns.tolist())
        assert run.end_ns >= run.time_ns[-1]
    return runs
