"""What the hooks see of one call's steps: everything that a step's row is made of, except the logits.

Hooks and wrapped attention functions run in the caller's thread, somewhere below `generate()`. They find the collector
of the call under way in `thread`, and only there. That is a `threading.local`, never a `ContextVar`: reading one of
those would break a graph that is being compiled. Greenlets of a thread share it, so a collector takes reports of its
own greenlet only; it checks who reports where there may be several.
"""

import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from ..._internal.greenlets import Owner, loaded
from ..._internal.safety import shielded
from ...catalogue import signals
from ...run import middle_third
from ..attention.plan import FAMILY_OF, Place, ReportedAttention
from ..attention.scores import Attended, Scores
from ..isolation.dispatch_modes import unseen, watched
from ..model.structure import Anatomy
from ..prompt.reader import PromptReader
from .layer_outputs import StepHidden
from .module_outputs import StepOutputs
from .presence import ATTENTION, HIDDEN_STATES, Presence
from .step import LayerStates, Step
from .step_attention import Key, StepAttention


@dataclass(frozen=True, slots=True)
class CollectorOptions:
    """What is measured of the internals."""

    attention_every: int = 1
    """Attention is sampled on every n-th step, from the first; 0: never."""
    layers: Callable[[int], Iterable[int]] = range
    """Number of layers -> indices of those that are measured."""
    alternatives: int = 0
    """How many of each step's likeliest tokens are kept."""


