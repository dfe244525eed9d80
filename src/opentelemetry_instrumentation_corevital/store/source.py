"""Where runs are read from: what commands, pages and notebooks ask of a store, whatever it is kept in."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from .._internal.short_repr import short_repr
from .arriving_steps import LiveStep, RunningCall
from .bulk_labels import LabelCounts, NewLabel
from .cursors import Cursor as Cursor  # noqa: PLC0414
from .cursors import RunPage as RunPage  # noqa: PLC0414
from .filters import ANY_RUN, RunFilter
from .labels import check_outcome
from .listed_runs import ListedRuns
from .runs_to_review import needs_review
from .similar_runs import SIMILAR_RUNS, SimilarRun, comparable, nearest
from .store_error import StoreError
from .stored_fingerprints import get_fingerprint
from .stored_run import RunList, RunSummary, StoredRun

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from numpy.typing import NDArray

    from ..run import Fingerprint
    from .figures_over_time import FiguresOverTime

_MOST_CHOICES: Final = 8
_FEWEST_CHARACTERS: Final = 4
_MOST_STEPS: Final = 2000


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


class RunSource(ListedRuns, Protocol):
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
    def overview(self, wanted: RunFilter = ANY_RUN) -> list[ModelOverview]:
        """Return what there is of each model: the most frequent first, then by name."""

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

    def label_runs(self, labels: Sequence[NewLabel], *, dry_run: bool = False) -> LabelCounts:
        """Label runs, in place of earlier labels, and return how many are new, changed and the same.

        A source that can does it in one transaction; here, one by one, once every outcome was checked.

        Args:
            labels: of runs of this source, each of another one.
            dry_run: whether they are only counted.

        Raises:
            StoreError: if an outcome is no word, a run is not there, or the source cannot be written.
        """
        for each in labels:
            check_outcome(each.outcome)
        pairs = [(each, self.load(each.run).label) for each in labels]
        for each, before in pairs:
            if not dry_run and each.differs(before):
                self.set_label(each.run, each.outcome, each.note)
        return LabelCounts.of(pairs)

    def limit_queries(self, seconds: float) -> None:
        """Let every query from now on end with an error when it takes longer, where the source can tell."""

    def similar(
        self, run: RunSummary | StoredRun, k: int = SIMILAR_RUNS, wanted: RunFilter = ANY_RUN
    ) -> list[SimilarRun]:
        """Return the runs that behaved most like a run, the nearest first, by `Fingerprint.distance`.

        Only fingerprints of the same version can be compared; runs with others are passed over.

        Args:
            run: of this source.
            k: how many at most.
            wanted: which runs are looked at.

        Raises:
            StoreError: if the run has no fingerprint, or was deleted meanwhile, too.
        """
        whole = self._whole(run)
        own = comparable(get_fingerprint(whole), whole.summary, self.name)
        every = ((each, get_fingerprint(self.load(each))) for some in self.in_pages(wanted) for each in some)
        return nearest(own, whole.summary, every, k)

    def models(self, wanted: RunFilter = ANY_RUN, **conditions: Any) -> dict[str | None, int]:
        """Return how many runs there are of each model, the most frequent first; None: of a model without a name.

        Arguments and errors are those of `runs`.
        """
        return {each.model: each.runs for each in self.overview(replace(wanted, **conditions))}

    def compared(
        self, models: Sequence[str], wanted: RunFilter = ANY_RUN, *, limit: int | None = None
    ) -> dict[str, RunList]:
        """Return the runs that a comparison needs: those of each of the models, the newest first.

        Args:
            wanted: which of their runs; its model does not count.
            limit: how many of each at most; None: all.
        """
        return {model: self.runs(wanted, limit=limit, model=model) for model in models}

    def figures_over_time(self, wanted: RunFilter = ANY_RUN, *, now_ns: int) -> "FiguresOverTime":
        """Return what runs show over time; where the filter has no end, it is now, and later runs are left out."""
        from .figures_over_time import figures_of

        return figures_of(self.runs(wanted, limit=None), wanted, now_ns)

    def to_review(self, wanted: RunFilter = ANY_RUN, *, limit: int = 10) -> RunList:
        """Return the newest runs that need a review (`runs_to_review.py`)."""
        every = (run for some in self.in_pages(wanted) for run in some)
        return RunList(islice(filter(needs_review, every), limit))

    def fingerprints(self, runs: Sequence[RunSummary]) -> "Iterator[Fingerprint]":
        """Yield the fingerprint of each run of a list: what tells how alike two runs are."""
        for run in runs:
            yield get_fingerprint(self.load(run))

    def vectors(self, runs: Sequence[RunSummary]) -> "Iterator[tuple[str, Sequence[float]] | None]":
        """Yield version and vector of the fingerprint of each run of a list; None: it has none, or was deleted."""
        for run in runs:
            try:
                found = get_fingerprint(self.load(run))
            except StoreError:
                yield None
                continue
            yield None if found.vector is None or found.version is None else (found.version, found.vector)

    def run(self, run_id: str) -> StoredRun:
        """Return one run.

        Args:
            run_id: `last`, or the first four or more characters of a trace id, or of a span id where the trace holds
                several calls; `ID:INDEX` where a call had several sequences.

        Raises:
            StoreError: if no run or more than one fits; the message lists those that do.
        """
        return self.load(self.named(run_id))

    def named(self, run_id: str) -> RunSummary:
        """Return one run as lists have it; arguments and errors are those of `run`."""
        found = self._named(run_id)
        if len(found) != 1:
            raise StoreError(f"run {run_id}: {_choices(found)}")
        return found[0]

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

    # --- what is new since: for pages that stay open -------------------------------------------------------------

    def change_mark(self) -> int | None:
        """Return a number that is another one once something was stored since the last call; None: it cannot tell."""
        return None

    def arrived(self, since_ns: int, *, limit: int = 50) -> RunList:
        """Return the runs that came since a Unix time, the newest first.

        Here by when they started; a source that knows when a run came to it goes by that.

        Args:
            since_ns: the oldest that counts.
            limit: how many at most.
        """
        return self.runs(since_ns=since_ns, limit=limit)

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
