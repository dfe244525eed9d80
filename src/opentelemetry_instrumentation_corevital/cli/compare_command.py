"""`corevital compare`: models over the same prompts, or two runs side by side."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from .._internal.printable import printable
from .._internal.user_error import UserError
from ..config import load_settings
from ..loading.model_names import stored_name
from ..store import RunFilter, RunSource, RunSummary, open_store
from ..store.comparison import ModelFigures, differences, figures, in_common, prompt_of
from ..store.database import check_place
from .comparison_tables import as_json_value, csv_rows, print_comparison
from .options import (
    AsCsv,
    AsJson,
    Database,
    Flag,
    Label,
    PromptHash,
    RiskAbove,
    Since,
    checked_seed,
    complete_ids,
    complete_models,
    database,
    database_file,
    filters,
    read_from,
)
from .output import one_format, print_json, write_csv
from .printing import error_console, named_damage, tell_damage
from .side_by_side import side_by_side

_NEW_TOKENS: Final = 128
Groups = dict[str, list[RunSummary]]


def compare(
    run_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN", help="Two runs, as `show` takes them, side by side.", autocompletion=complete_ids
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model to compare; again for each. The others are compared with the first.",
            autocompletion=complete_models,
        ),
    ] = None,
    models: Annotated[str | None, typer.Option(metavar="A,B,...", help="The same, in one.")] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt", "-p", help="Run this prompt with every one of --models first; may be given more than once."
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help=f"With --prompt; default: {_NEW_TOKENS}."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="With --prompt: sample, at this temperature; default: greedy.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --prompt: seed of torch's generators.", callback=checked_seed)
    ] = None,
    device: Annotated[str | None, typer.Option(help="With --prompt, as `run` takes it.")] = None,
    db: Database = None,
    since: Since = None,
    risk_above: RiskAbove = None,
    flag: Flag = None,
    prompt_hash: PromptHash = None,
    label: Label = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The newest so many runs of each model; default: all.")
    ] = None,
    shared: Annotated[bool, typer.Option("--shared", help="Only prompts that every model has run.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Compare models over the same prompts: risk, flags, entropy, tokens, and how they differ, with 95 % intervals.

    Prompts are matched by their hash; each counts once, however often it was run.
    With --prompt the models answer first, and only these runs are compared.

    Example: corevital compare --models org/model,org/other --since 7d
    """
    one_format(as_json=as_json, as_csv=as_csv)
    named = _names(model, models)
    given = {
        "--since": since,
        "--risk-above": risk_above,
        "--flag": flag,
        "--prompt-hash": prompt_hash,
        "--label": label,
        "--limit": limit,
    }
    filtering = [name for name, value in given.items() if value is not None]
    generating: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "seed": seed,
        "device": device,
    }
    how = {name: value for name, value in generating.items() if value is not None}
    if how and not prompt:
        raise UserError(f"--{next(iter(how)).replace('_', '-')} goes with --prompt; stored runs are as they are.")
    if run_ids and (prompt or named or filtering or shared):
        raise UserError("Name two runs, or say which models to compare, not both.")
    if prompt and not named:
        raise UserError("--prompt needs --models A,B,...: the models that answer it.")
    if prompt and filtering:
        raise UserError(f"--prompt compares the runs that it makes, so {filtering[0]} does not go with it.")
    if run_ids:
        side_by_side(run_ids, database(db), as_json=as_json, as_csv=as_csv, source=read_from(db))
        return
    notes: list[str] = []
    if prompt:
        quiet = as_json or as_csv or not sys.stderr.isatty()
        groups = _run_them(named, prompt, db, error_console(quiet=quiet), **how)
    else:
        wanted = filters(since=since, risk_above=risk_above, flag=flag, prompt_hash=prompt_hash, label=label)
        with open_store(database(db)) as store:
            groups, notes = _stored(store, named, wanted, limit)
    if shared:
        groups = _only_shared(groups)
    reference = next(iter(groups))
    found = [figures(name, runs) for name, runs in groups.items()]
    different = [
        each
        for name, runs in groups.items()
        if name != reference
        for each in differences(name, runs, reference, groups[reference])
    ]
    notes += _notes(groups, found)
    tell_damage(named_damage(run for runs in groups.values() for run in runs))
    if as_json:
        print_json(as_json_value(found, different, reference, notes))
    elif as_csv:
        write_csv(*csv_rows(found, different))
    else:
        source = Text(printable(f"stored in {_place(db)}"), "dim") if prompt else read_from(db)
        print_comparison(found, different, notes, source)


