"""`corevital compare`: models over the same prompts, or two runs side by side."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from .._internal.printable import printable
from .._internal.user_error import UserError
from ..config import load_settings
from ..loading.model_names import stored_name
from ..store import RunFilter, RunSource, open_store
from ..store.comparison import Groups, compare_groups, in_common, only_shared
from ..store.comparison_notes import different_baselines, what_to_beware_of
from ..store.database import check_place
from .compare_prompts import compare_prompts
from .comparison_tables import as_json_value, csv_rows, print_comparison
from .options import (
    AsCsv,
    AsJson,
    Database,
    Flag,
    Label,
    OfExperiment,
    PromptHash,
    RiskAbove,
    Since,
    checked_seed,
    complete_ids,
    complete_models,
    database,
    database_file,
    read_from,
    since_ns,
    with_stored_model,
)
from .output import one_format, print_json, write_csv
from .printing import error_console, named_damage, tell_damage
from .side_by_side import side_by_side

_NEW_TOKENS: Final = 128

TwoRuns = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN", help="Two runs, as `show` takes them, side by side.", autocompletion=complete_ids),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        help="A model to compare; again for each. The others are compared with the first.",
        autocompletion=complete_models,
    ),
]
ModelList = Annotated[str | None, typer.Option(metavar="A,B,...", help="The same, in one.")]
PromptsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", "-p", help="Run this prompt with every one of --models first; may be given more than once."
    ),
]
AnswerTokens = Annotated[int | None, typer.Option(min=1, help=f"With --prompt; default: {_NEW_TOKENS}.")]
AnswerTemperature = Annotated[
    float | None, typer.Option(help="With --prompt: sample, at this temperature; default: greedy.")
]
AnswerSeed = Annotated[
    int | None, typer.Option(help="With --prompt: seed of torch's generators.", callback=checked_seed)
]
AnswerDevice = Annotated[str | None, typer.Option(help="With --prompt, as `run` takes it.")]
NewestRuns = Annotated[int | None, typer.Option(min=1, help="The newest so many runs of each model; default: all.")]
ExperimentList = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="Experiments to compare in place of models, each with the first."),
]
ByPrompt = Annotated[
    bool, typer.Option("--prompts", help="Two models or experiments prompt by prompt, the worst difference first.")
]
Wide = Annotated[bool, typer.Option("--wide", help="With --csv: every column.")]
OnlyShared = Annotated[bool, typer.Option("--shared", help="Only prompts that every model has run.")]


def compare(
    run_ids: TwoRuns = None,
    model: Models = None,
    models: ModelList = None,
    experiments: ExperimentList = None,
    prompts: ByPrompt = False,
    prompt: PromptsOption = None,
    max_new_tokens: AnswerTokens = None,
    temperature: AnswerTemperature = None,
    seed: AnswerSeed = None,
    device: AnswerDevice = None,
    db: Database = None,
    since: Since = None,
    risk_above: RiskAbove = None,
    flag: Flag = None,
    prompt_hash: PromptHash = None,
    label: Label = None,
    experiment: OfExperiment = None,
    limit: NewestRuns = None,
    shared: OnlyShared = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    wide: Wide = False,
) -> None:
    """Compare models over the same prompts: risk, flags, entropy, tokens, and how they differ, with 95 % intervals.

    Prompts are matched by their hash; each counts once, however often it was run.
    With --prompt the models answer first, and only these runs are compared.

    Example: corevital compare --models org/model,org/other --since 7d
    """
    shown = _Shown(as_json=as_json, as_csv=as_csv, wide=wide, prompts=prompts)
    named = _Named(_names(model, models), _names((), experiments, "--experiments"))
    selection = _Selection(since, risk_above, flag, prompt_hash, label, experiment, limit)
    answering = _Answering(prompt or [], max_new_tokens, temperature, seed, device)
    _check_combination(run_ids, named, selection, answering, only_groups=shared or prompts)
    if run_ids:
        side_by_side(run_ids, database(db), as_json=as_json, as_csv=as_csv, source=read_from(db))
        return
    notes: list[str] = []
    if answering.prompts:
        status = error_console(quiet=as_json or as_csv or not sys.stderr.isatty())
        groups = _answered(named.models, answering, db, status)
        source = Text(printable(f"stored in {_place(db)}"), "dim")
    else:
        wanted = selection.conditions()
        with open_store(database(db)) as store:
            groups, notes = _stored(store, named, wanted, limit)
        source = read_from(db)
    shown.show(_only_shared(groups) if shared else groups, notes, source)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """How a comparison is shown.

    Raises:
        UserError: for formats that do not go together.
    """

    as_json: bool
    as_csv: bool
    wide: bool
    prompts: bool
    """Whether prompt by prompt."""

    def __post_init__(self) -> None:
        one_format(as_json=self.as_json, as_csv=self.as_csv)
        if self.wide and (not self.as_csv or self.prompts):
            raise UserError("--wide goes with the --csv of models, which has a few of its columns without it.")

    def show(self, groups: Groups, notes: list[str], source: Text) -> None:
        """Print it.

        Args:
            groups: the runs of each model, those of the reference first.
            notes: what to beware of.
            source: says where the runs are stored.
        """
        tell_damage(named_damage(run for runs in groups.values() for run in runs))
        if self.prompts:
            notes = [*notes, *different_baselines(groups)]
            compare_prompts(groups, source, as_json=self.as_json, as_csv=self.as_csv, notes=notes)
            return
        found, different = compare_groups(groups)
        notes = [*notes, *what_to_beware_of(groups, found)]
        if self.as_json:
            print_json(as_json_value(found, different, next(iter(groups)), notes))
        elif self.as_csv:
            write_csv(*csv_rows(found, different, wide=self.wide))
        else:
            print_comparison(found, different, notes, source)


# --- what was asked for ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Named:
    """What is compared: models, or experiments in their place."""

    models: Sequence[str]
    experiments: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which of the stored runs are compared; None: any."""

    since: str | None
    risk_above: float | None
    flag: str | None
    prompt_hash: str | None
    label: str | None
    experiment: str | None
    limit: int | None

    def conditions(self) -> RunFilter:
        """Return them as the store takes them, but for the limit.

        Raises:
            UserError: for a time that is none.
            StoreError: for a flag that there is not.
        """
        return RunFilter(
            since_ns=since_ns(self.since),
            risk_above=self.risk_above,
            flag=self.flag,
            prompt_hash=self.prompt_hash,
            label=self.label,
            experiment=self.experiment,
        )


