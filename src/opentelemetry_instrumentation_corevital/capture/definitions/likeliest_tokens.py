"""The likeliest tokens of raw next-token distributions: which they are, and how far each is behind the first.

Ties are no rarity: logits of a half-precision model have few values. Of equal logits the token with the lower id comes
first, on every device and in every backend, so that a run that is repeated has the same alternatives.

A row of signals has gaps and not probabilities: p(token) = p(1st) exp(-gap), and p(1st) is in the row already.
"""

from typing import Final

import torch
from torch import Tensor

BLOCK: Final = 64
"""Neighbouring tokens whose largest logit is looked at first."""
_BITS: Final = 0x7FFFFFFF


def block_maxima(logits: Tensor, count: int) -> Tensor | None:
    """Return the largest logit of every whole block [N, V // 64]; None where so few blocks save nothing.

    Args:
        logits: float32 [N, V].
        count: how many of the largest logits are wanted.
    """
    blocks = logits.shape[-1] // BLOCK
    return None if blocks <= 2 * count else _table(logits).amax(-1)


def largest(logits: Tensor, count: int, maxima: Tensor | None) -> Tensor:
    """Return each row's largest values [N, count], the first ones first; NaN counts as the largest.

    They are in the blocks with the largest maxima, of which there are as many at most.

    Args:
        logits: float32 [N, V].
        count: at most V.
        maxima: see `block_maxima`; None: the whole row is searched, for which the CPU needs longer than for all else.
    """
    if maxima is None:
        return logits.topk(count, dim=-1).values
    chosen = maxima.topk(count, dim=-1, sorted=False).indices
    return _candidates(logits, chosen)[0].topk(count, dim=-1).values


def likeliest(logits: Tensor, ranks: int, maxima: Tensor | None) -> Tensor:
    """Return the likeliest tokens of each row and how far they are behind the first.

    Args:
        logits: float32 [N, V].
        ranks: how many of them.
        maxima: see `block_maxima`.

    Returns:
        float32 [N, 2 ranks]: the gap of each, in nat, +Inf where there is no such token; then their ids. What a row
        without a distribution has means nothing.
    """
    count = min(ranks, logits.shape[-1])
    if maxima is None:
        values, ids = logits, _numbers(logits)
    else:
        # Of blocks with equal maxima the first ones, so that no token with a lower id is left out.
        values, ids = _candidates(logits, _order(maxima, _numbers(maxima)).topk(count, dim=-1).indices)
    places = _order(values, ids).topk(count, dim=-1).indices
    top, tokens = values.gather(1, places), ids.gather(1, places)
    gaps = top[:, :1] - top
    return torch.cat((_padded(gaps, ranks, torch.inf), _padded(tokens.float(), ranks, -1.0)), dim=-1)


def _table(logits: Tensor) -> Tensor:
    blocks = logits.shape[-1] // BLOCK
    return logits[:, : blocks * BLOCK].reshape(-1, blocks, BLOCK)


def _candidates(logits: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and ids of the tokens in some blocks [N, blocks], and of those behind the last block."""
    table, blocks = _table(logits), logits.shape[-1] // BLOCK
    within = torch.arange(BLOCK, device=logits.device)
    rest = torch.arange(blocks * BLOCK, logits.shape[-1], device=logits.device).expand(len(logits), -1)
    values = table.gather(1, chosen[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    ids = (chosen[:, :, None] * BLOCK + within).flatten(1)
    return torch.cat((values, logits[:, blocks * BLOCK :]), -1), torch.cat((ids, rest), -1)


def _numbers(values: Tensor) -> Tensor:
    return torch.arange(values.shape[-1], device=values.device).expand_as(values)


def _order(values: Tensor, ids: Tensor) -> Tensor:
    """Return int64 keys whose order is that of the values, and of equal values that of falling ids."""
    bits = (values + 0.0).contiguous().view(torch.int32)  # -0.0 equals 0.0
    ordered = torch.where(bits < 0, bits ^ _BITS, bits).long()
    return ordered * 2**32 - ids


def _padded(numbers: Tensor, width: int, value: float) -> Tensor:
    padded: Tensor = torch.nn.functional.pad(numbers, (0, width - numbers.shape[-1]), value=value)
    return padded