def _names(model: Sequence[str] | None, models: str | None) -> list[str]:
    listed = [] if models is None else [name.strip() for name in models.split(",")]
    if models is not None and not all(listed):
        raise UserError(f"--models {models}: give names with commas between them, such as org/small,org/large.")
    return list(dict.fromkeys([*listed, *(model or ())]))


# --- which runs --------------------------------------------------------------------------------------------------


def _stored(store: RunSource, named: Sequence[str], wanted: RunFilter, limit: int | None) -> tuple[Groups, list[str]]:
    """Return the runs of each model, that of the reference first, and what there is to say of them."""
    counts = store.models(wanted)
    nameless = counts.pop(None, 0)
    there = [name for name in counts if name is not None]
    if not there and not named:
        raise UserError("No run matches.")
    named = list(dict.fromkeys(stored_name(name, counts) for name in named))
    for name in named:
        if name not in counts:
            others = f"; there are runs of {', '.join(there)}" if there else ""
            raise UserError(f"{name}: no run of this model matches{others}.")
    groups: Groups = dict(store.compared(named or there, wanted, limit=limit))
    left_out = f"{nameless} runs whose model is unknown are left out." if nameless and not named else None
    return groups, [] if left_out is None else [left_out]


def _place(db: str | None) -> str:
    """Return where runs that are made here go."""
    from .sinks import DEFAULT_DATABASE

    return database_file(db) if db is not None else load_settings().sqlite_path or DEFAULT_DATABASE


def _run_them(
    models: Sequence[str],
    prompts: Sequence[str],
    db: str | None,
    status: Console,
    *,
    max_new_tokens: int = _NEW_TOKENS,
    temperature: float | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> Groups:
    """Let every model answer every prompt, as `corevital run` does; return the stored runs by the names given."""
    from ..loading.models import load_model
    from .generation import generate, generation_options
    from .own_telemetry import CommandTelemetry
    from .run_command import spans_of_runs, trace_ids

    if not all(text.strip() for text in prompts):
        raise UserError("The prompt is empty.")
    settings = load_settings()
    path = _place(db)
    check_place(path)
    generation = generation_options(temperature=temperature, max_new_tokens=max_new_tokens)
    options = {} if "capture" in settings.model_fields_set else {"capture": "full"}
    made: dict[str, list[str]] = {}
    for name in models:
        with status.status(f"Loading {name} ..."):
            loaded = load_model(name, device=device)
        telemetry = CommandTelemetry(path, content_to_otlp=settings.content_on_span)
        for text in prompts:
            generate(loaded, text, telemetry, status, chat=None, seed=seed, generation=generation, options=options)
        telemetry.close()
        if problem := telemetry.storing_failed():
            raise problem
        made[name] = trace_ids(spans_of_runs(telemetry))
        del loaded  # before the next one: both may not fit
    with open_store(path) as store:
        # Two folders of one name are one model to telemetry, so that the name that was given tells them apart.
        return {
            name: [replace(run, model=name) for trace_id in ids for run in store.call(trace_id)]
            for name, ids in made.items()
        }


def _only_shared(groups: Groups) -> Groups:
    common = in_common(groups)
    if not common:
        raise UserError("--shared: the models have no prompt in common.")
    return {name: [run for run in runs if prompt_of(run) in common] for name, runs in groups.items()}


# --- what to beware of -------------------------------------------------------------------------------------------


def _notes(groups: Groups, found: Sequence[ModelFigures]) -> list[str]:
    """Return what makes the comparison less than it looks."""
    if len(groups) == 1:
        return ["There is one model only, and nothing to compare it with."]
    notes = []
    if not in_common(groups):
        sources = {source for runs in groups.values() for run in runs if (source := run.prompt_hash_source)}
        why = " (some are hashed from their text, some from decoded tokens)" if len(sources) > 1 else ""
        pairs = " in common to all" if len(groups) > 2 else " in common"
        notes.append(f"The models have no prompt{pairs}{why}: what was asked may explain differences.")
    for what, of in (("decoding", "strategy"), ("the way of judging risk", "risk_method")):
        used = {name: sorted({str(v) for run in runs if (v := getattr(run, of))}) for name, runs in groups.items()}
        if len({tuple(values) for values in used.values() if values}) > 1:
            told = "; ".join(f"{name}: {', '.join(values) or 'unknown'}" for name, values in used.items())
            notes.append(f"Models differ in {what}: {told}.")
    notes += [f"{each.failed} of the {each.runs} runs of {each.model} failed." for each in found if each.failed]
    return notes
