"""What `corevital run` has when it has run: the runs, their spans, and where they went; printed or as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import format_span_id, format_trace_id

from .. import semconv
from .._internal.user_error import UserError
from ..catalogue import intervention_names
from ..loading.models import LoadedModel
from ..presentation.panel import verdict_panel
from ..presentation.shapes import Dropped
from ..presentation.token_strip import coloured_text, legend, token_pieces
from ..run import Run
from ..store import StoreError
from ..store.stored_run import StoredEvent
from .own_telemetry import CommandTelemetry
from .printing import run_console


@dataclass(frozen=True, slots=True)
class RunResults:
    """What came of one `corevital run`."""

    loaded: LoadedModel
    runs: Sequence[Run]
    """One per sequence."""
    spans: Sequence[ReadableSpan]
    """Theirs, in the same order."""
    database: str | None
    """The store's file; None: no store."""
    reports: Sequence[Path]
    sent: Sequence[str]
    """Where the spans were sent to by OTLP, in words."""
    problem: StoreError | UserError | None
    """Why something was not stored or written; it is raised once the verdict is shown."""
    text_shown: bool = False
    """Whether the whole text was shown while it was generated."""

    @property
    def risk(self) -> float:
        """Return the highest risk of the runs; 0 where none was judged."""
        return max((run.risk.score for run in self.runs if run.risk is not None), default=0.0)

    def print(self) -> None:
        """Print the verdict and the response text of each run, and where they went."""
        console = run_console()
        for run, span in zip(self.runs, self.spans, strict=True):
            if len(self.runs) > 1:
                console.rule(f"sequence {run.sequence_index}")
            dropped = Dropped(span.dropped_attributes, span.dropped_events)
            console.print(verdict_panel(dict(span.attributes or {}), dropped, _interventions(span)))
            if not self.text_shown:
                console.print(coloured_text(self.loaded.tokenizer, run), soft_wrap=True)
            if console.color_system is not None and run.column("surprisal") is not None:
                console.print(legend())
        named = [f"run {trace_id}" for trace_id in trace_ids(self.spans)[:1]]
        console.print(", ".join([*named, *self._places(), *self.sent]), style="dim", soft_wrap=True)

    def as_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        return {
            "database": self.database,
            "reports": [str(path) for path in self.reports],
            "runs": [
                {
                    "trace_id": None if span.context is None else format_trace_id(span.context.trace_id),
                    "span_id": None if span.context is None else format_span_id(span.context.span_id),
                    "text": self.loaded.tokenizer.decode(run.tokens.tolist(), skip_special_tokens=True),
                    "tokens": self._json_tokens(run),
                    "attributes": dict(span.attributes or {}),
                }
                for run, span in zip(self.runs, self.spans, strict=True)
            ],
        }

    def _places(self) -> list[str]:
        stored = [] if self.database is None else [f"stored in {self.database}"]
        return [*stored, *(f"report in {path}" for path in self.reports)]

    def _json_tokens(self, run: Run) -> list[dict[str, Any]]:
        pieces = token_pieces(self.loaded.tokenizer, run.tokens.tolist())
        names = [name for name in ("entropy", "surprisal", "margin") if name in run.columns]
        return [
            {"text": piece}
            | {name: float(run.columns[name][step]) for name in names if run.columns[name][step] < float("inf")}
            for step, piece in enumerate(pieces)
        ]


def _interventions(span: ReadableSpan) -> list[StoredEvent]:
    """Return the events of what policies did."""
    events = [StoredEvent(event.name, event.timestamp, dict(event.attributes or {})) for event in span.events]
    return [event for event in events if event.name == intervention_names.EVENT]


def spans_of_runs(telemetry: CommandTelemetry) -> list[ReadableSpan]:
    """Return the span of each sequence, in order."""
    spans = [
        span for span in telemetry.memory.get_finished_spans() if semconv.STEPS_RECORDED in (span.attributes or {})
    ]
    return sorted(spans, key=lambda span: _sequence(span.attributes or {}))


def trace_ids(spans: Sequence[ReadableSpan]) -> list[str]:
    """Return the traces of spans."""
    return [format_trace_id(span.context.trace_id) for span in spans if span.context is not None]


def _sequence(attributes: Mapping[str, Any]) -> int:
    return int(attributes.get(semconv.SEQUENCE_INDEX, 0))
