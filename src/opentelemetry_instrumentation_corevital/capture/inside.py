"""What one call's taps have seen inside the model during a step, reduced to the inside part of its vitals row.

Of a layer's output the last position is kept until the step is over: by reference where it is the whole output, as a
copy where it is a slice of a prefill. Attention is taken by `attention`. Then all layers are reduced together, by torch
or by the kernels.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..run import middle_third
from ..safety import report_internal_error
from .anatomy import Anatomy, AttentionKind
from .attention import Key, StepAttention
from .hidden import StepHidden
from .hidden_numbers import HiddenNumbers
from .layout import Layout
from .listening import mine, thread
from .plan import FAMILY_OF, Place, Plan
from .reduction import flat, moved
from .signals import AttentionSums, VisibleKeys, attention_signals, over_heads
from .stacking import stacked

if TYPE_CHECKING:
    from .fused import Fused


@dataclass(frozen=True, slots=True)
class Options:
    """What is looked at."""

    attention_every: int = 1
    """Attention is looked at on every n-th step, from the first; 0: never."""
    layers: Callable[[int], Iterable[int]] = range
    """Number of layers -> indices of those that are looked at."""


@dataclass(slots=True)
class Taken:
    """What was seen of a step."""

    states: list[Tensor] | None = None
    """Of the layers in their order, each [B, D] or [B, 1, D]; None where hidden states are absent, nothing where those
    of this step cannot be told."""
    attention: list[Tensor] = field(default_factory=list)
    """Its parts of the row, each [B, numbers]; nothing where it is absent or left at its sums."""
    sums: tuple[AttentionSums, VisibleKeys] | None = None


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
        selected = frozenset(options.layers(len(anatomy.layers)))
        self._layers = {key: layer for key, layer in anatomy.layer_of.items() if layer in selected}
        self.attention = StepAttention(
            {key: (at.kind, at.layer) for key, at in anatomy.attention_of.items() if at.layer in selected}, anatomy
        )
        """Where the taps report attention to."""
        self.numbers = HiddenNumbers()
        # Weak: a cycle would keep the model and its tensors until the cyclic collector runs.
        this = weakref.proxy(self)
        self._hidden = StepHidden(
            self._layers,
            anatomy,
            give_up=lambda reason: this.give_up(reason),  # noqa: PLW0108 - a bound method would refer to it
            lose=lambda reason: this.lose("hidden_states", reason),
        )
        self._step = 0
        self._readable: tuple[torch.Size, torch.dtype] | None = None
        if not anatomy.layers:
            self.absent = dict.fromkeys(("hidden_states", "attention"), "the model's layers were not found")
        elif not options.attention_every:
            self.absent["attention"] = "switched off (attention_every=0)"

    def begin(self, step: int) -> None:
        """Let the taps of this thread report what happens up to the logits of this step."""
        every = self._options.attention_every
        self._step = step
        self.projections.clear()
        of_layers, of_attentions = self._hidden.begin(step), self.attention.begin(step)
        self.attending = bool(every) and step % every == 0 and "attention" not in self.absent
        self.collecting = "hidden_states" not in self.absent or self.attending
        thread.layers = mine(of_layers) if self.collecting else None
        thread.attentions = mine(of_attentions) if self.attending else None

    def stop(self) -> None:
        """Take no more reports."""
        self._end()
        self.attending = False
        self._forget()

    def _end(self) -> None:
        """Take no more reports of this step."""
        self.collecting = False
        thread.layers = thread.attentions = None

    @property
    def irregular(self) -> bool:
        """Whether the model was seen to run several times in a step, or on others than the step's tokens."""
        return self._hidden.irregular

    def fail(self, error: Exception) -> None:
        """Give up after an internal error."""
        self.give_up(f"internal error ({type(error).__name__})")
        report_internal_error("capture.inside", error)

    def give_up(self, reason: str) -> None:
        """Declare everything inside absent."""
        self.stop()
        for what in ("hidden_states", "attention"):
            self.lose(what, reason)

    def lose(self, what: str, reason: str) -> None:
        """Declare hidden states or attention absent in the whole run."""
        self.absent[what] = reason
        if what == "attention":
            self.attending, thread.attentions = False, None
        elif self._step == 0:
            self.layout = self.layout.without("hidden")  # no row has had them: none needs their place

    # --- the row ----------------------------------------------------------------------------------------------------

    def reduce(self, sequences: int, device: torch.device) -> list[Tensor]:
        """Return this step's parts of the row, each float32 [sequences, numbers] on `device`, and end the step.

        Nothing at all, or hidden states, or hidden states and attention.
        """
        with torch.no_grad():
            taken = self.take(sequences, device)
            if taken.states:
                return [self.numbers.of_step(taken.states, device, ends=self.ends), *taken.attention]
            self.numbers.break_off()
            if self.keeps_hidden_place(taken.states, taken):
                return [self._nothing(sequences, device), *taken.attention]
        return taken.attention

    def _nothing(self, sequences: int, device: torch.device) -> Tensor:
        """Return the place of hidden states that are not there."""
        return torch.full((sequences, self.layout.width_of("hidden")), torch.nan, dtype=torch.float32, device=device)

    def take(self, sequences: int, device: torch.device, *, sums: bool = False) -> "Taken":
        """Return what was seen of this step, and end it.

        Args:
            sequences: of the step.
            device: of the parts of attention.
            sums: whether attention may be left at its sums over the keys, for `attention_of_steps`.
        """
        self._end()
        taken = Taken()
        with torch.no_grad():
            taken.states = self._states(sequences)
            self._check_attention(sequences)
            if self.attending:
                plan = self._planned(sequences, device) if self.attention.keeps_keys else None
                taken.sums = self.attention.sum_plan(plan, self.layout.of("attention")) if sums and plan else None
                if taken.sums is None:
                    taken.attention = self._attention_by_torch(plan, sequences, device)
        self._forget()
        return taken

    def keeps_hidden_place(self, states: list[Tensor] | None, taken: Taken) -> bool:
        """Whether a row without hidden states leaves their place empty: lost late, or of this step alone."""
        return bool(self.layout.of("hidden")) and (
            bool(taken.attention) or taken.sums is not None or states is not None
        )

    def write(self, fused: "Fused", sequences: int, device: torch.device) -> Tensor:
        """Return a row float32 [sequences, numbers] in which all that is inside of this step is written by the kernels.

        What they cannot read is reduced by torch. Ends the step. The logits' part of the row is not written.
        """
        self._end()
        states = self._states(sequences)
        self._check_attention(sequences)
        plan = self._planned(sequences, device) if self.attending else None
        parts = []
        if self.attending and plan is None:
            with torch.no_grad():
                parts = self._attention_parts(sequences, device)
        layout = self.layout
        row = fused.scratch_row(layout.full_width if self.attending else layout.every_step_width)
        if parts:
            row[:, layout.every_step_width :] = torch.cat(parts, -1)
        readable = states if states and self._kernels_read(states, fused) else []
        if readable or not states:
            self.numbers.break_off()
        if not readable and "hidden" in layout.blocks:
            with torch.no_grad():
                row[:, layout.blocks["hidden"].span] = (
                    self.numbers.of_step(states, device, ends=self.ends) if states else torch.nan
                )
            fused.forget()
        if readable or plan is not None:
            ends = bool(readable) and self.ends
            fused.inside(row, self._addresses_of(readable), self._step, ends=ends, plan=plan)
        self._forget()
        return row

    def _forget(self) -> None:
        self._hidden.clear()
        self.attention.clear()
        self.projections.clear()

    # --- hidden states ----------------------------------------------------------------------------------------------

    def _states(self, sequences: int) -> list[Tensor] | None:
        """Return `Taken.states`."""
        if "hidden_states" in self.absent:
            return None
        hidden = self._hidden
        hidden.settle()
        layers = tuple(hidden.states)
        if layers != self.layout.of("hidden"):
            layers = tuple(sorted(layers))
            if self._step == 0:
                self.layout = self.layout.having("hidden", layers)
        if not layers or layers != self.layout.of("hidden"):
            self.lose("hidden_states", self._silence("the layers' outputs were"))
            return None
        if hidden.batches != {sequences}:
            hidden.irregular = True
            self.lose("hidden_states", "a layer's output has not one row per sequence")
            return None
        if hidden.overwritten():
            return []
        hidden.learn()
        return [hidden.states[layer] for layer in layers]

    def _kernels_read(self, states: list[Tensor], fused: "Fused") -> bool:
        """Whether the kernels can read these; asked tensor by tensor only of others than before."""
        alike = self._hidden.alike
        if alike is not None and alike == self._readable:
            return True
        readable = fused.takes(states)
        self._readable = alike if readable else None
        return readable

    def _addresses_of(self, states: list[Tensor]) -> list[int]:
        if self._hidden.addresses and tuple(self._hidden.states) == self.layout.of("hidden"):
            return self._hidden.addresses
        return [state.data_ptr() for state in states]

    @property
    def ends(self) -> bool:
        """Whether the last layer is among those that are looked at."""
        return self.layout.of("hidden")[-1] == self.layout.layer_count - 1

    # --- attention --------------------------------------------------------------------------------------------------

    def _check_attention(self, sequences: int) -> None:
        """Leave this step without attention if what it would be computed from was overwritten meanwhile."""
        if self.attending and self.attention.overwritten():
            if self._step == 0:  # whose attention the row's layout is made from
                self.attention.read()
                self._attends(sequences)
            self.attending = False

    def _planned(self, sequences: int, device: torch.device) -> Plan | None:
        """Return how all attention can be reduced at once; None where it cannot, or where it has become absent."""
        plan = self.attention.renewed()
        if plan is not None:
            return plan
        self.attention.read()
        return self.attention.plan(self._place, sequences, device) if self._attends(sequences) else None

    def _attention_by_torch(self, plan: Plan | None, sequences: int, device: torch.device) -> list[Tensor]:
        """Return what `_attention_parts` does, where possible without a look at every single attention."""
        if plan is None:
            return self._attention_parts(sequences, device) if self.attending else []
        self.attention.reduce_plan(plan)
        return self._laid_out(device)

    def attention_of_steps(self, kept: Sequence[tuple[AttentionSums, VisibleKeys]]) -> Tensor:
        """Return all numbers of several steps' attention float32 [steps, sequences, numbers], from what `take` left."""
        first = kept[0][0].total
        joined = torch.stack([each for sums, _ in kept for each in sums]).view(len(kept), -1, *first.shape)
        seen, prompt = (torch.stack([getattr(keys, name) for _, keys in kept])[:, None] for name in ("seen", "prompt"))
        row = attention_signals(AttentionSums(*joined.unbind(1)), seen, prompt)
        numbers = stacked("attention", over_heads(row)).transpose(1, 2).flatten(2)
        layers, of_heads = self.layout.of("attention"), self.layout.of("heads")
        if not of_heads:
            return numbers
        by_head = row.previous[:, [layers.index(layer) for layer in of_heads]]
        return torch.cat((numbers, by_head.transpose(1, 2).flatten(2)), -1)

    def _attention_parts(self, sequences: int, device: torch.device) -> list[Tensor]:
        """Return all numbers of attention, by torch, each part [sequences, numbers]; nothing where it is absent."""
        self.attention.reduce()
        return self._laid_out(device) if self._attends(sequences) else []

    def _laid_out(self, device: torch.device) -> list[Tensor]:
        """Return what was reduced in the order of the layout."""
        layout = self.layout
        parts = [flat(self._stacked("self", layout.of("attention"), device))]
        if layout.of("cross"):
            parts.append(flat(self._stacked("cross", layout.of("cross"), device)))
        if layout.of("heads"):
            previous = [moved(self.attention.reduced["self", layer][1], device) for layer in layout.of("heads")]
            parts.append(flat(torch.stack(previous)))
        return parts

    def _attends(self, sequences: int) -> bool:
        """Whether the attention seen is that of the layout, which the first step makes; else it is lost."""
        sizes = self.attention.sizes
        for key in self.attention.ambiguous:
            sizes.pop(key, None)
        own, cross = (tuple(sorted(layer for kind, layer in sizes if kind == name)) for name in ("self", "cross"))
        if self._step == 0:
            self._lay_out(own, cross)
        if not own or (own, cross) != (self.layout.of("attention"), self.layout.of("cross")):
            self.lose("attention", self._attention_silence())
            return False
        if any(batch != sequences for batch, _ in sizes.values()):
            self.lose("attention", "a layer's attention has not one row per sequence")
            return False
        return True

    def _lay_out(self, own: tuple[int, ...], cross: tuple[int, ...]) -> None:
        middle = tuple(layer for layer in own if layer in middle_third(len(self.anatomy.layers)))
        heads = {self.attention.sizes["self", layer][1] for layer in middle}
        alike = len(heads) == 1
        layout = self.layout.having("attention", own).having("cross", cross)
        self.layout = layout.having("heads", middle, heads.pop()) if alike else layout.without("heads")

    def _place(self, key: Key) -> Place:
        """Return where in the row an attention's numbers go."""
        (kind, layer), blocks = key, self.layout.blocks
        of_heads = blocks.get("heads") if kind == "self" else None
        by_head = of_heads.place(layer) if of_heads is not None and layer in of_heads.layers else -1
        return Place(kind, blocks[FAMILY_OF[kind]].place(layer), by_head)

    def _stacked(self, kind: AttentionKind, layers: tuple[int, ...], device: torch.device) -> Tensor:
        return torch.stack([moved(self.attention.reduced[kind, layer][0], device) for layer in layers])

    def _attention_silence(self) -> str:
        if self.attention.unknown is not None:
            return self.attention.unknown
        if self.attention.ambiguous:
            return "a layer has several self-attentions"
        if self._step == 0 and self._hidden.ran and not is_compiled(self._model):
            return _why_unseen(self.anatomy)
        return self._silence("the layers' attention was")

    def _silence(self, what: str) -> str:
        if is_compiled(self._model):
            return "compiled"
        if not self._hidden.ran:
            return f"the layers at {self.anatomy.path} did not run"
        return f"{what} not seen at step {self._step}"


def _why_unseen(anatomy: Anatomy) -> str:
    """Return why no attention was reported by layers that have run."""
    if anatomy.merged:
        return "self- and cross-attention are one row"
    if not anatomy.attentions:
        return "no attention was found in the model's layers"
    return "the model's attention does not pass through transformers' attention functions"


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
