"""What one call's taps have seen inside the model during a step, reduced to the inside part of its vitals row.

Of a layer's output the last position is kept until the step is over: by reference where it is the whole output, as a
copy where it is a slice of a prefill. Of its attention only the last query's scores are kept, never a key: a cache
may have made them for this layer alone (quantised, offloaded). Then all layers are reduced together.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

import torch
from torch import Tensor, nn

from ..run import CROSS_SIGNALS, middle_third
from .anatomy import Anatomy, AttentionKind
from .layout import Layout
from .signals import attention_row, cosine, hidden_statistics, over_heads, visible_keys

PENDING_BYTES: Final = 256 * 1024 * 1024
"""Attention scores that may wait for the end of the step; with more, those at hand are reduced first."""

SLICE_BYTES: Final = 32 * 1024 * 1024
"""Scores that are reduced at once: what is computed from them on the way takes about seven times that."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is looked at."""

    attention_every: int = 1
    """Attention is looked at on every n-th step, from the first; 0: never."""
    layers: Callable[[int], Iterable[int]] = range
    """Number of layers -> indices of those that are looked at."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The last query's scores of one attention module."""

    module: int
    """id of the module."""
    values: Tensor
    """float32 [B, H, K], before scale and soft-cap: they are applied to all layers at once."""
    visible: Tensor | None
    """bool [B or 1, K]; None where every key is visible."""
    scale: float = 1.0
    softcap: float | None = None
    """c, where the model applies c tanh(score / c)."""
    biases: tuple[Tensor, ...] = ()
    """Added to the scaled scores, each [B or 1, 1 or H, at least K]."""
    learned_sink: Tensor | None = None
    """[H] or [B, H], an extra logit in the softmax's denominator."""
    shared: tuple[Any, ...] = ()
    """What is the same for layers whose masks and biases are: ids of the tensors, kept alive by `keep`."""
    keep: tuple[Any, ...] = ()