class StepCollector:
    """Collects what the hooks see in one call, step by step. Belongs to the thread of the call.

    Attributes:
        presence: what the rows hold, and what is absent.
        hidden: takes the layers' outputs.
        attention: takes attention.
        outputs: takes outputs of modules inside the layers.
        on_layer: gets a layer and its output.
        on_output: gets a module inside a layer and its output; None where no such output is measured.
        on_attention: gets what an attention function gets; None where this step's attention is not sampled.
        on_last: gets the output of the module below the output head; None where that is not read.
        prompt: reads the prefill; None where no prompt is analysed.
    """

    def __init__(
        self, model: nn.Module, anatomy: Anatomy, options: CollectorOptions, prompt: PromptReader | None = None
    ) -> None:
        self.presence = Presence(len(anatomy.layers), options.alternatives)
        selected = frozenset(options.layers(len(anatomy.layers)))
        # Weak: a cycle would keep the model and its tensors until the cyclic collector runs.
        this = weakref.proxy(self)
        self.hidden = StepHidden(
            {key: layer for key, layer in anatomy.layer_of.items() if layer in selected},
            anatomy,
            give_up=lambda reason: this.give_up(reason),  # noqa: PLW0108 - a bound method would refer to it
            lose=lambda reason: this.lose(HIDDEN_STATES, reason),
        )
        self.attention = StepAttention(
            {key: (at.kind, at.layer) for key, at in anatomy.attention_of.items() if at.layer in selected}, anatomy
        )
        self.outputs = StepOutputs(
            anatomy, selected, lose=lambda family, reason: this.lose(signals.family(family).group, reason)
        )
        # Called by the hooks for every layer: bound methods of those above, not ours, see `begin`.
        self.on_layer: Callable[[nn.Module, Any], None] = self.hidden.begin(0, True)
        self.on_output: Callable[[nn.Module, Any], None] | None = None
        self.on_attention: Callable[[ReportedAttention], None] | None = None
        self.on_last: Callable[[Any], None] | None = None
        self.prompt = prompt
        self.scored: tuple[ScoresTaker, ...] = ()
        """Take scores from modules that compute them themselves, in this step."""
        self._model = model
        self._anatomy = anatomy
        self._options = options
        self._owner = Owner()
        for family, why in anatomy.outputs.items():
            self.presence.expect(family)
            if why or not self.outputs.layers[family]:
                self.lose(signals.family(family).group, why or "no layer that has it was selected")
        if not anatomy.layers:
            self.presence.absent = dict.fromkeys(self.presence.groups, "the model's layers were not found")
        elif not options.attention_every:
            self.presence.lose(ATTENTION, "switched off (attention_every=0)")

    # --- while the model runs ---------------------------------------------------------------------------------------

    def begin(self, index: int, *, anew: bool = False) -> None:
        """Let the hooks of this thread report what happens up to the logits of this step.

        Args:
            index: of the step.
            anew: whether the loop begins with it, though it may not be the first one.
        """
        presence, every, prefill = self.presence, self._options.attention_every, anew or not index
        presence.step = index
        of_layers, of_attention = self.hidden.begin(index, prefill), self.attention.begin(index, prefill)
        attends = bool(every) and index % every == 0 and ATTENTION not in presence.absent
        outputs, of_outputs = self.outputs, self.outputs.take
        outputs.begin(prefill)
        gives = any(signals.family(family).group not in presence.absent for family in outputs.layers)
        if gives:
            of_layers = _both(of_layers, outputs.take_layer)
        self.scored = (self.attention,) if attends else ()
        prompt, of_last = self.prompt if not index and not anew else None, None
        if prompt is not None:
            of_layers, of_last = _both(of_layers, prompt.take_layer), prompt.take_last
            of_attention = _both(of_attention, prompt.take_attention) if attends else prompt.take_attention
            self.scored = (*self.scored, prompt.attention)
        if loaded() or watched():
            of_layers, of_attention = _only_of(self._owner, of_layers), _only_of(self._owner, of_attention)
            of_outputs = _only_of(self._owner, of_outputs)
            of_last = None if of_last is None else _only_of(self._owner, of_last)
        self.on_layer = of_layers
        self.on_attention = of_attention if self.scored else None
        self.on_output = of_outputs if gives else None
        self.on_last = of_last
        wants = attends or gives or prompt is not None or HIDDEN_STATES not in presence.absent
        thread.collector = self if wants else None

    def _end(self) -> None:
        """Take no more reports of this step."""
        thread.collector = None

    def stop(self) -> None:
        """Take no more reports in this call, and forget those of this step."""
        self._end()
        self.on_attention = self.on_output = self.on_last = None
        self.clear()
        if self.prompt is not None:
            self.prompt.clear()

    def clear(self) -> None:
        """Refer to nothing of the model's any more that was seen of this step."""
        self.hidden.clear()
        self.attention.clear()
        self.outputs.clear()

    @property
    def irregular(self) -> bool:
        """Whether the model was seen to run several times in a step, or on others than the step's tokens."""
        return self.hidden.irregular

    @property
    def hears(self) -> bool:
        """Whether the greenlet that runs is that of the call."""
        return self._owner.runs

    def fail(self, error: Exception) -> None:
        """Give up after an internal error."""
        self.stop()
        self.presence.fail(error)
        if self.prompt is not None:
            self.prompt.lose(f"internal error ({type(error).__name__})")

    def give_up(self, reason: str) -> None:
        """Declare all internals absent."""
        self.stop()
        self.presence.lose_all(reason)
        if self.prompt is not None:
            self.prompt.lose(reason)

    def lose(self, group: str, reason: str) -> None:
        """Declare a group absent in the whole run."""
        self.presence.lose(group, reason)
        if group == ATTENTION:
            self.on_attention = None

    # --- when it is through -----------------------------------------------------------------------------------------

    def complete(self, step: Step) -> None:
        """Give a step what was seen of it, and take no more reports until the next one begins."""
        self._end()
        if self.prompt is not None and not step.index:
            self.prompt.complete(step.logits, lambda: self._why_unseen("the layers' outputs were"))
        try:
            step.hidden = self._states(step.sequences)
            step.outputs = self._outputs(step.sequences)
            if self.on_attention is not None and self._attends(step):
                step.attention = self.attention
        except Exception as error:
            step.hidden = step.attention = step.plan = None
            step.outputs = {}
            self.fail(error)

    def _states(self, sequences: int) -> LayerStates | None:
        """Return the layers' states; None where they are absent, or those of this step cannot be told."""
        presence, hidden = self.presence, self.hidden
        if HIDDEN_STATES in presence.absent:
            return None
        hidden.settle()
        layers = ran = tuple(hidden.states)
        if not ran or ran != presence.layout.of("hidden"):
            layers = tuple(sorted(ran))
            if not layers or not presence.fits("hidden", layers):
                self.lose(HIDDEN_STATES, self._why_unseen("the layers' outputs were"))
                return None
        if hidden.batches != {sequences}:
            hidden.irregular = True
            self.lose(HIDDEN_STATES, "a layer's output has not one row per sequence")
            return None
        if hidden.overwritten():
            return None
        hidden.learn()
        states = [hidden.states[layer] for layer in layers]
        return LayerStates(states, hidden.addresses if ran == layers else [], hidden.alike)

    def _outputs(self, sequences: int) -> dict[str, list[Tensor]]:
        """Return the outputs of modules inside the layers, by family; nothing of those that are absent."""
        presence, outputs = self.presence, self.outputs
        if not outputs:
            return {}
        changed = outputs.overwritten()
        found: dict[str, list[Tensor]] = {}
        for family, layers in outputs.layers.items():
            group, taken = signals.family(family).group, outputs.taken[family]
            if group in presence.absent:
                continue
            what = outputs.what[family]
            if tuple(sorted(taken)) != layers or not presence.fits(family, layers):
                self.lose(group, self._why_unseen(f"{what} were"))
            elif any(len(output) != sequences for output in taken.values()):
                self.lose(group, f"{what} have not one row per sequence")
            elif changed:
                self.lose(group, f"{what} are changed before the step is over")
            else:
                found[family] = [taken[layer] for layer in layers]
        return found

    def _attends(self, step: Step) -> bool:
        """Whether this step's attention can be reduced, and give the step the plan for that."""
        attention = self.attention
        if attention.overwritten():
            if step.index == 0:  # whose attention the row's layout is made from
                attention.read()
                self._attention_fits(step.sequences)
            return False
        step.plan = attention.renewed()
        if step.plan is None:
            attention.read()
            if not self._attention_fits(step.sequences):
                return False
            step.plan = attention.plan(self._place, step.sequences, step.device)
        return True

    def _attention_fits(self, sequences: int) -> bool:
        """Whether the attention seen is that of the layout, which the first step makes; else it is lost."""
        sizes = self.attention.sizes
        for key in self.attention.ambiguous:
            sizes.pop(key, None)
        own, cross = (tuple(sorted(layer for kind, layer in sizes if kind == name)) for name in ("self", "cross"))
        if self.presence.step == 0:
            self._lay_heads_out(own)
        if not own or not (self.presence.fits("attention", own) and self.presence.fits("cross", cross)):
            self.lose(ATTENTION, self._why_attention_unseen())
            return False
        if any(batch != sequences for batch, _ in sizes.values()):
            self.lose(ATTENTION, "a layer's attention has not one row per sequence")
            return False
        return True

    def _lay_heads_out(self, own: tuple[int, ...]) -> None:
        """Make a place for each head's weight on the previous key: of the middle layers, if their heads are as many."""
        middle = tuple(layer for layer in own if layer in middle_third(len(self._anatomy.layers)))
        heads = {self.attention.sizes["self", layer][1] for layer in middle}
        if len(heads) == 1:
            self.presence.fits("heads", middle, heads.pop())
        else:
            self.presence.fits("heads", ())

    def _place(self, key: Key) -> Place:
        """Return where in the row an attention's numbers go."""
        (kind, layer), blocks = key, self.presence.layout.blocks
        of_heads = blocks.get("heads") if kind == "self" else None
        by_head = of_heads.place(layer) if of_heads is not None and layer in of_heads.layers else -1
        return Place(kind, blocks[FAMILY_OF[kind]].place(layer), by_head)

    # --- why something was not seen ---------------------------------------------------------------------------------

    def _why_attention_unseen(self) -> str:
        if self.attention.unknown is not None:
            return self.attention.unknown
        if self.attention.ambiguous:
            return "a layer has several self-attentions"
        if self.presence.step == 0 and self.hidden.ran and not is_compiled(self._model):
            return _why_never_seen(self._anatomy)
        return self._why_unseen("the layers' attention was")

    def _why_unseen(self, what: str) -> str:
        if is_compiled(self._model):
            return "compiled"
        if not self.hidden.ran:
            return f"the layers at {self._anatomy.path} did not run"
        return f"{what} not seen at step {self.presence.step}"