@dataclass(frozen=True, slots=True)
class _Answering:
    """The prompts that the models answer first, if any, and how."""

    prompts: Sequence[str]
    max_new_tokens: int | None
    temperature: float | None
    seed: int | None
    device: str | None


def _given(options: "_Selection | _Answering") -> list[str]:
    """Return the names of the options that have a value."""
    values = asdict(options)
    return [f"--{name.replace('_', '-')}" for name, value in values.items() if name != "prompts" and value is not None]


def _check_combination(
    run_ids: Sequence[str] | None,
    named: _Named,
    selection: _Selection,
    answering: _Answering,
    *,
    only_groups: bool,
) -> None:
    """Refuse options of which one would be without effect.

    Raises:
        UserError: naming what does not go together.
    """
    filtering, how = _given(selection), _given(answering)
    if how and not answering.prompts:
        raise UserError(f"{how[0]} goes with --prompt; stored runs are as they are.")
    if run_ids and (answering.prompts or named.models or named.experiments or filtering or only_groups):
        raise UserError("Name two runs, or say which models to compare, not both.")
    if answering.prompts and not named.models:
        raise UserError("--prompt needs --models A,B,...: the models that answer it.")
    if named.experiments and (len(named.models) > 1 or selection.experiment is not None):
        raise UserError("--experiments compares experiments, of one model at most: leave out the other names.")
    if answering.prompts and named.experiments:
        raise UserError("--prompt compares the runs that it makes, so --experiments does not go with it.")
    if answering.prompts and filtering:
        raise UserError(f"--prompt compares the runs that it makes, so {filtering[0]} does not go with it.")


def _names(model: Sequence[str] | None, models: str | None, option: str = "--models") -> list[str]:
    listed = [] if models is None else [name.strip() for name in models.split(",")]
    if models is not None and not all(listed):
        raise UserError(f"{option} {models}: give names with commas between them, such as org/small,org/large.")
    return list(dict.fromkeys([*listed, *(model or ())]))


# --- which runs --------------------------------------------------------------------------------------------------


def _stored(store: RunSource, asked: _Named, wanted: RunFilter, limit: int | None) -> tuple[Groups, list[str]]:
    """Return the runs of each model, that of the reference first, and what there is to say of them."""
    if asked.experiments:
        return _of_experiments(store, asked, wanted, limit), []
    named = list(asked.models)
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


def _of_experiments(store: RunSource, asked: _Named, wanted: RunFilter, limit: int | None) -> Groups:
    """Return the runs of each experiment; of one model if it is named."""
    if asked.models:
        wanted = with_stored_model(store, replace(wanted, model=asked.models[0]))
    groups: Groups = {name: store.runs(wanted, limit=limit, experiment=name) for name in asked.experiments}
    for name, runs in groups.items():
        if not runs:
            raise UserError(
                f"{name}: no run of this experiment matches; `corevital runs --experiment` lists those of one."
            )
    return groups


def _place(db: str | None) -> str:
    """Return where runs that are made here go."""
    from .sinks import DEFAULT_DATABASE

    return database_file(db) if db is not None else load_settings().sqlite_path or DEFAULT_DATABASE


def _answered(models: Sequence[str], answering: _Answering, db: str | None, status: Console) -> Groups:
    """Let every model answer every prompt, as `corevital run` does; return the stored runs by the names given."""
    from ..loading.models import load_model
    from .generation import DecodingOptions, GenerationRequest, generate, generation_options
    from .own_telemetry import CommandTelemetry
    from .run_results import spans_of_runs, trace_ids

    if not all(text.strip() for text in answering.prompts):
        raise UserError("The prompt is empty.")
    settings = load_settings()
    path = _place(db)
    check_place(path)
    new_tokens = _NEW_TOKENS if answering.max_new_tokens is None else answering.max_new_tokens
    generation = generation_options(DecodingOptions(max_new_tokens=new_tokens, temperature=answering.temperature))
    options = {} if "capture" in settings.model_fields_set else {"capture": "full"}
    made: dict[str, list[str]] = {}
    for name in models:
        with status.status(f"Loading {name} ..."):
            loaded = load_model(name, device=answering.device)
        telemetry = CommandTelemetry(path, content_to_otlp=settings.content_on_span)
        for text in answering.prompts:
            generate(loaded, GenerationRequest(text, generation, options, seed=answering.seed), telemetry, status)
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
    if not in_common(groups):
        raise UserError("--shared: the models have no prompt in common.")
    return only_shared(groups)
