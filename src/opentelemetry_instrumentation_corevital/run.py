"""The data model: what is known of one generated sequence, its numbers and its judgements.

A `Run` holds columns (one NumPy array per signal, one entry per step), not an object per step. `capture` makes it,
`assessment` reads it and `processors` write the judgements into it; none of them needs another one's imports.
"""

import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ._internal.alternatives import Alternatives as Alternatives  # noqa: PLC0414
from ._internal.baseline_use import BaselineUse
from ._internal.blamed_layer import BlamedLayer as BlamedLayer  # noqa: PLC0414
from ._internal.fingerprint_vector import Fingerprint as Fingerprint  # noqa: PLC0414
from ._internal.intervention import Intervention as Intervention  # noqa: PLC0414
from ._internal.intervention import InterventionKind as InterventionKind  # noqa: PLC0414
from ._internal.intervention import InterventionOutcome as InterventionOutcome  # noqa: PLC0414
from ._internal.intervention import RollbackMode as RollbackMode  # noqa: PLC0414
from ._internal.layer_deviation import Deviation as Deviation  # noqa: PLC0414
from ._internal.printable import one_line
from ._internal.prompt import Prompt
from ._internal.prompt_analysis import AskedOfPrompt
from ._internal.prompt_analysis import PromptAnalysis as PromptAnalysis  # noqa: PLC0414
from ._internal.prompt_analysis import PromptConnection as PromptConnection  # noqa: PLC0414
from ._internal.prompt_analysis import PromptConnections as PromptConnections  # noqa: PLC0414
from ._internal.short_repr import run_line, short_name, short_repr
from .catalogue.signals import names, of_family
from .catalogue.spelling import for_people
from .catalogue.verdicts import FLAG

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FinishReason = Literal["stop", "length", "error"]
StopReason = Literal["eos", "stop_string", "length", "time", "criterion", "policy", "cancelled", "error"]
RiskLevel = Literal["low", "medium", "high"]

FINISH_REASONS: Mapping[StopReason, FinishReason] = {
    "eos": "stop",
    "stop_string": "stop",
    "length": "length",
    "time": "length",
    "criterion": "stop",
    "policy": "stop",
    "cancelled": "stop",
    "error": "error",
}
"""Why a sequence ended -> the word of the GenAI conventions for it."""

LOGIT_SIGNALS = names(each for each in of_family("logits") if each.dtype != "int32")
"""Signals of the next-token distribution, float32 per step; NaN where the step has no distribution."""

NONFINITE_COUNTS = names(each for each in of_family("logits") if each.dtype == "int32")
"""Non-finite raw logits of a step, as counts."""

COLUMNS = LOGIT_SIGNALS + NONFINITE_COUNTS

HIDDEN_SIGNALS = names(of_family("hidden", "layer"))
"""Of each decoder layer's output at the last position, float32 [T, layers]: mean, population standard deviation, L2
norm, largest absolute value, counts of NaN and of infinities, and 1 - cosine with the layer before (NaN for the first).
"""

SELF_SIGNALS = names(of_family("attention", "layer"))
"""Of each layer's self-attention row of the last query, float32 [T, layers], over heads; the mean where the name does
not say otherwise. NaN on steps on which attention was not looked at."""

CROSS_SIGNALS = names(of_family("cross", "layer"))
"""The same of an encoder-decoder model's cross-attention, over the encoder's keys."""


_LATER: Final = {
    "interventions": (),
    **dict.fromkeys(("baseline", "answer", "prompt_analysis", "tokenizer", "alternatives")),
}
"""What a pickle of an earlier version lacks."""


