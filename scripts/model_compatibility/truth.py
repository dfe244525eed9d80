"""What a model says of itself: its hidden states and its attention weights."""

from collections.abc import Callable
from typing import Any

from common import Result, first_line
from prompts import generate


def truth_of(make: Callable[[], Any], tokens: Any, *, output_attentions: bool = False) -> Result:
    """Return the norms of all hidden states and the attention rows that the model itself returns.

    Args:
        make: makes the model anew: transformers leaves hooks of its own in a model that it has asked for these.
        tokens: what the model generates otherwise; other tokens make no truth.
        output_attentions: ask for attention weights too; where that fails, hidden states only.
    """
    asked = {"return_dict_in_generate": True, "output_hidden_states": True}
    try:
        if output_attentions:
            try:
                answer = generate(make(), **asked, output_attentions=True)
            except Exception as error:
                return {**truth_of(make, tokens), "why_not": first_line(error)}
        else:
            answer = generate(make(), **asked)
        if answer.sequences.tolist() != tokens.tolist():
            return {"why_not": "the model generates other tokens when it is asked for its hidden states"}
    except Exception as error:
        return {"why_not": first_line(error)}
    decoder = "decoder_" if "decoder_hidden_states" in answer else ""
    truth: Result = {"tokens": tokens.tolist(), "hidden": sizes(answer.get(f"{decoder}hidden_states"))}
    if output_attentions:
        for kind, name in (("self", f"{decoder}attentions"), ("cross", "cross_attentions")):
            truth[kind] = attention_rows(answer.get(name))
            truth[f"{kind}_layers"] = sum(row is not None for row in truth[kind][0]) if truth[kind] else 0
    return truth


def sizes(states: Any) -> list[list[list[dict[str, float]]]]:
    """Return sizes of the hidden state at the last position, by [step][layer][sequence]."""
    if not states or not states[0]:
        return []
    return [
        [
            [
                {"hidden_l2_norm": float(vector.norm()), "hidden_max_abs": float(vector.abs().max())}
                for vector in state[:, -1].double().flatten(1)
            ]
            for state in step
        ]
        for step in states
    ]


def attention_rows(attentions: Any) -> list[list[Any]]:
    """Return the last query's weights [sequence, head, key] by [step][layer]; None for what is none."""
    if not attentions or attentions[0] is None:
        return []
    return [
        [weights[:, :, -1].double() if getattr(weights, "ndim", 0) == 4 else None for weights in step]
        for step in attentions
    ]