class Inside:
    """Collects what the taps see in one call. Belongs to the thread of the call."""

    def __init__(self, model: nn.Module, anatomy: Anatomy, options: Options) -> None:
        self.collecting = False
        """Whether taps are to report: only between the choice of a token and the next logits."""
        self.attending = False
        """Whether this step's attention is looked at."""
        self.anatomy = anatomy
        self.layout = Layout(len(anatomy.layers))
        self.absent: dict[str, str] = {}
        """What is not there for the whole run, and why."""
        self.projections: dict[int, Tensor] = {}
        """id of a projection -> its output, until its attention module is through."""
        self._model = model
        self._options = options
        self._selected = frozenset(options.layers(len(anatomy.layers)))
        self._step = 0
        self._hidden: dict[int, Tensor] = {}
        self._versions: list[tuple[Tensor, int]] = []
        self._by_reference = False
        self._scores: dict[tuple[AttentionKind, int], Scores] = {}
        self._reduced: dict[tuple[AttentionKind, int], tuple[Tensor, Tensor]] = {}
        self._pending_bytes = 0
        self._first_positions = 0
        self._modules: dict[tuple[AttentionKind, int], int] = {}
        self._ambiguous: set[tuple[AttentionKind, int]] = set()
        self._unknown: str | None = None
        self._last: Tensor | None = None
        if not anatomy.layers:
            self.absent = dict.fromkeys(("hidden_states", "attention"), "the model's layers were not found")
        elif not options.attention_every:
            self.absent["attention"] = "switched off (attention_every=0)"

    def begin(self, step: int) -> None:
        """Let the taps report what happens up to the logits of this step."""
        every = self._options.attention_every
        self._step = step
        self._forget()
        self.attending = bool(every) and step % every == 0 and "attention" not in self.absent
        self.collecting = "hidden_states" not in self.absent or self.attending

    def stop(self) -> None:
        """Take no more reports."""
        self.collecting = self.attending = False
        self._forget()

    def give_up(self, reason: str) -> None:
        """Declare everything inside absent."""
        self.stop()
        for what in ("hidden_states", "attention"):
            self._lose(what, reason)

    def _lose(self, what: str, reason: str) -> None:
        """Declare hidden states or attention absent in the whole run."""
        self.absent[what] = reason
        if what == "attention":
            self.attending = False
        elif self._step == 0:
            self.layout = replace(self.layout, hidden=())  # no row has had them: none needs their place

    # --- what the taps report -------------------------------------------------------------------------------------

    def on_layer(self, module: nn.Module, output: Any) -> None:
        """Take a layer's output."""
        index = self.anatomy.layer_of.get(id(module))
        if index is None or index not in self._selected:
            return
        hidden = output[0] if isinstance(output, tuple | list) else output
        if not isinstance(hidden, Tensor) or hidden.ndim != 3:
            self._lose("hidden_states", "a layer's output is not [sequences, positions, width]")
            return
        if not self._is_expected(hidden.shape[1]):
            # Streams beside that of the text (ProphetNet): its attention has them, too.
            self.give_up(f"a layer's output has {hidden.shape[1]} positions at step {self._step}")
            return
        if self._step and index in self._hidden:
            self.give_up("a layer runs several times in a step")
            return
        self._hidden[index] = self._last_position(hidden)

    def _is_expected(self, positions: int) -> bool:
        """Whether a layer's output is of the step's tokens only: of the new one, or without a cache of all."""
        if self._step == 0:
            self._first_positions = positions
        return self._step == 0 or positions in (1, self._first_positions + self._step)

    def on_scores(self, module: nn.Module, scores: Callable[[], Scores]) -> None:
        """Take an attention module's scores, made only if they are wanted."""
        found = self.anatomy.attention_of.get(id(module))
        if found is None or found.layer not in self._selected:
            return
        key = found.kind, found.layer
        if self._modules.setdefault(key, id(module)) != id(module):
            self._ambiguous.add(key)
        before = self._scores.get(key)
        taken = self._scores[key] = scores()
        self._pending_bytes += taken.values.nbytes - (0 if before is None else before.values.nbytes)
        if self._pending_bytes > PENDING_BYTES:
            self._reduce_scores()

    def on_unknown(self, reason: str) -> None:
        """Take note of an attention whose scores cannot be told."""
        self._unknown = reason

    def _last_position(self, hidden: Tensor) -> Tensor:
        last = hidden[:, -1]
        if hidden.shape[1] > 1 or hidden.is_inference() or self.anatomy.in_place:
            return last.clone()
        # The next layer might add to it in place. Whether layers do is not known before the first step.
        self._versions.append((hidden, hidden._version))
        if self.anatomy.in_place is None:
            return last.clone()
        self._by_reference = True
        return last

    # --- the row ----------------------------------------------------------------------------------------------------

    def reduce(self, sequences: int, device: torch.device) -> list[Tensor]:
        """Return this step's parts of the row, each float32 [sequences, numbers] on `device`, and end the step.

        Nothing at all, or hidden states, or hidden states and attention.
        """
        self.collecting = False
        with torch.no_grad():
            hidden = None if "hidden_states" in self.absent else self._hidden_part(sequences, device)
            attention = self._attention_parts(sequences, device) if self.attending else []
            if hidden is None and attention and self.layout.hidden:
                # Lost after the first step: attention keeps its place behind them.
                hidden = self._no_hidden_part(sequences, device)
        self._forget()
        return attention if hidden is None else [hidden, *attention]

    def _forget(self) -> None:
        self._hidden.clear()
        self._versions.clear()
        self._by_reference = False
        self._scores.clear()
        self._reduced.clear()
        self._modules.clear()
        self._ambiguous.clear()
        self.projections.clear()
        self._pending_bytes = 0

    def _hidden_part(self, sequences: int, device: torch.device) -> Tensor | None:
        layers = tuple(sorted(self._hidden))
        if self._step == 0:
            self.layout = replace(self.layout, hidden=layers)
        if not layers or layers != self.layout.hidden:
            self._lose("hidden_states", self._silence("the layers' outputs were"))
            return None
        if any(hidden.shape[0] != sequences for hidden in self._hidden.values()):
            self._lose("hidden_states", "a layer's output has not one row per sequence")
            return None
        if self._overwritten():
            self._last = None
            return self._no_hidden_part(sequences, device)
        statistics, transformation = _reduce_hidden([self._hidden[layer] for layer in layers], device)
        by_layer = torch.cat((statistics, transformation[..., None]), -1)
        return torch.cat((_flat(by_layer), self._cosine(layers, device)), -1)

    def _no_hidden_part(self, sequences: int, device: torch.device) -> Tensor:
        return torch.full((sequences, self.layout.hidden_width), torch.nan, device=device)

    def _overwritten(self) -> bool:
        """Whether what is kept of this step was changed meanwhile; the model's other steps learn from it."""
        if any(hidden._version != version for hidden, version in self._versions):
            self.anatomy.in_place = True
            return self._by_reference
        if self._versions and self.anatomy.in_place is None:
            self.anatomy.in_place = False
        return False

    def _cosine(self, layers: tuple[int, ...], device: torch.device) -> Tensor:
        """Return the cosine of the last layer's output with the previous step's [sequences, 1]."""
        last_layer = len(self.anatomy.layers) - 1
        state = self._hidden[layers[-1]].float()
        before, self._last = self._last, state.clone() if state is self._hidden[layers[-1]] else state
        if layers[-1] != last_layer or before is None or before.shape != state.shape:
            return torch.full((state.shape[0], 1), torch.nan, device=device)
        return cosine(state, before)[:, None].to(device, non_blocking=True)

    def _attention_parts(self, sequences: int, device: torch.device) -> list[Tensor]:
        self._reduce_scores()
        for key in self._ambiguous:
            self._reduced.pop(key, None)
        own, cross = (sorted(layer for kind, layer in self._reduced if kind == name) for name in ("self", "cross"))
        if self._step == 0:
            self._lay_out(own, cross)
        if not own or (tuple(own), tuple(cross)) != (self.layout.attention, self.layout.cross):
            self._lose("attention", self._attention_silence())
            return []
        if any(statistics.shape[0] != sequences for statistics, _ in self._reduced.values()):
            self._lose("attention", "a layer's attention has not one row per sequence")
            return []
        parts = [_flat(self._stacked("self", own, device))]
        if cross:
            parts.append(_flat(self._stacked("cross", cross, device)))
        if self.layout.previous:
            previous = [self._reduced["self", layer][1].to(device, non_blocking=True) for layer in self.layout.previous]
            parts.append(_flat(torch.stack(previous)))
        return parts

    def _lay_out(self, own: list[int], cross: list[int]) -> None:
        middle = [layer for layer in own if layer in middle_third(len(self.anatomy.layers))]
        heads = {self._reduced["self", layer][1].shape[-1] for layer in middle}
        alike = len(heads) == 1
        self.layout = replace(
            self.layout,
            attention=tuple(own),
            cross=tuple(cross),
            previous=tuple(middle) if alike else (),
            heads=heads.pop() if alike else 0,
        )

    def _stacked(self, kind: AttentionKind, layers: list[int], device: torch.device) -> Tensor:
        return torch.stack([self._reduced[kind, layer][0].to(device, non_blocking=True) for layer in layers])

    def _reduce_scores(self) -> None:
        """Reduce the scores at hand, those of layers that see the same keys in the same way together."""
        groups: dict[tuple[Any, ...], list[tuple[AttentionKind, int]]] = {}
        for key, taken in self._scores.items():
            values = taken.values
            how = (taken.scale, taken.softcap, taken.learned_sink is None, *taken.shared)
            groups.setdefault((key[0], values.device, values.shape, *how), []).append(key)
        for (kind, *_), keys in groups.items():
            alike_scores = [self._scores[key] for key in keys]
            statistics, previous = _reduce_sliced(alike_scores, generated=self._step if kind == "self" else 0)
            if kind == "cross":
                statistics = statistics[..., : len(CROSS_SIGNALS)]
            for position, key in enumerate(keys):
                self._reduced[key] = statistics[position], previous[position]
        self._scores.clear()
        self._pending_bytes = 0

    def _attention_silence(self) -> str:
        if self._unknown is not None:
            return self._unknown
        if self._ambiguous:
            return "a layer has several self-attentions"
        if self._step == 0 and not is_compiled(self._model):
            return "the model's attention does not pass through transformers' attention functions"
        return self._silence("the layers' attention was")

    def _silence(self, what: str) -> str:
        return "compiled" if is_compiled(self._model) else f"{what} not seen at step {self._step}"


