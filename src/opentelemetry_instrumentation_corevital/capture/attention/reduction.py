"""A step's attention reduced by torch, batched over layers: on every device, and where no kernel makes the numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..definitions.attention_weights import (
    AttentionSums,
    VisibleKeys,
    attention_row,
    attention_sums,
    over_heads,
    visible_keys,
)
from ..row.stacking import stacked
from .plan import AttentionGroup
from .scores import SLICE_BYTES, Scores, of_sequences, products, softmax_inputs


def reduce_scores(group: list[Scores], *, family: str, generated: int) -> tuple[Tensor, Tensor]:
    """Reduce a group as `_reduce_group`, some layers at a time, and one that is large some sequences at a time."""
    size, batch = group[0].values.nbytes, len(group[0].values)
    if len(group) * size <= SLICE_BYTES or (len(group) == 1 and batch == 1):
        return _reduce_group(group, family=family, generated=generated)
    if len(group) > 1:
        count = max(1, SLICE_BYTES // size)
        dimension, pieces = 0, [group[start : start + count] for start in range(0, len(group), count)]
    else:
        count = max(1, SLICE_BYTES * batch // size)
        dimension = 1
        pieces = [[of_sequences(group[0], slice(start, start + count))] for start in range(0, batch, count)]
    statistics, previous = zip(
        *(reduce_scores(piece, family=family, generated=generated) for piece in pieces), strict=True
    )
    return torch.cat(statistics, dimension), torch.cat(previous, dimension)


def _reduce_group(group: list[Scores], *, family: str, generated: int) -> tuple[Tensor, Tensor]:
    """Return a family's numbers over heads [n, B, numbers] and every head's weight on the previous key [n, B, H]."""
    first = group[0]
    values = softmax_inputs(torch.stack([taken.values for taken in group]), first)
    sinks = [taken.learned_sink for taken in group if taken.learned_sink is not None]
    return _reduce_values(values, first.visible, sinks, family=family, generated=generated)


def reduce_attended(
    queries: Sequence[Tensor], keys: Sequence[Tensor], group: AttentionGroup, *, generated: int
) -> tuple[Tensor, Tensor]:
    """Reduce a group of attentions as `reduce_scores`, from their last queries and keys.

    Their products go where they are reduced: nothing is kept of a single layer.
    """
    count = max(1, SLICE_BYTES // group.score_bytes)
    if len(queries) > count:
        pieces = [slice(start, start + count) for start in range(0, len(queries), count)]
        reduced = (
            _reduce_attended(queries[piece], keys[piece], group, group.sinks[piece], generated) for piece in pieces
        )
        statistics, previous = zip(*reduced, strict=True)
        return torch.cat(statistics), torch.cat(previous)
    return _reduce_attended(queries, keys, group, group.sinks, generated)


def sum_attended(
    queries: Sequence[Tensor], keys: Sequence[Tensor], group: AttentionGroup, *, generated: int
) -> tuple[AttentionSums, VisibleKeys]:
    """Sum the attention rows [layers, B, H] of a group without learned sinks over their keys, and say what they see."""
    values = _multiplied(queries, keys, group)
    counted = _counted(values, group.visible, generated)
    return attention_sums(values, counted), counted


def _reduce_attended(
    queries: Sequence[Tensor], keys: Sequence[Tensor], group: AttentionGroup, sinks: Sequence[Tensor], generated: int
) -> tuple[Tensor, Tensor]:
    values = _multiplied(queries, keys, group)
    return _reduce_values(values, group.visible, sinks, family=group.family, generated=generated)


def _multiplied(queries: Sequence[Tensor], keys: Sequence[Tensor], group: AttentionGroup) -> Tensor:
    """Return the softmax's inputs [layers, B, H, K]."""
    shared = group.sequences * group.shared
    plain = group.dtype == torch.float32 and not torch.is_autocast_enabled(keys[0].device.type)
    shape = len(queries), shared, group.heads // group.shared, group.keys
    values = torch.empty(shape, dtype=torch.float32, device=keys[0].device)
    for query, key, out in zip(queries, keys, values, strict=True):
        if plain:
            by_head = query.reshape(shared, -1, group.width)
            torch.bmm(by_head, key.reshape(shared, -1, group.width).mT, out=out)
        else:
            out.copy_(products(query[:, :, 0], key).view_as(out))
    values = values.view(len(queries), group.sequences, group.heads, group.keys)
    values *= group.scale
    if group.softcap is not None:
        values = group.softcap * torch.tanh(values / group.softcap)
    return values


def _reduce_values(
    values: Tensor, visible: Tensor | None, sinks: Sequence[Tensor], *, family: str, generated: int
) -> tuple[Tensor, Tensor]:
    """Reduce the softmax's inputs [n, B, H, K]."""
    sink = torch.stack(list(sinks)).float() if sinks else None
    if sink is not None and sink.ndim == 2:
        sink = sink[:, None]
    row = attention_row(values, _counted(values, visible, generated), sink)
    return stacked(family, over_heads(row)), row.previous


def _counted(values: Tensor, visible: Tensor | None, generated: int) -> VisibleKeys:
    _, batch, _, keys = values.shape
    return visible_keys(visible, batch=batch, keys=keys, generated=generated, device=values.device)
