"""`corevital runs` and `corevital show`: what the store holds."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import semconv
from ..config import data_folder, load_settings
from ..store import open_store
from ..store.stored import RunSummary, StoredEvent
from .errors import UserError
from .render import level_style, printable, verdict_panel

_ID_LENGTH: Final = 12
_PIPED_WIDTH: Final = 240  # wide enough that nothing that a script looks for is cut off
_PANEL_WIDTH: Final = 100

_STEP_COLUMNS: Final = {
    "step": semconv.STEP_INDEX,
    "entropy": semconv.STEP_ENTROPY,
    "surprisal": semconv.STEP_SURPRISAL,
    "margin": semconv.STEP_MARGIN,
    "top-1": semconv.STEP_TOP1_PROB,
    "risk so far": semconv.STEP_RISK_SO_FAR,
    "warnings": semconv.STEP_WARNINGS,
}

Database = Annotated[
    str | None,
    typer.Option("--db", help="The store's file; default: OTEL_COREVITAL_SQLITE_PATH, else runs/corevital.db."),
]


def runs(
    db: Database = None,
    limit: Annotated[int, typer.Option(min=1, help="How many runs at most.")] = 20,
    model: Annotated[str | None, typer.Option(help="Only runs of this model.")] = None,
    risk_above: Annotated[float | None, typer.Option(help="Only runs whose risk is above this.")] = None,
    flag: Annotated[str | None, typer.Option(help="Only runs with this flag, e.g. repetition_loop_detected.")] = None,
    prompt_hash: Annotated[str | None, typer.Option(help="Only runs whose prompt hash begins so.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list and nothing else.")] = False,
) -> None:
    """List the stored runs, the newest first.

    Example: corevital runs --risk-above 0.7
    """
    if flag is not None and not flag.endswith("_detected"):
        flag += "_detected"  # the list shows flags without it
    with open_store(database(db)) as store:
        found = store.runs(limit=limit, model=model, risk_above=risk_above, flag=flag, prompt_hash=prompt_hash)
    if as_json:
        print(json.dumps([asdict(run) for run in found], indent=2))
        return
    console = _console()
    if not found:
        console.print("No run fits.")
        return
    console.print(_table(found))


def show(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The beginning of a run's id, ID:SEQUENCE, or last.")],
    db: Database = None,
    steps: Annotated[bool, typer.Option("--steps", help="Print every recorded step.")] = False,
    layers: Annotated[bool, typer.Option("--layers", help="Draw layers x steps as heat maps.")] = False,
    signal: Annotated[
        list[str] | None, typer.Option("--signal", help="What --layers draws; may be given more than once.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Show everything that is stored of a run.

    Example: corevital show last
    """
    if (layers or signal) and not as_json:
        _show_layers(run_id, db, signal or ())
        return
    with open_store(database(db)) as store:
        stored = store.run(run_id)
    if as_json:
        print(json.dumps(stored.as_dict(), indent=2))
        return
    console = _console()
    summary = stored.summary
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(summary.start_ns / 1e9))
    seconds = (summary.end_ns - summary.start_ns) / 1e9
    console.print(f"run {summary.trace_id}:{summary.sequence_index}, {started}, {seconds:.2f} s", soft_wrap=True)
    console.print(verdict_panel(stored.attributes), width=min(console.width, _PANEL_WIDTH))
    for name, title in ((semconv.GEN_AI_INPUT_MESSAGES, "prompt"), (semconv.GEN_AI_OUTPUT_MESSAGES, "answer")):
        text = _message(stored.attributes.get(name))
        if text is not None:
            console.print(Text(f"{title}: ", "dim").append(printable(text), "not dim"), soft_wrap=True)
    events = [event for event in stored.events if event.name == semconv.STEP_EVENT]
    if events:
        shown = events if steps else _telling(events)
        console.print(_steps(shown))
        if len(shown) < len(events):
            console.print(f"{len(shown)} of {len(events)} recorded steps; --steps shows all", style="dim")


