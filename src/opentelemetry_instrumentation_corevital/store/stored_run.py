"""Runs as they come out of the store."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import semconv
from .._internal.printable import printable
from .._internal.short_repr import run_line, short_list, short_name, short_repr
from ..catalogue import intervention_names
from ..catalogue.spelling import for_people
from ..presentation.shapes import WHOLE, Dropped
from .checked_attributes import REPORT, RUN_DATA, Findings, checked_row, damage_json
from .filters import FLAGS
from .labels import Label
from .pandas_import import import_pandas
from .run_columns import COLUMN_ATTRIBUTES, SET_COLUMNS, VERDICT_COLUMNS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pandas import DataFrame

    from ..run import PromptAnalysis
    from .checked_columns import Columns


@dataclass(frozen=True, slots=True, repr=False)
class RunSummary:
    """One row of `runs`; None where something was not measured or not judged."""

    trace_id: str
    span_id: str
    sequence_index: int
    start_ns: int
    end_ns: int
    service_name: str
    model: str | None
    operation: str | None
    strategy: str | None
    risk_score: float | None
    risk_level: str | None
    nan_detected: bool | None
    inf_detected: bool | None
    repetition_loop_detected: bool | None
    attention_collapse_detected: bool | None
    mid_layer_anomaly_detected: bool | None
    high_entropy_steps: int | None
    failure_risk: float | None
    warnings: tuple[str, ...] | None
    prompt_hash: str | None
    prompt_hash_source: str | None
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    error_type: str | None
    narrative: str | None
    risk_method: str | None
    entropy_mean: float | None
    surprisal_mean: float | None
    margin_mean: float | None
    label: str | None
    others: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Columns beside the fields above, by name, read like these: other verdicts, and what a prompt set says."""
    damage: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Name of a value that is left out -> what is wrong with it; also of those that were refused when they came."""

    def __getattr__(self, name: str) -> Any:
        """Return a column that has no field; None where it was not judged.

        Raises:
            AttributeError: for what is no column.
        """
        if name in OTHERS:
            return self.others.get(name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    @property
    def stop_reason(self) -> str | None:
        """Return what ended it."""
        return self.others.get("stop_reason")

    @property
    def risk_answer(self) -> float | None:
        """Return the probability that its answer is wrong; None outside the support, and where it was not judged."""
        return self.others.get("risk_answer")

    @property
    def intervention(self) -> str | None:
        """Return what a policy did to it last; None where none did anything."""
        return self.others.get("intervention")

    @property
    def experiment(self) -> str | None:
        """Return what it belongs to, as its resource says."""
        return self.others.get("experiment")

    @property
    def prompt_id(self) -> str | None:
        """Return which prompt of a prompt set it answers."""
        return self.others.get("prompt_id")

    @property
    def expected_found(self) -> bool | None:
        """Return whether the text that its prompt set expects is in the answer; None where it expects none."""
        return self.others.get("expected_found")

    @property
    def broken_off(self) -> bool:
        """Return whether an error, or somebody who did not wait, ended it."""
        return self.error_type is not None or self.stop_reason in ("error", "cancelled")

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the flags that are raised."""
        return tuple(flag for flag in FLAGS if getattr(self, flag))

    @property
    def judged(self) -> bool:
        """Return whether any flag is known, raised or not."""
        return any(getattr(self, flag) is not None for flag in FLAGS)

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return (self.end_ns - self.start_ns) / 1e9

    def as_dict(self) -> dict[str, Any]:
        """Return the row, for JSON; `damage` is None where nothing is wrong."""
        row = {name: getattr(self, name) for name in COLUMNS if name != "damage"}
        return {**row, "damage": dict(self.damage) or None}

    def __repr__(self) -> str:
        """Return one line: who wants every column asks `as_dict()`."""
        return one_line_of(type(self).__name__, self)

    def _repr_html_(self) -> str:
        from ..presentation.notebook import runs_view

        return runs_view([self])


_FIELDS = tuple(each.name for each in fields(RunSummary) if each.name not in ("others", "damage"))
OTHERS = (*(column.name for column in VERDICT_COLUMNS if column.name not in _FIELDS), *SET_COLUMNS)
"""Columns that have no field of their own."""
COLUMNS = (*_FIELDS, *OTHERS, "damage")


