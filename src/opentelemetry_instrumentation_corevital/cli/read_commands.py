"""`corevital runs` and `corevital show`: what the store holds."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from .. import semconv
from .._internal.printable import one_line, printable
from .._internal.user_error import UserError
from ..catalogue.signals import step_fields
from ..presentation.panel import CUT, message_text, verdict_panel
from ..presentation.run_table import runs_table
from ..presentation.shapes import UNKNOWN
from ..store import RunFilter, RunOrder, RunSummary, open_store
from ..store.flat_rows import run_rows
from ..store.stored_run import COLUMNS, StoredEvent, StoredRun, readable
from .options import (
    AsCsv,
    AsJson,
    Database,
    Limit,
    RunId,
    SortBy,
    database,
    other_store,
    read_from,
    with_stored_model,
)
from .output import one_format, print_json, write_csv
from .printing import console, echo, error_console, named_damage, tell_damage
from .run_conditions import choosing_runs
from .step_tables import columns_json, every_step, layer_rows, step_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PANEL_WIDTH: Final = 100
_MOST_CELL: Final = 200
_MOST_STEPS: Final = 5000
"""Rows of a table of steps: laying out more takes minutes."""

_ALONE: Final = {
    "--steps": "--steps prints a table of the steps, --csv writes a row per step, --layers --csv one per step and "
    "layer, --json --layers adds both to the verdict.",
    "--prompt": "--prompt prints tables of the prompt; --json has it, too.",
}
"""Options with which no other goes, and what to do."""

DrawnSignals = Annotated[
    list[str] | None,
    typer.Option(
        "--signal",
        metavar="SIGNAL",
        help="What --layers draws; may be given more than once.",
        autocompletion=lambda: list(_signals()),
    ),
]

_STEP_COLUMNS: Final = {
    "step": semconv.STEP_INDEX,
    **{each.step.heading: each.step_name for each in step_fields(full=True) if each.step and each.step.heading},
    "risk so far": semconv.STEP_RISK_SO_FAR,
    "answer so far": semconv.STEP_ANSWER_SO_FAR,
    "warnings": semconv.STEP_WARNINGS,
}


@choosing_runs
def runs(
    *,
    db: Database = None,
    limit: Limit = 20,
    wanted: RunFilter,
    sort: SortBy = RunOrder.NEWEST,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the stored runs, the newest first, or in another order, such as --sort risk.

    Example: corevital runs --since 7d --risk-above 0.7
    """
    one_format(as_json=as_json, as_csv=as_csv)
    with open_store(database(db)) as store:
        found = store.runs(with_stored_model(store, wanted), order=sort, limit=limit)
    _print(found, as_json=as_json, as_csv=as_csv)
    tell_damage(named_damage(found))
    if not (as_json or as_csv) or other_store(db) is not None:
        # Beside the list: what reads a pipe gets rows and nothing else.
        error_console().print(read_from(db), soft_wrap=True)