def _why_never_seen(anatomy: Anatomy) -> str:
    """Return why no attention was reported by layers that have run."""
    if anatomy.merged:
        return "self- and cross-attention are one row"
    if not anatomy.attentions:
        return "no attention was found in the model's layers"
    return "the model's attention does not pass through transformers' attention functions"


def is_compiled(model: nn.Module) -> bool:
    """Whether some of the model's modules run as compiled graphs, in which no hook reports."""
    if getattr(model, "_compiled_call", None) is not None:  # what generate() compiles by itself
        return True
    return any(
        getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(module, "_orig_mod")
        or hasattr(vars(module).get("forward"), "_torchdynamo_orig_callable")
        for module in model.modules()
    )


# --- the way of the hooks to it ---------------------------------------------------------------------------------------


class _HookThread(threading.local):
    collector: StepCollector | None = None
    """Takes what the hooks of this thread see; None where nobody wants it."""


thread = _HookThread()


class ScoresTaker(Protocol):
    """Takes the scores of modules that compute them themselves."""

    projections: dict[int, Tensor]

    def on_scores(self, module: nn.Module, scores: Callable[[], Scores | Attended]) -> None:
        """Take an attention module's scores, made only if they are wanted."""
        ...

    def on_unknown(self, reason: str) -> None:
        """Take note of an attention whose scores cannot be told."""
        ...


def attention_here() -> tuple[ScoresTaker, ...]:
    """Return what takes attention in this greenlet, each on its own. For hooks that few models have."""
    collector = thread.collector
    if collector is None or collector.on_attention is None or not collector.hears:
        return ()
    return collector.scored


def failed(error: Exception) -> None:
    """Give up the internals of this thread's run after an error of our own, which the caller never sees."""
    with shielded("capture.hooks"):
        if thread.collector is not None:
            thread.collector.fail(error)


def _both(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    """Return what hands a report to both."""

    def take_both(*report: Any) -> None:
        first(*report)
        second(*report)

    return take_both


def _only_of(owner: Owner, take: Callable[..., None]) -> Callable[..., None]:
    """Return what takes reports of one greenlet only, and keeps our operations from the caller's modes."""

    def take_own(*report: Any) -> None:
        if owner.runs:
            with unseen():
                take(*report)

    return take_own
