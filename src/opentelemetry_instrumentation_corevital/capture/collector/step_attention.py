"""The attention that one call's hooks have seen during a step: taken, and reduced together.

The last query and the keys are kept by reference where the cache is known to hold these keys, and the model was seen
to leave both alone until the step is over; else only the last query's scores, computed at once. Whether what is kept
stays as it was is looked at in the first two steps of every call; in later ones that it still lies apart.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from ..attention.plan import FAMILY_OF, Place, Plan, ReportedAttention, Reports, takes
from ..attention.reduction import reduce_attended, reduce_scores, sum_attended
from ..attention.scores import SLICE_BYTES, Attended, Scores, from_query, is_brief, untold
from ..definitions.attention_weights import AttentionSums, VisibleKeys
from ..model.structure import Anatomy, AttentionKind
from .kept_tensors import Unchanged

PENDING_BYTES: Final = 256 * 1024 * 1024
"""Attention scores that may wait for the end of the step; with more, those at hand are reduced first."""

Key = tuple[AttentionKind, int]
"""An attention of the model: its kind and its layer's index."""


class StepAttention:
    """Takes a step's attention.

    Args:
        attentions: id of an attention module -> which attention it is, of those that are looked at.
        anatomy: of the model; remembers from call to call whether queries and keys are changed within a step.
    """

    def __init__(self, attentions: Mapping[int, Key], anatomy: Anatomy) -> None:
        self.keeps_keys = False
        """Whether keys may wait for the end of the step: whether the cache holds them anyway."""
        self._anatomy = anatomy
        self._waits = False
        """Whether queries and keys of the step under way are kept by reference."""
        self._noted = Unchanged()
        self._queries_noted = False
        self.sizes: dict[Key, tuple[int, int]] = {}
        """Sequences and heads of every attention of the step."""
        self.ambiguous: set[Key] = set()
        """Those that several modules answered for."""
        self.unknown: str | None = None
        """Why some attention could not be told, if so."""
        self.reduced: dict[Key, tuple[Tensor, Tensor]] = {}
        """Numbers over heads [B, numbers] and every head's weight on the previous key [B, H]."""
        self.projections: dict[int, Tensor] = {}
        """id of a projection -> its output, until its attention module is through."""
        self._attentions = attentions
        self._step = 0
        self._collected: list[ReportedAttention] = []
        self._reports = Reports(())
        self._attended: dict[Key, Attended] = {}
        self._scores: dict[Key, Scores] = {}
        self._modules: dict[Key, int] = {}
        self._plan: Plan | None = None
        self._pending_bytes = 0

    def begin(self, step: int, prefill: bool) -> Callable[[ReportedAttention], None]:
        """Forget the last step; return what takes what attention functions get in this one.

        Of a step that can be expected to be like an earlier one everything is collected, to be compared at once.
        """
        self._step = step
        if prefill:
            self._plan = None
        self.clear()
        self._waits = self.keeps_keys and self._anatomy.attends_in_place is False
        return self._collected.append if self._plan is not None and self._waits else self._inspect

    def clear(self) -> None:
        """Forget the step, but for the plan."""
        self.sizes.clear()
        self.ambiguous.clear()
        self.reduced.clear()
        self.projections.clear()
        self._collected.clear()
        self._reports = Reports(())
        self._attended.clear()
        self._scores.clear()
        self._modules.clear()
        self._pending_bytes = 0
        self._noted.clear()
        self._queries_noted = False

    # --- taken ------------------------------------------------------------------------------------------------------

    def _inspect(self, report: ReportedAttention) -> None:
        """Take what an attention function got."""
        module, query, key, _, arguments, implementation = report
        if id(module) not in self._attentions:
            return
        why = untold(implementation, arguments)
        if why is not None:
            self.on_unknown(why)
        else:
            if self.keeps_keys:
                self._note(query, key)
            if self._waits and query.shape[2] == 1:
                self._collected.append(report)
            else:
                self.on_scores(module, lambda: from_query(*report))

    def _note(self, query: Tensor, key: Tensor) -> None:
        """Note what may be kept by reference; of a long prompt's queries a copy of the last one is."""
        self._noted.note(key, shared=True)
        if query.shape[2] == 1 or is_brief(query):
            self._noted.note(query)
            self._queries_noted = True

    def on_scores(self, module: nn.Module, scores: Callable[[], Scores | Attended]) -> None:
        """Take an attention module's scores, made only if they are wanted."""
        key = self._attentions.get(id(module))
        if key is None:
            return
        if self._modules.setdefault(key, id(module)) != id(module):
            self.ambiguous.add(key)
        taken = scores()
        if isinstance(taken, Scores):
            self._take(key, taken)
            return
        self.sizes[key] = taken.query.shape[0], taken.query.shape[1]
        if self._waits:
            self._attended[key] = taken
        else:
            self._take(key, taken.multiplied())

    def _take(self, key: Key, taken: Scores) -> None:
        before = self._scores.get(key)
        self._scores[key] = taken
        self.sizes[key] = taken.values.shape[0], taken.values.shape[1]
        self._pending_bytes += taken.values.nbytes - (0 if before is None else before.values.nbytes)
        if self._pending_bytes > PENDING_BYTES:
            self.reduce()

    def on_unknown(self, reason: str) -> None:
        """Take note of an attention whose scores cannot be told."""
        self.unknown = reason

    # --- reduced ----------------------------------------------------------------------------------------------------

    def overwritten(self) -> bool:
        """Whether what is kept of this step was changed meanwhile; the model's other steps learn from it."""
        self._reports = Reports([report for report in self._collected if id(report[0]) in self._attentions])
        fits = self._plan is None or self._plan.lies_alike(self._reports)
        if not fits or not self._noted.holds():
            self._anatomy.attends_in_place = True
            self._plan = None
            return self._waits
        if self._queries_noted and self._anatomy.attends_in_place is None:
            self._anatomy.attends_in_place = False
        return False

    def renewed(self) -> Plan | None:
        """Return an earlier step's plan, with this step's addresses, if this step's attention is like that one's."""
        if self._plan is not None and not self._attended and not self._scores and not self.reduced:
            if self._plan.renew(self._reports):
                return self._plan
            self._plan = None
            collected = list(self._collected)
            self._collected.clear()
            for report in collected:
                self._inspect(report)
            self._reports = Reports(list(self._collected))
        return None

    def read(self) -> None:
        """Look at every attention that was reported."""
        for report in self._reports.all:
            taken = from_query(*report)
            self.on_scores(report[0], lambda taken=taken: taken)  # type: ignore[misc]

    def plan(self, place: Callable[[Key], Place], sequences: int, device: torch.device) -> Plan | None:
        """Return how what was read can be reduced at once; None where it cannot.

        Args:
            place: where in the row an attention's numbers go.
            sequences: of the step.
            device: of the row.
        """
        taken = list(self._attended.values())
        if len(taken) != len(self.sizes) or not takes(taken, device, sequences):
            return None
        plan = Plan(taken, [place(key) for key in self._attended])
        if len(self._reports.all) == len(taken):
            self._plan = plan.learn(self._reports)
        return plan

    def reduce_plan(self, plan: Plan) -> None:
        """Reduce a step as planned, by torch."""
        if max(group.score_bytes for group in plan.groups) > SLICE_BYTES:
            if not self._attended:
                self.read()
            self.reduce()
            return
        if self._attended:
            whose, tensors = list(self._attended), [(one.query, one.key) for one in self._attended.values()]
        else:
            whose = [self._attentions[id(module)] for module in self._reports.modules]
            tensors = [(report[1], report[2]) for report in self._reports.all]
        for group in plan.groups:
            queries, keys = zip(*(tensors[member] for member in group.members), strict=True)
            statistics, previous = reduce_attended(queries, keys, group, generated=self._step if group.own else 0)
            for position, member in enumerate(group.members):
                self.reduced[whose[member]] = statistics[position], previous[position]

    def sum_plan(self, plan: Plan, layers: Sequence[int]) -> tuple[AttentionSums, VisibleKeys] | None:
        """Sum a step as planned over its keys, by torch: the rows [layers, B, H] of these layers.

        None where they are not all alike, or where something has to be looked at more closely.
        """
        group = plan.groups[0]
        alike = len(plan.groups) == 1 and group.own and not group.sinks and not self._attended
        if not alike or group.layers * group.score_bytes > SLICE_BYTES:
            return None
        if [self._attentions[id(module)] for module in self._reports.modules] != [("self", layer) for layer in layers]:
            return None
        queries, keys = zip(*(report[1:3] for report in self._reports.all), strict=True)
        return sum_attended(queries, keys, group, generated=self._step)

    def reduce(self) -> None:
        """Reduce the scores at hand, those of layers that see the same keys in the same way together."""
        while self._attended:
            key = next(iter(self._attended))
            self._take(key, self._attended.pop(key).multiplied())
        groups: dict[tuple[Any, ...], list[Key]] = {}
        for key, taken in self._scores.items():
            values = taken.values
            how = (taken.scale, taken.softcap, taken.learned_sink is None, *taken.shared)
            groups.setdefault((key[0], values.device, values.shape, *how), []).append(key)
        for (kind, *_), keys in groups.items():
            alike_scores = [self._scores[key] for key in keys]
            statistics, previous = reduce_scores(
                alike_scores, family=FAMILY_OF[kind], generated=self._step if kind == "self" else 0
            )
            for position, key in enumerate(keys):
                self.reduced[key] = statistics[position], previous[position]
        self._scores.clear()
        self._pending_bytes = 0
