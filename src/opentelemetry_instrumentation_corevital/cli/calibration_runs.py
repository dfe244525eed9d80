"""The runs that `corevital calibrate` makes a profile of: generated for it, or served before and stored."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from opentelemetry.trace import Span
from rich.console import Console
from rich.progress import track

from .._internal.user_error import UserError
from ..assessment.early_warning import judge_early_warning
from ..baselines.learned import identity_of, key_of
from ..baselines.run_numbers import FEWEST_RUNS
from ..calibration.healthy import FEWEST_TOKENS, Tally, why_dropped, without_the_rest
from ..instrumentation.instrumentor import CoreVitalInstrumentor
from ..loading.models import LoadedModel
from ..run import Run
from ..store import RunFilter, RunSource, RunSummary, StoreError
from ..store.served_runs import served_run
from .generation import DecodingOptions, encode, generation_options

_FIRST: Final = 5
"""Runs that fail, all of the first so many, end it: the next ones would fail, too."""
_LINES: Final = 10
"""Lines of progress where there is no terminal."""

_EVERYTHING: Final[dict[str, Any]] = {
    "capture_unsampled": True,
    "capture_ratio": 1.0,
    "attention_every": 1,
}
"""Each run is measured and judged, whatever the environment says of a service."""

T = TypeVar("T")


@dataclass(slots=True)
class Sieve:
    """A judgement that keeps what healthy runs have for a profile, and counts why others are dropped.

    Attributes:
        runs: the healthy ones.
        groups: of each, that of its prompt.
        tally: what became of all.
        flagged: how many of them had another flag, one of layers.
        group: of the runs to come.
        error: what the last one that failed said.
    """

    role: str = "command"
    runs: list[Run] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    flagged: int = 0
    group: int = 0
    error: str = ""

    def on_run_ending(self, _span: Span | None, run: Run) -> None:
        """Keep a judged run, or count why not."""
        reason = why_dropped(run)
        if reason is not None:
            self.tally.drop(reason)
            return
        self.tally.keep(run)
        self.flagged += bool(run.health is not None and run.health.raised())
        self.runs.append(without_the_rest(run))
        self.groups.append(self.group)


@dataclass(frozen=True, slots=True)
class Asked:
    """How prompts are answered.

    Attributes:
        temperatures: each prompt is answered at each; 0: the most probable token at every step.
        tokens: of each answer, at most.
        seed: of torch's generators.
        chat: whether the chat template is used.
    """

    temperatures: Sequence[float]
    tokens: int
    seed: int
    chat: bool = False


def generated(loaded: LoadedModel, prompts: Sequence[str], asked: Asked, status: Console) -> Sieve:
    """Answer each prompt at each temperature, and return the healthy runs.

    Raises:
        UserError: if the model cannot answer.
    """
    import torch

    sieve, instrumentor = Sieve(), CoreVitalInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    # Nothing is exported, and no baseline judges the runs of which one is made.
    instrumentor.instrument(judgements=[sieve], baseline="off", **_EVERYTHING)
    torch.manual_seed(asked.seed)
    plan = [(group, text, heat) for group, text in enumerate(prompts) for heat in asked.temperatures]
    try:
        for group, text, temperature in _shown(plan, status, sieve.tally):
            options = DecodingOptions(
                max_new_tokens=asked.tokens, sample=temperature > 0, temperature=temperature or None
            )
            sieve.group, before = group, sieve.tally.tried
            try:
                loaded.model.generate(**encode(loaded, text, chat=asked.chat), **generation_options(options))
            except torch.OutOfMemoryError as error:
                raise UserError(f"{loaded.name} does not fit into the memory of its device: {error}") from error
            except Exception as error:  # whatever the model makes of this prompt; the others may do
                sieve.error = str(error) or type(error).__name__
                if sieve.tally.tried == before:
                    sieve.tally.drop("error")
            if sieve.tally.tried == before:
                sieve.tally.drop("not measured")
            if sieve.tally.tried == sieve.tally.dropped.get("error") == _FIRST:
                raise UserError(f"{loaded.name} cannot answer: {sieve.error}")
    finally:
        instrumentor.uninstrument()
    return sieve


@dataclass(frozen=True, slots=True)
class Served:
    """Healthy runs of a store, and what else it has.

    Attributes:
        sieve: the healthy ones, and why others are left out. If they are of models of one name that differ, in
            quantisation say, those of the one that has most.
        without_layers: runs of which no layer arrays are stored.
    """

    sieve: Sieve
    without_layers: int


def served(store: RunSource, wanted: RunFilter, limit: int, status: Console) -> Served:
    """Return the healthy ones among the runs that a store has, the newest first.

    Args:
        store: the store.
        wanted: which runs.
        limit: how many of those with layer arrays are read at most.
        status: where progress is shown.
    """
    models: dict[str, Sieve] = {}
    prompts: dict[str, int] = {}
    without_layers = tried = 0
    for summary in _shown((run for some in store.in_pages(wanted) for run in some), status):
        run = _read(store, summary)
        if run is None:
            without_layers += 1
            continue
        told = summary.prompt_hash or f"{summary.trace_id}:{summary.span_id}:{summary.sequence_index}"
        sieve = models.setdefault(key_of(identity_of(run.model)), Sieve())
        sieve.group = prompts.setdefault(told, len(prompts))
        sieve.on_run_ending(None, run)
        tried += 1
        if tried == limit:
            break
    chosen = max(models.values(), key=lambda sieve: sieve.tally.kept, default=Sieve())
    if others := tried - chosen.tally.tried:
        chosen.tally.dropped["another model"] += others
    return Served(chosen, without_layers)


def _read(store: RunSource, summary: RunSummary) -> Run | None:
    """Return a stored run, judged for loops where its tokens are known; None where it cannot be learned from."""
    try:
        run = served_run(store.load(summary))
    except StoreError:  # it was deleted meanwhile
        return None
    if run is not None and run.output_tokens is not None:
        run.early_warning = judge_early_warning(run)
    return run


def _shown(plan: Sequence[T] | Iterator[T], status: Console, tally: Tally | None = None) -> Iterator[T]:
    """Yield what is to be done, and show on standard error how far it is."""
    total = len(plan) if isinstance(plan, Sequence) else None
    if status.is_terminal:
        yield from track(plan, "Calibrating", total=total, console=status, transient=True)
        return
    for number, each in enumerate(plan, 1):
        yield each
        if total is not None and tally is not None and number * _LINES // total > (number - 1) * _LINES // total:
            status.print(f"{number} of {total} runs, {tally.kept} kept", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class CalibrationRuns:
    """What a profile is made of, and how more of it is had.

    Attributes:
        sieve: the healthy runs.
        source: where they come from, as text.
        unit, per_unit: what more is asked for, and how many runs each gives.
        prompts: that were answered; None of served runs.
        context: tokens that the model may generate, as far as it says.
        notes: what else there is to know.
    """

    sieve: Sieve
    source: str
    unit: str
    per_unit: int = 1
    prompts: Sequence[str] | None = None
    context: int | None = None
    notes: tuple[str, ...] = ()


def check_enough(runs: CalibrationRuns) -> None:
    """Refuse runs of which no profile can be made, and say what more is needed.

    Raises:
        UserError: if they are too few.
    """
    tally = runs.sieve.tally
    if tally.kept >= FEWEST_RUNS and tally.tokens >= FEWEST_TOKENS:
        if len(set(runs.sieve.groups)) < 2:
            raise UserError(
                f"all {tally.kept} healthy runs answer one prompt: how far out a run is can be measured by the runs of "
                "other prompts only. Give two prompts at least, better fifty; nothing is written."
            )
        return
    missing = tally.missing()
    if missing is None:
        todo = f"none is healthy, so it cannot be said how many {runs.unit}s are needed"
    else:
        more = math.ceil(missing / runs.per_unit)
        todo = f"give {many(more, f'more {runs.unit}')} or more, if as many are dropped"
    said = "".join(f" {note}." for note in runs.notes)
    said += f" The last error: {runs.sieve.error}" if runs.sieve.error else ""
    raise UserError(
        f"{many(tally.kept, 'healthy run')} of {tally.tokens} tokens among {tally.tried} ({runs.source}) are too few: "
        f"at least {FEWEST_RUNS} runs and {FEWEST_TOKENS} tokens are needed. Dropped: {tally.told()}. "
        f"{todo[:1].upper()}{todo[1:]}; nothing is written.{said}"
    )


def many(count: int, what: str) -> str:
    """Return a count and what it counts."""
    return f"{count} {what}{'' if count == 1 else 's'}"