def _print(found: Sequence[RunSummary], *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        print_json([run.as_dict() for run in found])
    elif as_csv:
        write_csv(run_rows(found), COLUMNS)
    else:
        _list(found)


def _list(found: Sequence[RunSummary]) -> None:
    """Print runs as a table, as wide as there is room."""
    out = console()
    if not found:
        out.print("No run matches.")
        return
    table, left_out = runs_table(found, out.width)
    out.print(table)
    if left_out:
        out.print(f"A wider terminal also has room for {', '.join(left_out)}.", style="dim")


def show(
    run_id: RunId,
    db: Database = None,
    steps: Annotated[bool, typer.Option("--steps", help="Print every step.")] = False,
    layers: Annotated[bool, typer.Option("--layers", help="Draw layers x steps as heat maps.")] = False,
    prompt: Annotated[bool, typer.Option("--prompt", help="Print the prompt analysis.")] = False,
    signal: DrawnSignals = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one page that needs nothing else, for any browser.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="With --html, --steps or --prompt: whose tokenizer reads the token ids; default: the run's model.",
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show everything that is stored of a run: the verdict, its evidence, the steps that tell the most.

    With --csv one row per step; with --layers one per step and layer. --json --layers adds them to the verdict.

    Example: corevital show last --layers
    """
    one_format(as_json=as_json, as_csv=as_csv)
    given = {"--layers": layers, "--signal": bool(signal), "--json": as_json, "--csv": as_csv}
    _check_combination({**given, "--steps": steps, "--prompt": prompt}, html=html, tokenizer=tokenizer)
    signals = _known(signal or ())
    layers = layers or bool(signals)
    with open_store(database(db)) as store:
        stored = store.run(run_id)
        needed = steps or prompt or layers or html is not None or as_csv
        columns = store.columns(stored) if needed else None  # names damage
    if html is not None:
        from .html_file import write_page

        write_page(stored, html, tokenizer=tokenizer, source=database(db))
        echo(str(html))
    elif as_csv:
        names, rows = layer_rows(stored, signals) if layers else step_rows(stored)
        write_csv(rows, names)
    elif as_json:
        _print_run(stored, columns_json(stored, signals) if layers else None)
    elif prompt:
        _show_prompt(stored, tokenizer)
        console().print(_named(stored), read_from(db), sep=", ", style="dim", soft_wrap=True)
    elif layers:
        _show_layers(stored, columns, signals)
        console().print(_named(stored), read_from(db), sep=", ", style="dim", soft_wrap=True)
    else:
        _show_verdict(stored, steps=steps, tokenizer=tokenizer)
        console().print(read_from(db), soft_wrap=True)
    tell_damage([(_id(stored), stored.damage)])


def _print_run(stored: StoredRun, columns: Mapping[str, Any] | None) -> None:
    """Print a run as JSON."""
    from ..presentation.alternative_tokens import alternatives_json  # NumPy
    from ..presentation.prompt_text import prompt_json

    more = {} if columns is None else {"columns": columns}
    whole = readable(stored)
    told = {**alternatives_json(whole.columns), **prompt_json(whole.prompt_analysis)}
    print_json({**stored.as_dict(), **told, **more})


def _show_prompt(stored: StoredRun, tokenizer: str | None) -> None:
    from .prompt_tables import show_prompt  # NumPy

    show_prompt(readable(stored), tokenizer)


def _signals() -> Sequence[str]:
    from ..presentation.heat_map import SIGNALS  # NumPy

    return tuple(SIGNALS)


def _known(signals: Sequence[str]) -> Sequence[str]:
    """Return the names of signals, each once.

    Raises:
        UserError: if there is no signal of a name.
    """
    unknown = next((name for name in signals if name not in _signals()), None) if signals else None
    if unknown is not None:
        raise UserError(f"--signal {unknown}: no such signal; signals are {', '.join(_signals())}.")
    return tuple(dict.fromkeys(signals))


def _check_combination(given: Mapping[str, bool], *, html: Path | None, tokenizer: str | None) -> None:
    """Refuse options of which one would not be heard.

    Args:
        given: option -> whether it is given.
        html: the file of --html.
        tokenizer: of --tokenizer.

    Raises:
        UserError: naming two.
    """
    there = [name for name, is_given in given.items() if is_given]
    if html is not None:
        for name in there:
            raise UserError(f"--html writes a page that has steps, layers and prompt, so {name} does not go with it.")
    elif tokenizer is not None and not (given["--steps"] or given["--prompt"]):
        raise UserError("--tokenizer goes with --html, --steps or --prompt.")
    for alone, why in _ALONE.items():
        others = [name for name in there if name != alone]
        if given[alone] and others:
            raise UserError(f"{alone} and {others[0]} do not go together: {why}")


def _named(stored: StoredRun) -> str:
    return f"run {_id(stored)}"


def _id(stored: StoredRun) -> str:
    return one_line(f"{stored.summary.trace_id}:{stored.summary.sequence_index}")


def _show_verdict(stored: StoredRun, *, steps: bool, tokenizer: str | None) -> None:
    out = console()
    summary = stored.summary
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(summary.start_ns / 1e9))
    seconds = (summary.end_ns - summary.start_ns) / 1e9
    out.print(f"{_named(stored)}, {started}, {seconds:.2f} s", soft_wrap=True)
    panel = verdict_panel(stored.attributes, stored.dropped, stored.interventions)
    out.print(panel, width=min(out.width, _PANEL_WIDTH))
    told = [f"prompt {one_line(summary.prompt_id)}"] if summary.prompt_id else []
    told += [f"experiment {one_line(summary.experiment)}"] if summary.experiment else []
    if summary.expected_found is not None:
        told.append(f"expected text {'found' if summary.expected_found else 'missing'}")
    if told:
        out.print(", ".join(told), soft_wrap=True)
    if stored.label is not None:
        note = f", {printable(str(stored.label.note))}" if stored.label.note else ""
        out.print(f"label: {one_line(str(stored.label.outcome))}{note}")
    for name, title in ((semconv.GEN_AI_INPUT_MESSAGES, "prompt"), (semconv.GEN_AI_OUTPUT_MESSAGES, "answer")):
        text = message_text(stored.attributes.get(name))
        if text is None and isinstance(stored.attributes.get(name), str):
            out.print(f"{title}: {CUT}", style="dim")
        if text is not None:
            out.print(Text(f"{title}: ", "dim").append(printable(text), "not dim"), soft_wrap=True)
    recorded, total = stored.steps, stored.attributes.get(semconv.STEPS_TOTAL)
    if steps:
        _show_steps(stored, total, tokenizer)
    elif recorded:
        telling = _telling(recorded)
        out.print(_steps([event.attributes for event in telling]))
        if len(telling) < len(recorded):
            out.print(f"{len(telling)} of {len(recorded)} recorded steps; --steps shows all", style="dim")


def _show_steps(stored: StoredRun, total: Any, tokenizer: str | None) -> None:
    """Print a table of the steps, and one of what the model could have said at each."""
    from .alternative_table import alternative_table  # NumPy

    out, every = console(), every_step(stored)
    shown = every[:_MOST_STEPS]
    out.print(_steps(shown))
    if len(every) > len(shown):
        out.print(f"the first {len(shown)} of {len(every)} steps; --csv has all of them", style="dim")
    if isinstance(total, int) and len(every) < total:
        out.print(
            f"{len(every)} of {total} steps; the others are not stored: capture=full or run_data=on keeps them all",
            style="dim",
        )
    could = alternative_table(stored, tokenizer, _MOST_STEPS)
    if could is not None:
        out.print("\nThe likeliest tokens of each step: what it could have said.", style="dim")
        out.print(could)


def _show_layers(stored: StoredRun, columns: "Mapping[str, NDArray[Any]] | None", signals: Sequence[str]) -> None:
    """Print a run's heat maps, or the values per layer of its span where it has no run data."""
    from ..presentation.heat_map import heat_maps, layer_table  # NumPy

    out = console()
    if columns is not None:
        out.print(heat_maps(columns, out.width, signals))
        return
    if signals:
        raise UserError(
            f"--signal {signals[0]}: this run has no run data to draw it from; --layers alone shows its span."
        )
    table = layer_table(stored.attributes)
    if table is None:
        if stored.dropped.attributes:
            out.print(f"What was measured inside of this run is {UNKNOWN}.")
        else:
            out.print("Nothing inside of this run was measured; `corevital show` says why.")
        return
    out.print(table)
    out.print("No run data, so no steps: they come with capture=full or run_data=on and a log exporter.", style="dim")


def _telling(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """Return the steps that a reader looks for first: the ends, the extremes and those with a new warning."""
    chosen = {0, len(events) - 1}
    for each in step_fields(full=False):
        if each.step is None or each.step.telling != "max":
            continue
        values = [event.attributes.get(each.step_name, -1.0) for event in events]
        chosen.add(values.index(max(values)))
    before: Any = None
    for index, event in enumerate(events):
        warnings = event.attributes.get(semconv.STEP_WARNINGS)
        if warnings and warnings != before:
            chosen.add(index)
        before = warnings
    return [events[index] for index in sorted(chosen)]


def _steps(steps: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    names = {title: name for title, name in _STEP_COLUMNS.items() if any(name in step for step in steps)}
    for title in names:
        table.add_column(title, justify="left" if title == "warnings" else "right")
    for step in steps:
        table.add_row(*(_cell(step.get(name)) for name in names.values()))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return one_line(", ".join(str(item) for item in value), _MOST_CELL)
    return f"{value:.3f}" if isinstance(value, float) else one_line(str(value), _MOST_CELL)