def middle_third(layers: int) -> range:
    """Return the indices of the middle third of a model's layers."""
    return range(layers // 3, layers - layers // 3)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the run's model is; every field that could not be found is None."""

    name: str
    architecture: str
    dtype: str | None = None
    device: str | None = None
    layer_count: int | None = None
    head_count: int | None = None
    attention_implementation: str | None = None
    quantization: str | None = None
    revision: str | None = None
    vocabulary_size: int | None = None
    adapters: tuple[str, ...] = ()
    """Names of the active PEFT adapters, sorted."""
    __repr__ = short_repr


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the call decoded, read from the generation config that transformers resolved."""

    strategy: str | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    num_return_sequences: int = 1
    num_beams: int = 1
    repetition_penalty: float | None = None
    stop_strings: tuple[str, ...] = ()
    seed: int | None = None
    __repr__ = short_repr

    def identity(self) -> dict[str, Any]:
        """Return the settings that make two runs of one prompt comparable, as plain JSON values."""
        return {
            "strategy": self.strategy,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "num_beams": self.num_beams,
            "repetition_penalty": self.repetition_penalty,
            "stop_strings": sorted(self.stop_strings),
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Health:
    """Health flags. A flag that could not be judged is None; `absent` says why, `evidence` what raised the others.

    NaN and infinity are judged from the logits alone where `absent` has `hidden_states`. `deviations` is what was
    further out than the model's baseline profile allows; None without one. `others` has the flags of the catalogue
    that have no field here, by name; each can be read as an attribute, too.
    """

    nan_detected: bool | None
    inf_detected: bool | None
    repetition_loop_detected: bool | None
    high_entropy_steps: int | None
    attention_collapse_detected: bool | None = None
    mid_layer_anomaly_detected: bool | None = None
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    deviations: Sequence[Deviation] | None = None
    others: Mapping[str, bool | None] = field(default_factory=dict)
    __repr__ = short_repr

    @classmethod
    def of(cls, flags: Mapping[str, bool | None], *, high_entropy_steps: int | None, **rest: Any) -> Self:
        """Return the health with these flags, each by its name; the rest are fields."""
        named = {each.name for each in fields(cls)}
        own: dict[str, Any] = {name: flags.get(name) for name in FLAG if name in named}
        others = {name: value for name, value in flags.items() if name not in named}
        return cls(**own, high_entropy_steps=high_entropy_steps, others=others, **rest)

    def __getattr__(self, name: str) -> bool | None:
        """Return a flag that has no field; None where it was not judged.

        Raises:
            AttributeError: for what is no flag.
        """
        if name in FLAG:
            return self.others.get(name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}; its flags are {', '.join(FLAG)}")

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Take what a pickle holds; one of an earlier version lacks the last fields."""
        for each, value in zip(fields(self), [*state, {}][: len(fields(self))], strict=True):
            object.__setattr__(self, each.name, value)

    def flags(self) -> dict[str, bool]:
        """Return the flags that could be judged, by name."""
        values = {name: getattr(self, name) for name in FLAG}
        return {name: value for name, value in values.items() if value is not None}

    def raised(self) -> list[str]:
        """Return the names of the flags that are raised."""
        return [name for name, value in self.flags().items() if value]


@dataclass(frozen=True, slots=True)
class EarlyWarning:
    """What warned while the run went on.

    `failure_risk`, `risk_so_far` and `answer_so_far` (the answer risk of the prefix, NaN outside its support) have one
    entry per step; `active` names the signals that hold at a step.
    `failure_risk_at_end` counts a step that failed before its token was chosen, too; None for a run without a step.
    """

    failure_risk: NDArray[np.float32]
    risk_so_far: NDArray[np.float32]
    signals: tuple[str, ...]
    first_step: int | None
    active: Mapping[int, tuple[str, ...]]
    failure_risk_at_end: float | None = None
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    answer_so_far: NDArray[np.float32] | None = None
    __repr__ = short_repr

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Take what a pickle holds; one of an earlier version has no `answer_so_far`."""
        for each, value in zip_longest(fields(self), state):
            object.__setattr__(self, each.name, value)


@dataclass(frozen=True, slots=True)
class CompoundSignal:
    """Several numbers that mean more together than each alone."""

    name: str
    severity: float
    """In (0, 1]: an order, not a probability."""
    evidence: Mapping[str, Any]
    __repr__ = short_repr


@dataclass(frozen=True, slots=True)
class Risk:
    """Risk in [0, 1], what it is made of, and how it was computed."""

    score: float
    level: RiskLevel
    factors: tuple[tuple[str, float], ...]
    method: str
    __repr__ = short_repr


@dataclass(frozen=True, slots=True)
class AnswerRisk:
    """The probability that the answer is wrong, what moved it, and how it was computed."""

    probability: float | None
    """In [0, 1]; None outside the support."""
    support: bool
    """Whether the run is like those that the probability was fitted on."""
    method: str
    factors: tuple[tuple[str, float], ...]
    """Feature -> how far it moved the log-odds (natural logarithm), the farthest first."""
    reason: str | None
    """Why there is no probability."""
    __repr__ = short_repr


@dataclass(slots=True, weakref_slot=True, repr=False)
class Run(AskedOfPrompt):
    """One generated sequence.

    Attributes:
        model, decoding: what generated, and how it decoded.
        prompt: the prompt's text, where it is known. Only judgements that hash it may read it.
        sequence_index, sequence_count: row of the sequence in the call's result, and how many rows that has.
        prompt_index: row of its prompt among the call's prompts: several sequences may have one.
        input_tokens: tokens of this sequence's prompt, without padding; None where it could not be counted. Of all
            prompts of a call where `absent` has `output_tokens`, since its sequences are not known then.
        tokens: int32 [T], the generated token ids, padding removed. Content: never exported by default. Empty where
            `absent` has `output_tokens`: what was generated could not be read.
        columns: signal name -> float32 or int32 [T], of layer signals [T, layers]; `hidden_cosine` is the cosine of the
            last layer's output with the previous step's [T], `attention_previous_heads` the weight on the previous
            key of every head of the middle third of the layers [T, middle layers, heads]. A signal that was not
            measured is not in it; a layer or step that was not is NaN.
        alternatives: the five likeliest tokens of each step; None where they were not measured: in `summary`.
        time_ns: int64 [T], Unix time of each token; empty where steps were not observed.
        start_ns, end_ns: Unix time of the call's start and of this sequence's end.
        finish_reason: why the sequence ended; None where it could not be told.
        stop_reason: what ended it: the end token, a stop string, the length limit, the time limit, a stopping
            criterion of the caller's, a policy, somebody who cancelled the call, or an error; None where it could not
            be told. `finish_reason` follows from it.
        absent: what was not measured -> the reason.
        error_type: qualified class of the exception that ended the call.
        failed_step: counts of what was not finite at the step at which the call failed before a token was chosen, each
            [1] or [1, layers] under its column's name. Empty where there was no such step or nothing wrong with it.
        interventions: what policies did to it, in order; empty where they did nothing or there were none.
        baseline: what it was judged with; health, early_warning, ..., warnings: the judgements, once made.
        prompt_analysis: what its prefill tells of the prompt; None where `prompt_analysis` is off.
        tokenizer: the one that the call knew, by which tokens become text where the run is shown; it is not kept alive,
            and a copy or a pickle is without it.

    In a notebook a run shows its verdict, tokens, timelines and layers.
    """

    model: ModelInfo
    decoding: Decoding
    start_ns: int
    end_ns: int
    sequence_index: int = 0
    sequence_count: int = 1
    prompt_index: int = 0
    prompt: Prompt = field(default_factory=Prompt)
    input_tokens: int | None = None
    tokens: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    time_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    finish_reason: FinishReason | None = None
    stop_reason: StopReason | None = None
    absent: dict[str, str] = field(default_factory=dict)
    error_type: str | None = None
    failed_step: dict[str, NDArray[Any]] = field(default_factory=dict)
    interventions: tuple[Intervention, ...] = ()
    baseline: BaselineUse | None = None
    health: Health | None = None
    early_warning: EarlyWarning | None = None
    compound: tuple[CompoundSignal, ...] | None = None
    risk: Risk | None = None
    answer: AnswerRisk | None = None
    blame: tuple[BlamedLayer, ...] | None = None
    fingerprint: Fingerprint | None = None
    narrative: str | None = None
    warnings: list[str] = field(default_factory=list)
    prompt_analysis: PromptAnalysis | None = None
    tokenizer: "weakref.ref[Any] | None" = field(default=None, compare=False)
    alternatives: Alternatives | None = None

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Return what a pickle or a copy holds: all but the tokenizer, which belongs to this process."""
        return None, {each.name: getattr(self, each.name) for each in fields(self) if each.name != "tokenizer"}

    def __setstate__(self, state: tuple[None, Mapping[str, Any]]) -> None:
        """Take what a pickle or a copy holds; one of an earlier version lacks what came later."""
        _, values = state
        for name, value in {**_LATER, **values}.items():
            setattr(self, name, value)

    @property
    def steps(self) -> int:
        """Return the number of generated tokens that are known, T."""
        return len(self.tokens)

    @property
    def output_tokens(self) -> int | None:
        """Return the number of generated tokens; None where they could not be read."""
        return None if "output_tokens" in self.absent else len(self.tokens)

    def column(self, name: str) -> NDArray[Any] | None:
        """Return a signal's values [T] or [T, layers], or None where it was not measured."""
        return self.columns.get(name)

    def counts(self, name: str) -> NDArray[Any] | None:
        """Return a count's values, with that of the step that failed as the last one; None if it was not measured."""
        parts = [values[name] for values in (self.columns, self.failed_step) if name in values]
        return np.concatenate(parts) if parts else None

    def warn(self, names: Sequence[str]) -> None:
        """Add warnings by name, each once, keeping their order."""
        self.warnings.extend(name for name in names if name not in self.warnings)

    def plot(self, *signals: str) -> "Figure":
        """Return timelines and layers as a figure of matplotlib (the extra `[plot]`), which is no figure of pyplot.

        Args:
            signals: names of timelines, such as `entropy`, and of signals of layers, such as `hidden_l2_norm`; none:
                those that tell the most.

        Raises:
            ImportError: where matplotlib is not installed.
            ValueError: for a signal that there is not, or that the run does not have.
        """
        from .presentation import showing

        return showing.drawn(self, signals)

    def to_html(self, path: str | os.PathLike[str] | None = None, *, tokenizer: Any = None) -> str:
        """Return the whole page of the run, as `corevital show --html` makes it, or write it and return where.

        Args:
            path: the file that it is written to; None: to none.
            tokenizer: of the model, which makes text of the tokens; None: the one that the call knew.

        Raises:
            OSError: if the file cannot be written.
        """
        from .presentation import showing

        return showing.page_of(self, path, tokenizer)

    def _repr_html_(self) -> str:
        from .presentation import showing

        return showing.view(self)

    def __repr__(self) -> str:
        """Return one line: its columns would be pages, and its tokens are content."""
        sequence = f"sequence {self.sequence_index} of {self.sequence_count}" if self.sequence_count > 1 else ""
        risk = "risk not judged" if self.risk is None else f"risk {self.risk.score:.2f} {self.risk.level}"
        tokens = "tokens unknown" if self.output_tokens is None else f"{self.output_tokens} tokens"
        flags = [] if self.health is None else map(for_people, self.health.raised())
        end = one_line(self.error_type or self.stop_reason or "", 80)
        return run_line(type(self).__name__, (short_name(self.model.name), sequence, risk, tokens, end, *flags))
