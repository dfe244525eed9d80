"""Which attentions a step's kernels reduce together, and where they find them.

Step after step the same modules attend in the same way to tensors at other addresses. So what makes attentions alike is
found out once; after that only what can change from step to step is compared, at a fraction of a microsecond each.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from ..model.structure import AttentionKind
from .scores import Attended, Implementation, last_visible

_TYPES: Final = (torch.float16, torch.bfloat16, torch.float32)
_MAX_WIDTH: Final = 256
"""Of a head."""

FAMILY_OF: Final[Mapping[AttentionKind, str]] = {"self": "attention", "cross": "cross"}
"""Kind of attention -> the family of signals that it has over its heads."""

ReportedAttention = tuple[nn.Module, Tensor, Tensor, Tensor | None, Mapping[str, Any], Implementation]
"""What an attention function got: module, query [B, H, Q, D], key [B, KV heads, K, D], mask, further arguments; and
which function it was."""


class Reports:
    """A step's attentions in the order in which they ran, and what can differ from step to step."""

    def __init__(self, reports: Sequence[ReportedAttention]) -> None:
        self.all = reports
        self.modules = [module for module, *_ in reports]
        self.queries = [report[1].data_ptr() for report in reports]
        """Addresses."""
        self.keys = [report[2].data_ptr() for report in reports]
        """Addresses."""
        self.shapes = [
            (query.shape, query.stride(), key.shape, key.stride(), id(mask)) for _, query, key, mask, _, _ in reports
        ]
        """Shapes and strides of query and keys, and which mask."""

    @property
    def places(self) -> int:
        """Return how many addresses there are: fewer where layers share their keys, or one buffer."""
        return len(set(self.queries)) + len(set(self.keys))


class Place(NamedTuple):
    """Where in the signal row an attention's numbers go."""

    kind: AttentionKind
    offset: int
    by_head: int = -1
    """Where each head's weight on the previous key goes; -1: nowhere."""


class AttentionGroup:
    """Attentions that differ only in their addresses: one launch reduces them."""

    def __init__(self, members: Sequence[int], taken: Sequence[Attended], places: Sequence[Place]) -> None:
        first = taken[0]
        self.sequences, self.heads, _, self.width = first.query.shape
        self.shared = first.key.shape[1]
        self.dtype = first.key.dtype
        self.scale, self.softcap = first.scale, first.softcap
        self.visible = first.visible
        """bool [B or 1, K]; None where every key is visible."""
        self.family = FAMILY_OF[places[0].kind]
        self.own = places[0].kind == "self"
        """Whether these attend to the sequence itself, so that generated tokens are among the keys."""
        self.sinks = [one.learned_sink for one in taken if one.learned_sink is not None]
        """[H] of each attention, or of none."""
        self.places = [number for place in places for number in (place.offset, place.by_head)]
        self.members = members
        """Which of the attentions, in the order in which they were taken."""
        self._see(first.query, first.key)
        self.addresses = [one.query.data_ptr() for one in taken] + [one.key.data_ptr() for one in taken]
        """Of the queries, then of the keys."""

    @property
    def layers(self) -> int:
        """Return how many attentions these are."""
        return len(self.members)

    @property
    def score_bytes(self) -> int:
        """Return the size of the scores of one of them in float32."""
        return self.sequences * self.heads * self.keys * 4

    @property
    def aligned(self) -> bool:
        """Whether every key begins at a multiple of 16 bytes and 16 numbers, so that it can be read in vectors."""
        together = 0
        for address in self.addresses[self.layers :]:
            together |= address
        for stride in self.key_strides:
            together |= stride
        return together % 16 == 0

    def _see(self, query: Tensor, key: Tensor) -> None:
        self.keys = key.shape[2]
        self.query_strides, self.key_strides = query.stride()[:2], key.stride()[:3]

    def renew(self, reports: Reports) -> bool:
        """Take a later step's addresses; return whether its attentions still are alike."""
        members = self.members
        _, query, key, mask, arguments, implementation = reports.all[members[0]]
        queries, keys, shapes = reports.queries, reports.keys, reports.shapes
        if len(members) != len(keys):
            queries, keys = [queries[member] for member in members], [keys[member] for member in members]
            shapes = [shapes[member] for member in members]
        if (
            shapes.count(shapes[0]) != len(shapes)
            or (mask is None) != (self.visible is None)
            or query.shape != (self.sequences, self.heads, 1, self.width)
            or (key.shape[1], key.shape[3], key.dtype) != (self.shared, self.width, self.dtype)
            or arguments.get("position_bias") is not None
            or (implementation.semantics == "flash" and arguments.get("sliding_window") is not None)
        ):
            return False  # (the flash kernels crop the keys to the window)
        if mask is not None:
            self.visible = last_visible(mask, key.shape[2])
            if self.visible is None:
                return False
        self.addresses = queries + keys
        self._see(query, key)
        return True


class Plan:
    """All attentions of a step.

    Args:
        taken: what is known of each.
        places: where its numbers go.
    """

    def __init__(self, taken: Sequence[Attended], places: Sequence[Place]) -> None:
        found: dict[tuple[Any, ...], list[int]] = {}
        for member, (one, place) in enumerate(zip(taken, places, strict=True)):
            found.setdefault((place.kind, *_likeness(one)), []).append(member)
        self.groups = [
            AttentionGroup(members, [taken[member] for member in members], [places[member] for member in members])
            for members in found.values()
        ]
        self._modules: list[nn.Module] = []
        self._places = 0

    def learn(self, reports: Reports) -> "Plan":
        """Remember whose attentions these were, in the order of `taken`."""
        self._modules = list(reports.modules)
        self._places = reports.places
        return self

    def lies_alike(self, reports: Reports) -> bool:
        """Whether a later step's queries and keys share memory no more than those that were learned."""
        return reports.modules != self._modules or reports.places == self._places

    def renew(self, reports: Reports) -> bool:
        """Take a later step's addresses; return whether its attentions are those that were learned.

        A module's device, scale, soft-cap and learned sinks are its own: they stay what they were when it was learned.
        """
        if not self._modules or reports.modules != self._modules:
            return False
        return all(group.renew(reports) for group in self.groups)


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
