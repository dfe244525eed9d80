"""Numbers of a prompt, as pure functions on what a prefill computes.

All in float32, on the tensors' own device, without waiting for it. A number that is not defined is NaN.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from ..._internal.prompt_analysis import CONNECTIONS
from .hidden_states import cosine

_LN2: Final = 0.6931471805599453


def surprisal(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return -log2 p of tokens [N], bit, by the raw logits [N, V] that they were predicted with.

    NaN where the logits are no distribution: with a NaN, +Inf, or nothing but -Inf. Infinite for a probability of 0.
    """
    chosen = torch.log_softmax(logits, -1, dtype=torch.float32).gather(-1, tokens[:, None])
    return chosen.squeeze(-1).div_(-_LN2).abs_()  # of a probability of 1: 0 and not -0


def layer_change(before: Tensor, after: Tensor, counted: Tensor | None) -> Tensor:
    """Return the sum over positions of 1 - cosine of two layers' outputs, float32 [B].

    Args:
        before: [B, P, D] of the layer before.
        after: [B, P, D] of the layer.
        counted: bool [B, P], which positions count; None: all.
    """
    change = 1.0 - cosine(before.float(), after.float())
    return (change if counted is None else change.masked_fill(~counted, 0.0)).sum(-1)


class PromptKeys(NamedTuple):
    """Which of the K keys that a prompt's last query may see are which token of the prompt."""

    token: Tensor
    """int64 [B, K]: its index among the prompt's own, padding not counted."""
    real: Tensor
    """bool [B, K]: whether it is one of the prompt's tokens."""
    middle: Tensor
    """bool [B, K]: whether that is in the middle third: from index P // 3 on, and before P - P // 3."""


def prompt_keys(real: Tensor, keys: int) -> PromptKeys:
    """Return which keys are which token.

    Args:
        real: bool [B, C], which of the prompt's columns are no padding.
        keys: K. Fewer than C are the last ones; of more, the first C are the prompt's.
    """
    columns = real.shape[1]
    index = real.cumsum(-1) - 1
    length = index[:, -1:] + 1
    third = length // 3
    middle = real & (index >= third) & (index < length - third) & (third > 0)
    if keys <= columns:
        return PromptKeys(index[:, columns - keys :], real[:, columns - keys :], middle[:, columns - keys :])
    room = (0, keys - columns)
    return PromptKeys(*(torch.nn.functional.pad(each, room) for each in (index, real, middle)))


def weights_of(scores: Tensor, visible: Tensor | None, learned_sink: Tensor | None = None) -> Tensor:
    """Return the weights of attention rows, float32 [B, H, K]; NaN where no key is visible.

    Args:
        scores: float32 [B, H, K], the softmax's input.
        visible: bool [B or 1, K]; None where every key is visible.
        learned_sink: [H] or [B, H], an extra logit of the denominator.
    """
    if visible is not None:
        scores = scores.masked_fill(~visible[:, None], -torch.inf)
    if learned_sink is None:
        return scores.softmax(-1)
    sink = learned_sink.float().expand(scores.shape[:2])[..., None]
    return torch.cat((scores, sink), -1).softmax(-1)[..., :-1]


def basin_score(weights: Tensor, visible: Tensor | None, keys: PromptKeys) -> Tensor:
    """Return the weight on the prompt's middle third over what a row that is uniform on its visible keys has there.

    Args:
        weights: float32 [B, H, K].
        visible: bool [B or 1, K]; None where every key is visible.
        keys: which keys are the prompt's.

    Returns:
        float32 [B, H]: 1 is as uniform; NaN where no key of the middle third is visible.
    """
    mass = (weights * keys.middle[:, None]).sum(-1)
    if visible is None:
        expected = keys.middle.sum(-1) / keys.middle.shape[-1]
    else:
        expected = (keys.middle & visible).sum(-1) / visible.sum(-1)
    return mass / expected.where(expected > 0, torch.nan)[:, None]


def connections(weights: Tensor, visible: Tensor | None, keys: PromptKeys) -> tuple[Tensor, Tensor]:
    """Return the largest weights of each head, the largest first.

    Arguments are those of `basin_score`.

    Returns:
        int32 [B, H, 8], the index of each in the prompt, and float32 [B, H, 8], its weight; -1 and NaN where a head
        sees fewer keys.
    """
    seen = keys.real if visible is None else keys.real & visible
    ranked = weights.masked_fill(~seen[:, None], -1.0)
    if (missing := CONNECTIONS - ranked.shape[-1]) > 0:
        ranked = torch.nn.functional.pad(ranked, (0, missing), value=-1.0)
    return kept_connections(*ranked.topk(CONNECTIONS, -1), keys)


def kept_connections(weights: Tensor, at: Tensor, keys: PromptKeys) -> tuple[Tensor, Tensor]:
    """Return the largest weights of each head by the prompt's own tokens; see `connections`.

    Args:
        weights: float32 [B, H, 8], the largest first; below 0 for a key that is not seen.
        at: whole numbers [B, H, 8], the key that each is on.
        keys: which keys are the prompt's.
    """
    there = weights >= 0  # false for NaN, too
    at = at.long().clamp(max=keys.token.shape[1] - 1)
    index = keys.token[:, None].expand(-1, weights.shape[1], -1).gather(-1, at)
    return index.where(there, -1).int(), weights.where(there, torch.nan)
