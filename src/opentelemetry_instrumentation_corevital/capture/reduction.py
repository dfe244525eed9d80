"""A step's numbers by torch's own operations, batched over layers: on every device, and where `kernels` cannot read."""

from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from .scores import SLICE_BYTES, Scores
from .signals import attention_row, cosine, hidden_statistics, over_heads, visible_keys


def reduce_scores(group: list[Scores], *, generated: int) -> tuple[Tensor, Tensor]:
    """Reduce a group as `_reduce_group`, some layers at a time, and one that is large some sequences at a time."""
    size, batch = group[0].values.nbytes, len(group[0].values)
    if len(group) * size <= SLICE_BYTES or (len(group) == 1 and batch == 1):
        return _reduce_group(group, generated=generated)
    if len(group) > 1:
        count = max(1, SLICE_BYTES // size)
        dimension, pieces = 0, [group[start : start + count] for start in range(0, len(group), count)]
    else:
        count = max(1, SLICE_BYTES * batch // size)
        dimension = 1
        pieces = [[_sequences(group[0], slice(start, start + count))] for start in range(0, batch, count)]
    statistics, previous = zip(*(reduce_scores(piece, generated=generated) for piece in pieces), strict=True)
    return torch.cat(statistics, dimension), torch.cat(previous, dimension)


def _sequences(taken: Scores, rows: slice) -> Scores:
    """Return the scores of some of the sequences."""

    def of(tensor: Tensor) -> Tensor:
        return tensor if len(tensor) == 1 else tensor[rows]

    sink = taken.learned_sink
    return replace(
        taken,
        values=taken.values[rows],
        visible=None if taken.visible is None else of(taken.visible),
        biases=tuple(of(bias) for bias in taken.biases),
        learned_sink=sink if sink is None or sink.ndim == 1 else sink[rows],
    )


def _reduce_group(group: list[Scores], *, generated: int) -> tuple[Tensor, Tensor]:
    """Return statistics over heads [n, B, 13] and every head's weight on the previous key [n, B, H]."""
    first = group[0]
    values = torch.stack([taken.values for taken in group])
    batch, _, keys = first.values.shape
    if first.scale != 1.0:
        values = values * first.scale
    if first.softcap is not None:
        values = first.softcap * torch.tanh(values / first.softcap)
    for bias in first.biases:
        values = values + bias[..., :keys].float()
    sink = None
    if first.learned_sink is not None:
        sinks = torch.stack([taken.learned_sink for taken in group if taken.learned_sink is not None]).float()
        sink = sinks[:, None] if sinks.ndim == 2 else sinks
    counted = visible_keys(first.visible, batch=batch, keys=keys, generated=generated, device=values.device)
    row = attention_row(values, counted, sink)
    return over_heads(row), row.previous


def reduce_hidden(layers: list[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return statistics [layers, sequences, 6] and transformations [layers, sequences], the first of which is NaN.

    Neighbours that live on one device are reduced together, where they are.
    """
    statistics: list[Tensor] = []
    transformations: list[Tensor] = []
    before: Tensor | None = None
    for _, group in groupby(layers, key=lambda layer: (layer.device, layer.shape)):
        states = torch.stack(list(group)).float()
        if before is None or before.shape != states[0].shape:
            first = torch.full_like(states[0, :, 0], torch.nan)
        else:
            first = 1.0 - cosine(states[0], before.to(states.device, non_blocking=True))
        statistics.append(hidden_statistics(states).to(device, non_blocking=True))
        inner = 1.0 - cosine(states[1:], states[:-1])
        transformations.append(torch.cat((first[None], inner)).to(device, non_blocking=True))
        before = states[-1]
    if len(statistics) == 1:
        return statistics[0], transformations[0]
    return torch.cat(statistics), torch.cat(transformations)


def flat(by_layer: Tensor) -> Tensor:
    """Return [layers, sequences, numbers] as [sequences, layers x numbers]."""
    return by_layer.transpose(0, 1).flatten(1)
