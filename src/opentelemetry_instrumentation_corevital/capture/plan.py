"""Which attentions a step's kernels reduce together, and the table of addresses through which they find them.

Step after step the same modules attend in the same way to tensors at other addresses. So the table is made once and
renewed after that: what makes attentions alike is compared again at every step, at a fraction of a microsecond each.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..run import CROSS_SIGNALS, SELF_SIGNALS
from .anatomy import AttentionKind
from .scores import ARGUMENTS, Attended, Semantics, last_visible

COLUMNS: Final = 15
"""Of the table: as `kernels.attention_parts_kernel` and `kernels.attention_row_kernel` read them."""
(
    QUERY,
    KEY,
    QUERY_SEQUENCES,
    QUERY_HEADS,
    KEY_SEQUENCES,
    KEY_HEADS,
    KEY_POSITIONS,
    KEYS,
    RANKS,
    SEEN,
    GENERATED,
    SINKS,
    OFFSET,
    NUMBERS,
    BY_HEAD,
) = range(COLUMNS)

_TYPES: Final = (torch.float16, torch.bfloat16, torch.float32)
_MAX_WIDTH: Final = 256
"""Of a head."""

Reported = tuple[nn.Module, Tensor, Tensor, Tensor | None, Mapping[str, Any], Semantics]
"""What an attention function got: module, query [B, H, 1, D], key [B, KV heads, K, D], mask, further arguments; and
how it reads them."""


class Place(NamedTuple):
    """Where in the vitals row an attention's numbers go."""

    kind: AttentionKind
    offset: int
    by_head: int = -1
    """Where each head's weight on the previous key goes; -1: nowhere."""


class Group:
    """Attentions that differ only in their addresses: one launch reduces them."""

    def __init__(self, members: Sequence[int], taken: Sequence[Attended], places: Sequence[Place], step: int) -> None:
        first = taken[0]
        self.sequences, self.heads, _, self.width = first.query.shape
        self.shared, self.keys = first.key.shape[1], first.key.shape[2]
        self.dtype = first.key.dtype
        self.scale, self.softcap = first.scale, first.softcap
        self.learned = first.learned_sink is not None
        self.visible = first.visible
        """bool [B or 1, K]; None where every key is visible."""
        self.entries: NDArray[np.int64] = np.zeros((len(members), COLUMNS), np.int64)
        self._members = members
        self._counts_generated = places[0].kind == "self"
        self._keep = [taken_one.learned_sink for taken_one in taken]
        self._known: list[tuple[Any, ...]] = []
        entries = self.entries
        entries[:, SINKS] = [0 if sink is None else sink.data_ptr() for sink in self._keep]
        entries[:, OFFSET] = [place.offset for place in places]
        entries[:, NUMBERS] = len(SELF_SIGNALS if self._counts_generated else CROSS_SIGNALS)
        entries[:, BY_HEAD] = [place.by_head for place in places]
        queries, keys = [one.query.data_ptr() for one in taken], [one.key.data_ptr() for one in taken]
        self._fill(queries, keys, first.query, first.key, step)

    def _fill(self, queries: list[int], keys: list[int], query: Tensor, key: Tensor, step: int) -> None:
        entries, query_strides, key_strides = self.entries, query.stride(), key.stride()
        entries[:, QUERY] = queries
        entries[:, KEY] = keys
        entries[:, QUERY_SEQUENCES : KEYS + 1] = (*query_strides[:2], *key_strides[:3], key.shape[2])
        entries[:, GENERATED] = step if self._counts_generated else 0
        self.keys = key.shape[2]
        self.aligned = not any(address % 16 for address in keys) and not any(stride % 16 for stride in key_strides[:3])

    def learn(self, reported: Sequence[Reported]) -> None:
        """Remember how these attentions were called, so that `renew` can tell whether the next ones are."""
        self._known = [
            (reported[member][0], *(reported[member][4].get(name) for name in ARGUMENTS)) for member in self._members
        ]

    def renew(self, reported: Sequence[Reported], step: int) -> bool:
        """Fill in a later step's addresses; return whether its attentions are those of this group."""
        _, query, key, mask, arguments, semantics = reported[self._members[0]]
        query_shape, query_strides = query.shape, query.stride()
        key_shape, key_strides = key.shape, key.stride()
        if (
            (mask is None) != (self.visible is None)
            or query_shape != (self.sequences, self.heads, 1, self.width)
            or (key_shape[1], key_shape[3], key.dtype) != (self.shared, self.width, self.dtype)
            or (semantics == "flash" and arguments.get("sliding_window") is not None)
        ):
            return False  # (the flash kernels crop the keys to the window)
        device = key.get_device()
        queries, keys = [], []
        for member, known in zip(self._members, self._known, strict=True):
            module, its_query, its_key, its_mask, its_arguments, _ = reported[member]
            get = its_arguments.get
            if (
                module is not known[0]
                or its_mask is not mask
                or its_key.shape != key_shape
                or its_key.stride() != key_strides
                or its_query.shape != query_shape
                or its_query.stride() != query_strides
                or its_key.get_device() != device
                or any(get(name) is not value for name, value in zip(ARGUMENTS, known[1:], strict=True))
            ):
                return False
            queries.append(its_query.data_ptr())
            keys.append(its_key.data_ptr())
        if mask is not None:
            self.visible = last_visible(mask, key_shape[2])
            if self.visible is None:
                return False
        self._fill(queries, keys, query, key, step)
        return True


class Plan:
    """All attentions of a step.

    Args:
        taken: what is known of each.
        places: where its numbers go.
        step: index of the step.
    """

    def __init__(self, taken: Sequence[Attended], places: Sequence[Place], step: int) -> None:
        found: dict[tuple[Any, ...], list[int]] = {}
        for member, (one, place) in enumerate(zip(taken, places, strict=True)):
            found.setdefault((place.kind, *_likeness(one)), []).append(member)
        self.groups = [
            Group(members, [taken[member] for member in members], [places[member] for member in members], step)
            for members in found.values()
        ]
        self._count = 0

    def learn(self, reported: Sequence[Reported]) -> "Plan":
        """Remember how the attentions, in the order of `taken`, were called."""
        self._count = len(reported)
        for group in self.groups:
            group.learn(reported)
        return self

    def renew(self, reported: Sequence[Reported], step: int) -> bool:
        """Fill in a later step; return whether it is like the one that was learned."""
        return 0 < len(reported) == self._count and all(group.renew(reported, step) for group in self.groups)


def takes(taken: Sequence[Attended], device: torch.device, sequences: int) -> bool:
    """Whether the kernels can read all of these: no biases, no weights of the model's own making, one device."""
    return all(_takes(one, device, sequences) for one in taken)


def _takes(one: Attended, device: torch.device, sequences: int) -> bool:
    query, key, sink = one.query, one.key, one.learned_sink
    return (
        not one.biases
        and key.device == device
        and key.dtype in _TYPES
        and query.dtype == key.dtype
        and query.shape[0] == key.shape[0] == sequences
        and query.shape[3] == key.shape[3] <= _MAX_WIDTH
        and query.shape[1] % key.shape[1] == 0
        and query.stride(3) == key.stride(3) == 1
        and (sink is None or (sink.ndim == 1 and sink.dtype == key.dtype and sink.is_contiguous()))
    )


def _likeness(one: Attended) -> tuple[Any, ...]:
    query, key = one.query, one.key
    tensors = query.shape, query.stride(), key.shape, key.stride(), key.dtype
    return *tensors, one.scale, one.softcap, one.learned_sink is None, id(one.keep[0]) if one.keep else 0