def _show_layers(run_id: str, db: str | None, signals: Sequence[str]) -> None:
    """Print a run's heat maps, or the values per layer of its span where it has no run data."""
    from .heatmap import SIGNALS, heat_maps, layer_table  # NumPy

    unknown = next((name for name in signals if name not in SIGNALS), None)
    if unknown is not None:
        raise UserError(f"--signal {unknown}: no such signal; signals are {', '.join(SIGNALS)}.")
    with open_store(database(db)) as store:
        stored = store.run(run_id)
        columns = store.columns(stored)
    console = _console()
    if columns is not None:
        console.print(heat_maps(columns, console.width, signals))
        return
    table = layer_table(stored.attributes)
    if table is None:
        console.print("Nothing inside of this run was measured; `corevital show` says why.")
        return
    console.print(table)
    console.print(
        "No run data, so no steps: they come with capture=full or run_data=on and a log exporter.", style="dim"
    )


def database(path: str | None) -> str:
    """Return the store to read: the one named, else the one of the setting, of `corevital run` here, of zero code."""
    chosen = path or load_settings().sqlite_path
    if chosen is not None:
        return chosen
    here = os.path.join("runs", "corevital.db")
    everywhere = os.path.join(data_folder(), "corevital.db")
    return here if os.path.exists(here) or not os.path.exists(everywhere) else everywhere


def _console() -> Console:
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def _table(found: list[RunSummary]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "age", "model", "risk", "flags", "tokens", "finish", "prompt", "warnings"):
        table.add_column(name, no_wrap=name != "warnings")
    now = time.time_ns()
    calls = Counter((run.trace_id, run.sequence_index) for run in found)
    for run in found:
        name = run.trace_id[:_ID_LENGTH]
        if calls[run.trace_id, run.sequence_index] > 1:
            name = run.span_id[:_ID_LENGTH]  # the trace holds several calls
        elif run.operation is None:
            name += f":{run.sequence_index}"  # one of several sequences: the call's own span has the operation
        risk = Text("-", "dim")
        if run.risk_score is not None:
            risk = Text(f"{run.risk_score:.2f} {run.risk_level or ''}".strip(), level_style(run.risk_level))
        table.add_row(
            name,
            age((now - run.start_ns) / 1e9),
            run.model or "-",
            risk,
            ", ".join(flag.removesuffix("_detected") for flag in run.flags) or "-",
            "-" if run.output_tokens is None else str(run.output_tokens),
            run.error_type or run.finish_reason or "-",
            (run.prompt_hash or "-")[:8],
            ", ".join(run.warnings) or "-",
        )
    return table


def age(seconds: float) -> str:
    """Return a span of time in its largest unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def _telling(events: list[StoredEvent]) -> list[StoredEvent]:
    """Return the steps that a reader looks for first: the ends, the extremes and those with a new warning."""
    chosen = {0, len(events) - 1}
    for name in (semconv.STEP_ENTROPY, semconv.STEP_SURPRISAL):
        values = [event.attributes.get(name, -1.0) for event in events]
        chosen.add(values.index(max(values)))
    before: Any = None
    for index, event in enumerate(events):
        warnings = event.attributes.get(semconv.STEP_WARNINGS)
        if warnings and warnings != before:
            chosen.add(index)
        before = warnings
    return [events[index] for index in sorted(chosen)]


def _steps(events: list[StoredEvent]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    names = {title: name for title, name in _STEP_COLUMNS.items() if any(name in e.attributes for e in events)}
    for title in names:
        table.add_column(title, justify="left" if title == "warnings" else "right")
    for event in events:
        table.add_row(*(_cell(event.attributes.get(name)) for name in names.values()))
    return table


def _message(attribute: Any) -> str | None:
    """Return the text of a GenAI messages attribute; None where it is not there or was cut off."""
    try:
        return str(json.loads(attribute)[0]["parts"][0]["content"])
    except (TypeError, ValueError, LookupError):
        return None


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
