"""What a model itself says of its hidden states and attention, and what is measured of them."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from opentelemetry_instrumentation_corevital.capture.session import session
from opentelemetry_instrumentation_corevital.run import SELF_SIGNALS, Run
from tests.support.in_memory import Keep, instrumented
from tests.support.reference import cosine_reference, hidden_reference, layer_reference

PADDING = {"one": (0,), "padded": (0, 3, 6)}
LAYERS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers", "t5": "decoder.block", "bart": "model.decoder.layers"}


@dataclass
class Truth:
    """What a generation says of itself, step by step."""

    tokens: torch.Tensor
    hidden: list[list[torch.Tensor]] = field(default_factory=list)
    """[step][layer]: the last position's output [B, D]."""
    attention: list[list[torch.Tensor]] = field(default_factory=list)
    """[step][layer]: the last query's weights [B, H, K]."""
    cross: list[list[torch.Tensor]] = field(default_factory=list)


def tell(model: Any, layers: str, **arguments: Any) -> Truth:
    """Generate with eager attention and every output switched on; the last layer's output comes from a hook."""
    model = copy.deepcopy(model)
    model.set_attn_implementation("eager")
    last: list[torch.Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        last.append((output[0] if isinstance(output, tuple) else output)[:, -1].clone())

    model.get_submodule(layers)[-1].register_forward_hook(keep)
    torch.manual_seed(3)
    result = model.generate(
        **arguments, return_dict_in_generate=True, output_hidden_states=True, output_attentions=True
    )
    decoder = "decoder_" if hasattr(result, "decoder_hidden_states") else ""
    truth = Truth(result.sequences)
    for step, hidden in enumerate(result[f"{decoder}hidden_states"]):
        truth.hidden.append([state[:, -1] for state in hidden[1:-1]] + [last[step]])
        truth.attention.append([weights[:, :, -1] for weights in result[f"{decoder}attentions"][step]])
        if decoder:
            truth.cross.append([weights[:, :, -1] for weights in result.cross_attentions[step]])
    return truth


def measure(model: Any, options: dict[str, Any] | None = None, **arguments: Any) -> tuple[list[Run], torch.Tensor]:
    keep = Keep()
    with instrumented(judgements=[keep], **{"attention_every": 1, **(options or {})}):
        torch.manual_seed(3)
        tokens = model.generate(**arguments)
    return keep.runs, tokens


def same(found: float, expected: float, tolerance: float = 1e-5) -> bool:
    return math.isnan(expected) == math.isnan(found) and (
        math.isnan(expected) or abs(found - expected) <= tolerance * max(1.0, abs(expected))
    )


def assert_hidden(run: Run, row: int, truth: Truth, tolerance: float = 1e-5) -> None:
    for step in range(run.steps):
        states = [state[row].double().tolist() for state in truth.hidden[step]]
        for layer, state in enumerate(states):
            for name, expected in hidden_reference(state).items():
                found = float(run.columns[name][step, layer])
                assert same(found, expected, tolerance), (name, step, layer, found, expected)
            transformation = 1 - cosine_reference(state, states[layer - 1]) if layer else math.nan
            assert same(float(run.columns["layer_transformation"][step, layer]), transformation, tolerance)
        before = truth.hidden[step - 1][-1][row].double().tolist() if step else None
        expected = math.nan if before is None else cosine_reference(states[-1], before)
        assert same(float(run.columns["hidden_cosine"][step]), expected, tolerance)


def visible(weights: torch.Tensor, *, length: int, padding: int, window: int | None) -> list[list[float]]:
    """Return each head's weights on the keys that the last query of a sequence of `length` sees."""
    keys = weights.shape[-1]
    first = max(0, length - keys)  # a sliding cache holds the last keys only, a static one empty places at its end
    columns = [
        column
        for column in range(min(keys, length))
        if first + column >= padding and (window is None or length - 1 - (first + column) < window)
    ]
    return weights[:, columns].double().tolist()


def window_of(config: Any, layer: int) -> int | None:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return config.sliding_window if kinds[layer] == "sliding_attention" else None
    return getattr(config, "sliding_window", None)


def assert_attention(
    run: Run, row: int, truth: Truth, config: Any, length: int, padding: int, tolerance: float = 1e-5
) -> None:
    for step in range(run.steps):
        for layer, weights in enumerate(truth.attention[step]):
            heads = visible(weights[row], length=length + step, padding=padding, window=window_of(config, layer))
            expected = layer_reference(heads, step)
            for name in SELF_SIGNALS:
                found = float(run.columns[name][step, layer])
                assert same(found, expected[name], tolerance), (name, step, layer, found, expected[name])


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = session.backend_for
    monkeypatch.setattr(session, "backend_for", lambda *args, **more: whole(*args, **{**more, "at_once": True}))
