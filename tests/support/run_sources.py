"""Sources of runs for tests: a list in memory, and the places that every source is tried in."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry_instrumentation_corevital.store import (
    Cursor,
    ModelOverview,
    RunFilter,
    RunList,
    RunOrder,
    RunPage,
    RunSource,
    RunSummary,
    SQLiteLogExporter,
    SQLiteSpanExporter,
    StoredRun,
    StoreError,
    open_store,
)
from opentelemetry_instrumentation_corevital.store.cursors import newest_that_counts
from opentelemetry_instrumentation_corevital.store.filters import ANY_RUN
from opentelemetry_instrumentation_corevital.store.labels import Label, check_outcome
from opentelemetry_instrumentation_corevital.store.maintenance import delete_call
from opentelemetry_instrumentation_corevital.store.outcomes import is_wrong
from tests.support.logs_and_metrics import chunk_records, emitted, in_span
from tests.support.spans import run_attributes

Key = tuple[bool, float, int, str, int, str]


def place_in_list(run: RunSummary | Cursor, ahead_ns: int, order: RunOrder = RunOrder.NEWEST) -> Key:
    """Return what lists are ordered by."""
    last, value, sign = False, 0.0, 1 if order.ascending else -1
    if order is RunOrder.NEWEST:
        last = run.start_ns > ahead_ns
    elif order.number is not None:
        number = run.value if isinstance(run, Cursor) else getattr(run, order.number)
        last, value = number is None, sign * (number or 0)
    return last, value, sign * run.start_ns, run.trace_id, run.sequence_index, run.span_id


def meets(run: RunSummary, wanted: RunFilter, note: str | None = None) -> bool:
    """Return whether a run, whose label has a note, meets conditions, in the most obvious way."""
    prompt = run.prompt_hash
    risk, tokens, label = run.risk_score, run.output_tokens, run.label
    known = {label}
    text = (wanted.text or "").lower()
    within = (run.model, run.service_name, run.experiment, note if label is not None else None)
    return all(
        (
            wanted.model is None or run.model == wanted.model,
            wanted.risk_above is None or (risk is not None and risk > wanted.risk_above),
            wanted.level is None or run.risk_level == wanted.level,
            wanted.flag is None or getattr(run, wanted.flag) is True,
            wanted.since_ns is None or run.start_ns >= wanted.since_ns,
            wanted.until_ns is None or run.start_ns < wanted.until_ns,
            wanted.prompt_hash is None or (prompt is not None and prompt.startswith(wanted.prompt_hash)),
            wanted.label is None or label in {"any": known - {None}, "none": {None}}.get(wanted.label, {wanted.label}),
            wanted.longer_than is None or run.seconds > wanted.longer_than,
            wanted.stop_reason is None or run.stop_reason == wanted.stop_reason,
            wanted.baseline_source is None or run.baseline_source == wanted.baseline_source,
            wanted.intervened is None or (run.intervention is not None) is wanted.intervened,
            wanted.service is None or run.service_name == wanted.service,
            wanted.experiment is None or run.experiment == wanted.experiment,
            wanted.request_hash is None or run.request_hash == wanted.request_hash,
            wanted.risk_below is None or (risk is not None and risk < wanted.risk_below),
            wanted.warning is None or wanted.warning in (run.warnings or ()),
            any(text in each.lower() for each in within if each is not None)
            or run.trace_id.startswith(text)
            or run.span_id.startswith(text),
            wanted.outcome_known is None or is_wrong(run, wanted.outcome_known) is not None,
            wanted.tokens_above is None or (tokens is not None and tokens > wanted.tokens_above),
        )
    )


class MemorySource(RunSource):
    """Runs in a list."""

    def __init__(self, kept: list[StoredRun], name: str = "memory://runs") -> None:
        self._kept = kept
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def close(self) -> None:
        pass

    def page(
        self,
        wanted: RunFilter = ANY_RUN,
        *,
        order: RunOrder = RunOrder.NEWEST,
        limit: int = 20,
        after: Cursor | None = None,
        before: Cursor | None = None,
    ) -> RunPage:
        if limit < 1:
            raise ValueError(f"limit {limit}: a page has one run at least")
        place = after or before
        ahead_ns = newest_that_counts(time.time_ns()) if place is None else place.of(order).ahead_ns
        runs = sorted(self._summaries(wanted), key=lambda run: place_in_list(run, ahead_ns, order))
        begin, end = 0, limit
        if place is not None:
            at = place_in_list(place, ahead_ns, order)
            begin = sum(place_in_list(run, ahead_ns, order) <= at for run in runs)
            end = begin + limit
        if before is not None:
            end = sum(place_in_list(run, ahead_ns, order) < at for run in runs)
            begin = max(0, end - limit)
        some = RunList(runs[begin:end])
        following = bool(some) and (end < len(runs) or before is not None)
        return RunPage(
            some,
            Cursor.behind(some[-1], ahead_ns, order) if following else None,
            Cursor.behind(some[0], ahead_ns, order) if some and begin else None,
        )

    def overview(self, wanted: RunFilter = ANY_RUN) -> list[ModelOverview]:
        by_model: dict[str | None, list[RunSummary]] = defaultdict(list)
        for run in self._summaries(wanted):
            by_model[run.model].append(run)
        found = [
            ModelOverview(
                model, len(runs), sum(run.risk_level == "high" for run in runs), max(run.start_ns for run in runs)
            )
            for model, runs in by_model.items()
        ]
        return sorted(found, key=lambda each: (-each.runs, each.model or ""))

    def beginning_with(self, start: str) -> list[RunSummary]:
        runs = sorted(self._summaries(), key=lambda run: (run.start_ns, run.sequence_index))
        traces = [run for run in runs if run.trace_id.startswith(start)]
        return traces or [run for run in runs if run.span_id.startswith(start)]

    def sequences(self, trace_id: str, start_ns: int) -> list[RunSummary]:
        same = (run for run in self._summaries() if (run.trace_id, run.start_ns) == (trace_id, start_ns))
        return sorted(same, key=lambda run: run.sequence_index)

    def load(self, summary: RunSummary) -> StoredRun:
        return replace(self._kept[self._index(summary)], summary=summary)

    def set_label(self, run: RunSummary, outcome: str | None, note: str | None = None) -> None:
        check_outcome(outcome)
        index = self._index(run)
        kept = self._kept[index]
        self._kept[index] = replace(
            kept,
            summary=replace(kept.summary, label=outcome),
            label=None if outcome is None else Label(outcome, note, time.time_ns()),
        )

    def _summaries(self, wanted: RunFilter = ANY_RUN) -> list[RunSummary]:
        return [
            run.summary
            for run in self._kept
            if meets(run.summary, wanted, None if run.label is None else run.label.note)
        ]

    def _index(self, summary: RunSummary) -> int:
        key = (summary.trace_id, summary.span_id)
        for index, run in enumerate(self._kept):
            if (run.summary.trace_id, run.summary.span_id) == key:
                return index
        raise StoreError(f"{self.name}: holds no run {summary.trace_id} any more.")


# --- places: what a new source of runs needs to be tried ------------------------------------------------------------


class Place(Protocol):
    """Where the runs of a source are kept. One for a new source, in `PLACES`, lets every test of sources try it."""

    def add(self, spans: Sequence[ReadableSpan], data: bytes | None = None) -> None:
        """Keep finished spans, as an exporter gets them; run data belong to the last of them."""

    def remove(self, run: RunSummary) -> None:
        """Delete a run."""

    def open(self) -> RunSource:
        """Open the source."""


@dataclass
class SQLitePlace:
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "runs.db"

    def add(self, spans: Sequence[ReadableSpan], data: bytes | None = None) -> None:
        exporter = SQLiteSpanExporter(self.path)
        exporter.export(spans)
        exporter.shutdown()
        assert exporter.last_error is None
        if data is not None:
            context = spans[-1].context
            assert context is not None
            logs = SQLiteLogExporter(self.path)
            logs.export(emitted(*chunk_records(data, 4000, context=in_span(context.trace_id, context.span_id))))
            logs.shutdown()

    def remove(self, run: RunSummary) -> None:
        delete_call(self.path, run.trace_id, [run.span_id])

    def open(self) -> RunSource:
        return open_store(self.path)


@dataclass
class MemoryPlace:
    folder: Path
    kept: list[StoredRun] = field(default_factory=list)

    def add(self, spans: Sequence[ReadableSpan], data: bytes | None = None) -> None:
        scratch = SQLitePlace(self.folder / f"scratch-{len(self.kept)}-{time.time_ns()}")
        scratch.add(spans, data)
        with scratch.open() as source:
            self.kept += [source.load(run) for run in source.runs(limit=None)]

    def remove(self, run: RunSummary) -> None:
        self.kept[:] = [each for each in self.kept if each.summary.span_id != run.span_id]

    def open(self) -> RunSource:
        return MemorySource(self.kept)


PLACES: dict[str, Callable[[Path], Place]] = {"sqlite": SQLitePlace, "memory": MemoryPlace}


def spans_at(starts_ns: Iterable[int], *, seconds: float = 1.0, **changes: object) -> list[ReadableSpan]:
    """Return the span of a run for each time of start."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "tests"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope")
    for start in starts_ns:
        tracer.start_span("chat", attributes=run_attributes(**changes), start_time=start).end(
            start + int(seconds * 10**9)
        )
    return list(exporter.get_finished_spans())
