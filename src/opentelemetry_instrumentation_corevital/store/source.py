"""Where runs are read from: what commands, pages and notebooks ask of a store, whatever it is kept in."""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

from .._internal.clock import CLOCK_SKEW_NS
from .._internal.short_repr import call_like, short_repr
from .._internal.values import fits_int64
from .arriving_steps import LiveStep, RunningCall
from .filters import ANY_RUN, RunFilter
from .store_error import StoreError
from .stored_fingerprints import get_fingerprint
from .stored_run import RunList, RunSummary, StoredRun

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from numpy.typing import NDArray

    from ..run import Fingerprint

PAGE_RUNS: Final = 1000
"""How many runs are asked for at a time where all are wanted."""
_CURSOR: Final = re.compile(r"(-?[0-9]{1,20})\.(-?[0-9]{1,20})\.([0-9a-f]{32})\.([0-9]{1,20})\.([0-9a-f]{16})")
_MOST_CHOICES: Final = 8
_FEWEST_CHARACTERS: Final = 4
_MOST_STEPS: Final = 2000


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list of runs: behind one of them. It stays valid when that run is deleted and others come.

    Lists have the newest first. Of runs that started at the same time the smaller trace id comes first, then the
    smaller sequence, then the smaller span id. Runs that are dated ahead come behind all others, in the same order: a
    clock was wrong, and they would be the newest until their time comes.
    """

    ahead_ns: int
    """What started later is dated ahead. Set when the list begins, so that no run changes its place meanwhile."""
    start_ns: int
    trace_id: str
    sequence_index: int
    span_id: str

    @classmethod
    def behind(cls, run: RunSummary, ahead_ns: int) -> Self:
        """Return the place behind a run."""
        return cls(ahead_ns, run.start_ns, run.trace_id, run.sequence_index, run.span_id)

    @property
    def ahead(self) -> bool:
        """Return whether the list has come to the runs that are dated ahead."""
        return self.start_ns > self.ahead_ns

    def __str__(self) -> str:
        """Return it as text without blanks, for an address or a command line."""
        return f"{self.ahead_ns}.{self.start_ns}.{self.trace_id}.{self.sequence_index}.{self.span_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place that a text names, as `str` made it.

        Raises:
            StoreError: if it names none.
        """
        found = _CURSOR.fullmatch(text)
        if found is None or not all(fits_int64(int(found[number])) for number in (1, 2, 4)):
            raise StoreError(f"{text[:80]!r}: is no place in a list of runs; begin with the first page.")
        return cls(int(found[1]), int(found[2]), found[3], int(found[4]), found[5])


def newest_that_counts(now_ns: int) -> int:
    """Return when a run may have started at the latest not to be dated ahead: `Cursor.ahead_ns` of a new list."""
    return now_ns + CLOCK_SKEW_NS


class RunPage(NamedTuple):
    """Some runs of a list, and where it goes on."""

    runs: RunList
    next: Cursor | None
    """None: these are the last."""

    def __repr__(self) -> str:
        """Return how many runs it has, and where the list goes on."""
        return call_like(type(self).__name__, {"runs": len(self.runs), "next": self.next})


@dataclass(frozen=True, slots=True)
class ModelOverview:
    """What a source holds of one model."""

    model: str | None
    """None: of runs whose model is unknown."""
    runs: int
    high_risk: int
    """Runs of risk level high."""
    newest_ns: int
    """Unix time at which the newest run started."""

    __repr__ = short_repr