def summary_of(row: tuple[Any, ...]) -> RunSummary:
    """Return a row of `runs` whose columns are `COLUMNS`; a value that is wrong is None, and `damage` says why."""
    values, damage = checked_row(dict(zip(COLUMNS, row, strict=True)), COLUMN_ATTRIBUTES, (*FLAGS, "expected_found"))
    others = {name: values.pop(name) for name in OTHERS}
    return RunSummary(**values, others=others, damage=damage)


class RunList(list[RunSummary]):
    """Runs, the newest first; a table in a notebook."""

    def to_pandas(self) -> "DataFrame":
        """Return one row per run: times are UTC timestamps, `damage` is JSON.

        Raises:
            ImportError: where pandas is not installed.
        """
        pandas = import_pandas()
        rows = [{**run.as_dict(), "damage": damage_json(run.damage)} for run in self]
        frame = pandas.DataFrame(rows, columns=list(COLUMNS))
        for name in ("start", "end"):
            frame[name] = pandas.to_datetime(frame.pop(f"{name}_ns"), unit="ns", utc=True)
        frame[list(FLAGS)] = frame[list(FLAGS)].astype("boolean")
        return frame

    def __repr__(self) -> str:
        """Return their number and a line for each of the first."""
        return short_list(type(self).__name__, "run", self)

    def _repr_html_(self) -> str:
        from ..presentation.notebook import runs_view

        return runs_view(self)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A span event."""

    name: str
    time_ns: int
    attributes: dict[str, Any]

    __repr__ = short_repr


@dataclass(frozen=True, repr=False)
class StoredRun:
    """A run with everything that is stored of it; its verdict in a notebook."""

    summary: RunSummary
    attributes: dict[str, Any]
    events: tuple[StoredEvent, ...]
    label: Label | None = None
    data: bytes | None = None
    """The run data, a compressed NumPy `.npz` (docs/run-data.md); None where there are none."""
    call: dict[str, Any] | None = None
    """Attributes of the call's own span, where the call had several sequences."""
    dropped: Dropped = WHOLE
    """What the SDK's limits took from the span: what is missing then may have been there."""
    findings: Findings = field(default_factory=Findings, compare=False)
    """What was wrong with its values as it was read; `damage` has what is wrong with its run data, too."""

    @property
    def steps(self) -> tuple[StoredEvent, ...]:
        """Return the recorded steps."""
        return tuple(event for event in self.events if event.name == semconv.STEP_EVENT)

    @property
    def interventions(self) -> tuple[StoredEvent, ...]:
        """Return what policies did, in order; of many the last ones."""
        return tuple(event for event in self.events if event.name == intervention_names.EVENT)

    @cached_property
    def columns(self) -> "Mapping[str, NDArray[Any]]":
        """Return the run data by column, each [steps] or [steps, layers]; empty where there are none.

        A column that is damaged is not there, and a value beyond its range is NaN; `damage` names them.

        Raises:
            ValueError: if the data are no archive of columns at all.
        """
        if REPORT not in self._columns:
            return self._columns
        return {name: values for name, values in self._columns.items() if name != REPORT}

    @cached_property
    def report(self) -> dict[str, Any] | None:
        """Return what the report of a migrated run says beside its columns; None for any other run.

        Raises:
            ValueError: if the data are no archive of columns at all.
        """
        from .checked_columns import read_report

        found = self._columns.get(REPORT)
        return None if found is None else read_report(found, self.findings)

    @cached_property
    def prompt_analysis(self) -> "PromptAnalysis | None":
        """Return what is stored of the prompt; None where it was not analysed.

        Raises:
            ValueError: if the data are no archive of columns at all.
        """
        from .stored_prompt import stored_prompt

        return stored_prompt(self._columns, self.attributes)

    @property
    def damage(self) -> dict[str, str]:
        """Return what is wrong with values that are left out, of the run data, too: the name of each -> why."""
        try:
            columns, _ = self._columns, self.report
        except ValueError as error:
            return {**self.summary.damage, **self.findings.named, RUN_DATA: f"is {error}"}
        of_data = {} if isinstance(columns, dict) else columns.findings.named
        return {**self.summary.damage, **self.findings.named, **of_data}

    @cached_property
    def _columns(self) -> "Columns | dict[str, NDArray[Any]]":
        from .checked_columns import Columns

        if self.data is None:
            return {}
        get = self.attributes.get
        return Columns(self.data, steps=get(semconv.STEPS_TOTAL), layers=get(semconv.MODEL_LAYER_COUNT))

    def as_dict(self) -> dict[str, Any]:
        """Return summary, label, attributes, events and how many of them were dropped, for JSON."""
        label = None if self.label is None else asdict(self.label)
        damage = {"damage": self.damage} if self.damage else {}
        events = [asdict(event) for event in self.events]
        return {
            "summary": self.summary.as_dict(),
            "label": label,
            "attributes": self.attributes,
            "events": events,
            "dropped": self.dropped._asdict(),
            **damage,
        }

    def to_pandas(self, signal: str | None = None) -> "DataFrame":
        """Return one row per step.

        Args:
            signal: a signal of layers, such as `hidden_l2_norm`: one column per layer. None: every signal that has
                one number per step; without run data, what the recorded steps have.

        Raises:
            ImportError: where pandas is not installed.
            KeyError: if no such signal was measured.
        """
        pandas = import_pandas()
        if signal is not None:
            values = self.columns[signal]
            frame = pandas.DataFrame(values if values.ndim > 1 else values[:, None])
            frame.columns.name = "layer"
        elif self.columns:
            flat = {name: values for name, values in self.columns.items() if values.ndim == 1}
            frame = pandas.DataFrame(flat)
        else:
            frame = pandas.DataFrame(
                [{name.rpartition(".")[2]: value for name, value in e.attributes.items()} for e in self.steps]
            )
            if "index" in frame:
                frame = frame.set_index("index")
        frame.index.name = "step"
        return frame

    def __repr__(self) -> str:
        """Return one line: all that a run holds would be a megabyte, and may be content."""
        return one_line_of(type(self).__name__, self.summary)

    def plot(self, *signals: str) -> "Figure":
        """Return timelines and layers as a figure of matplotlib (the extra `[plot]`), which is no figure of pyplot.

        Args:
            signals: names of timelines, such as `entropy`, and of signals of layers, such as `hidden_l2_norm`; none:
                those that tell the most.

        Raises:
            ImportError: where matplotlib is not installed.
            ValueError: for a signal that there is not, or that is not stored of the run.
        """
        from ..presentation.plots import figure

        return figure(readable(self), signals)

    def to_html(self, path: str | os.PathLike[str] | None = None, *, tokenizer: Any = None) -> str:
        """Return the whole page of the run, as `corevital show --html` makes it, or write it and return where.

        Args:
            path: the file that it is written to; None: to none.
            tokenizer: of the model, which makes text of the tokens; None: ids stand for it, where they are stored.

        Raises:
            OSError: if the file cannot be written.
        """
        from ..presentation.showing import saved

        run = readable(self)
        return saved(run, run.pieces(tokenizer), path)

    def pieces(self, tokenizer: Any = None, most: int | None = None) -> Sequence[str] | None:
        """Return the text of each of the first tokens; None where neither ids nor text are stored.

        Args:
            tokenizer: of the model; without it, or with one that does not have them, ids stand for text.
            most: tokens at most; None: as many as a page draws.
        """
        from ..presentation.pages.run_views.strip_view import MOST_TOKENS
        from ..presentation.showing import decoded, named

        most = MOST_TOKENS if most is None else most
        if self.report is not None:
            timeline = self.report.get("timeline") or []
            told = [(step.get("token") or {}).get("token_text") for step in timeline[:most]]
            return [printable(str(piece or "")) for piece in told] if any(told) else None
        ids = self.columns.get("tokens")
        if ids is None:
            return None
        shown = ids[:most].tolist()
        return named(shown) if tokenizer is None else decoded(tokenizer, shown)

    def _repr_html_(self) -> str:
        from ..presentation.notebook import run_view
        from ..presentation.notebook_tokens import MOST_TOKENS

        run = readable(self)
        told = None if run.report is None else run.pieces(most=MOST_TOKENS)
        return run_view(run, told)


def readable(run: StoredRun) -> StoredRun:
    """Return a run, without run data that are no archive of columns at all; its damage says so."""
    try:
        _ = run.columns
    except ValueError:
        return replace(run, data=None, findings=Findings(run.damage))
    return run


def one_line_of(kind: str, run: RunSummary) -> str:
    """Return a run as one line, without content; `kind` is the class that shows itself so."""
    risk = "risk not judged" if run.risk_score is None else f"risk {run.risk_score:.2f}"
    tokens = "unknown" if run.output_tokens is None else run.output_tokens
    name = f"{run.trace_id[:12]}:{run.sequence_index}"
    return run_line(kind, (name, short_name(run.model), risk, f"{tokens} tokens", *map(for_people, run.flags)))