def _reduce_sliced(group: list[Scores], *, generated: int) -> tuple[Tensor, Tensor]:
    """Reduce a group as `_reduce_group`, some layers at a time, and one that is large some sequences at a time."""
    size, batch = group[0].values.nbytes, group[0].values.shape[0]
    if len(group) * size <= SLICE_BYTES or (len(group) == 1 and batch == 1):
        return _reduce_group(group, generated=generated)
    if len(group) > 1:
        count = max(1, SLICE_BYTES // size)
        dimension, pieces = 0, [group[start : start + count] for start in range(0, len(group), count)]
    else:
        count = max(1, SLICE_BYTES * batch // size)
        dimension = 1
        pieces = [[_sequences(group[0], slice(start, start + count))] for start in range(0, batch, count)]
    statistics, previous = zip(*(_reduce_sliced(piece, generated=generated) for piece in pieces), strict=True)
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


def _reduce_hidden(layers: list[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
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


def _flat(by_layer: Tensor) -> Tensor:
    """Return [layers, sequences, numbers] as [sequences, layers x numbers]."""
    return by_layer.transpose(0, 1).flatten(1)


def is_compiled(model: nn.Module) -> bool:
    """Whether some of the model's modules run as compiled graphs, in which no tap reports."""
    if getattr(model, "_compiled_call", None) is not None:  # what generate() compiles by itself
        return True
    return any(
        getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(module, "_orig_mod")
        or hasattr(vars(module).get("forward"), "_torchdynamo_orig_callable")
        for module in model.modules()
    )