class RunSource(Protocol):
    """A place that runs are read from. Use it in a `with` block; `open_store` opens one by its URL.

    A class that inherits from it implements the methods that are abstract here. The others follow from them, and may be
    replaced where the source has a faster way. Every method raises StoreError for a source that cannot be read.
    """

    # --- what a source implements ----------------------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """Return what messages call it: its file or its URL."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it; a second time does nothing."""

    @abstractmethod
    def page(self, wanted: RunFilter = ANY_RUN, *, limit: int = 20, after: Cursor | None = None) -> RunPage:
        """Return the next runs of a list, in the order of `Cursor`.

        From page to page every run is listed once that was there at the first page and is not deleted meanwhile. Runs
        that start after the first page are not listed, unless they are dated ahead.

        Args:
            wanted: which runs the list has.
            limit: how many at most, from 1; more where the last ones have damaged keys, behind which no list goes on.
            after: where the list goes on: `RunPage.next` of the page before; None: from its beginning.
        """

    @abstractmethod
    def overview(self, wanted: RunFilter = ANY_RUN) -> list[ModelOverview]:
        """Return what there is of each model: the most frequent first, then by name."""

    @abstractmethod
    def beginning_with(self, start: str) -> list[RunSummary]:
        """Return the runs whose trace id begins so; if there are none, those whose span id does. The oldest first."""

    @abstractmethod
    def sequences(self, trace_id: str, start_ns: int) -> list[RunSummary]:
        """Return the sequences of a call, which start together, by their index."""

    @abstractmethod
    def load(self, summary: RunSummary) -> StoredRun:
        """Return a run of a list with everything that is stored of it.

        Raises:
            StoreError: if it was deleted meanwhile, too.
        """

    @abstractmethod
    def set_label(self, run: RunSummary, outcome: str | None, note: str | None = None) -> None:
        """Label a run, in place of an earlier label. Summaries and runs that are read afterwards have it.

        Args:
            run: of this source.
            outcome: a word (`check_outcome`); None takes the label away.
            note: free text beside it.

        Raises:
            StoreError: if the outcome is no word, the run is not there, or the source cannot be written.
        """

    # --- what follows ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Return the source."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def runs(self, wanted: RunFilter = ANY_RUN, *, limit: int | None = 20, **conditions: Any) -> RunList:
        """Return runs, the newest first; the order is that of `Cursor`.

        Args:
            wanted: which runs.
            limit: how many at most; None: all.
            conditions: those of `RunFilter`, by name, in addition: `model`, `risk_above`, `level`, `flag`, `since_ns`,
                `until_ns`, `prompt_hash`, `label`, `longer_than`, `tokens_above`, `stop_reason`, `intervened`,
                `baseline_source`, `service`, `experiment`, `request_hash`.

        Raises:
            TypeError: for a condition that there is not.
            StoreError: for an unknown flag, level or stop reason, too.
        """
        wanted = replace(wanted, **conditions)
        found, after = RunList(), None
        while limit is None or len(found) < limit:
            size = PAGE_RUNS if limit is None else min(limit - len(found), PAGE_RUNS)
            some, after = self.page(wanted, limit=size, after=after)
            found += some
            if after is None:
                break
        return RunList(found[:limit])

    def riskiest(self, wanted: RunFilter = ANY_RUN, *, limit: int = 20) -> RunList:
        """Return the runs of the highest risk, the highest first and of equals the newest; those not judged last."""
        found = self.runs(wanted, limit=None)
        found.sort(key=lambda run: 1.0 if run.risk_score is None else -run.risk_score)
        return RunList(found[:limit])

    def models(self, wanted: RunFilter = ANY_RUN, **conditions: Any) -> dict[str | None, int]:
        """Return how many runs there are of each model, the most frequent first; None: of a model without a name.

        Arguments and errors are those of `runs`.
        """
        return {each.model: each.runs for each in self.overview(replace(wanted, **conditions))}

    def compared(
        self, models: Sequence[str], wanted: RunFilter = ANY_RUN, *, limit: int | None = None
    ) -> dict[str, RunList]:
        """Return the runs that a comparison of models needs: those of each model, the newest first.

        Args:
            models: their names.
            wanted: which of their runs; its model does not count.
            limit: how many of each at most; None: all.
        """
        return {model: self.runs(wanted, limit=limit, model=model) for model in models}

    def fingerprints(self, runs: Sequence[RunSummary]) -> "Iterator[Fingerprint]":
        """Yield the fingerprint of each run of a list: what tells how alike two runs are."""
        for run in runs:
            yield get_fingerprint(self.load(run))

    def run(self, run_id: str) -> StoredRun:
        """Return one run.

        Args:
            run_id: `last`, or the first four or more characters of a trace id, or of a span id where the trace holds
                several calls; `ID:INDEX` where a call had several sequences.

        Raises:
            StoreError: if no run or more than one fits; the message lists those that do.
        """
        found = self._named(run_id)
        if len(found) != 1:
            raise StoreError(f"run {run_id}: {_choices(found)}")
        return self.load(found[0])

    def call(self, run_id: str) -> list[RunSummary]:
        """Return all sequences of the call that a run belongs to; arguments and errors are those of `run`."""
        found = self._named(run_id)
        if len({(run.trace_id, run.start_ns) for run in found}) > 1:
            raise StoreError(f"run {run_id}: {_choices(found)}")
        return self.sequences(found[0].trace_id, found[0].start_ns)

    def run_data(self, run: RunSummary | StoredRun) -> bytes | None:
        """Return a run's data, a compressed NumPy `.npz`; None if there are none."""
        return self._whole(run).data

    def columns(self, run: RunSummary | StoredRun) -> "Mapping[str, NDArray[Any]] | None":
        """Return a run's data by column (docs/run-data.md), each [steps] or [steps, layers]; None if there are none.

        Raises:
            StoreError: for damaged data, too.
        """
        stored = self._whole(run)
        try:
            return stored.columns if stored.data is not None else None
        except ValueError as error:
            raise StoreError(f"{self.name}: the run's data are damaged: {error}.") from None

    def otlp(
        self,
        trace_ids: "Sequence[str] | None",  # noqa: ARG002
        left_out: list[str] | None = None,  # noqa: ARG002
    ) -> "Iterator[Message]":
        """Yield OTLP messages with the spans, log records and run data of traces; None: all that the source holds.

        Args:
            trace_ids: of which traces.
            left_out: gets a sentence for each row that is no telemetry, as another program may have written it.

        Raises:
            StoreError: where it does not keep telemetry as it was sent.
        """
        raise StoreError(
            f"{self.name}: does not keep telemetry as it was sent; --format report or csv writes its runs."
        )

    # --- while runs go on: for sources that get the log events of steps ------------------------------------------

    def live_calls(self, behind: int = 0, since_ns: int = 0) -> list[RunningCall]:  # noqa: ARG002
        """Return the calls of which steps have come, and whose span has not; the one with the newest step last.

        Args:
            behind: only calls with a step behind this key (`RunningCall.last_key`).
            since_ns: only calls with a step that came since this Unix time.

        Raises:
            StoreError: where the source gets no steps before a run is over.
        """
        raise self._without_live_steps()

    def live_calls_named(self, start: str) -> list[RunningCall]:  # noqa: ARG002
        """Return the calls with steps, going on or over, whose trace id begins so; else those whose span id does.

        Raises:
            StoreError: where the source gets no steps before a run is over.
        """
        raise self._without_live_steps()

    def live_steps(self, call: RunningCall, behind: int = 0, *, limit: int = _MOST_STEPS) -> list[LiveStep]:  # noqa: ARG002
        """Return the steps of a call that came behind a key (`LiveStep.key`), in the order in which they came.

        Args:
            call: one of this source.
            behind: the key of the last step that is known; 0: from the first.
            limit: how many at most: a full list means that there may be more.

        Raises:
            StoreError: where the source gets no steps before a run is over.
        """
        raise self._without_live_steps()

    def runs_of(self, call: RunningCall) -> list[RunSummary] | None:  # noqa: ARG002
        """Return the judged runs of a call, one per sequence, once its span has come; None: it has not.

        Raises:
            StoreError: where the source gets no steps before a run is over.
        """
        raise self._without_live_steps()

    def has_live_steps(self) -> bool:
        """Return whether a step has ever come before its run was over."""
        return False

    def _without_live_steps(self) -> StoreError:
        return StoreError(f"{self.name}: gets its runs when they are over, so there is nothing to watch.")

    def _whole(self, run: RunSummary | StoredRun) -> StoredRun:
        return run if isinstance(run, StoredRun) else self.load(run)

    def _named(self, run_id: str) -> list[RunSummary]:
        """Return the runs that a name fits, one at least."""
        start, _, index = run_id.lower().partition(":")
        if index and not index.isdecimal():
            raise StoreError(f"run {run_id!r}: after the colon comes the number of the sequence, from 0.")
        found = self._last_call() if start == "last" else self._starting(start)
        if not found:
            raise StoreError(f"{self.name}: holds no run {run_id}.", command="`corevital runs` lists them.")
        fitting = [run for run in found if not index or run.sequence_index == int(index)]
        if not fitting:
            raise StoreError(f"run {run_id}: {_choices(found)}")
        return fitting

    def _last_call(self) -> list[RunSummary]:
        """Return the sequences of the newest call."""
        newest = self.runs(limit=1)
        if not newest:
            raise StoreError(f"{self.name}: holds no run yet.")
        return self.sequences(newest[0].trace_id, newest[0].start_ns)

    def _starting(self, start: str) -> list[RunSummary]:
        if len(start) < _FEWEST_CHARACTERS:
            raise StoreError(f"run {start!r}: give at least four characters of its id, or `last`.")
        return self.beginning_with(start)


def _choices(runs: list[RunSummary]) -> str:
    """Return a sentence that lists runs, each by the shortest name that tells it from the others."""
    if len({run.trace_id for run in runs}) > 1:
        what, names = "several runs begin so", [run.trace_id for run in runs]
    elif len({run.sequence_index for run in runs}) == len(runs):
        what, names = "its call's sequences are", [f"{run.trace_id[:12]}:{run.sequence_index}" for run in runs]
    else:
        what, names = "its trace holds several calls", [run.span_id for run in runs]
    names = list(dict.fromkeys(names))
    more = ", ..." if len(names) > _MOST_CHOICES else ""
    return f"{what}: {', '.join(names[:_MOST_CHOICES])}{more}; name one of them."
