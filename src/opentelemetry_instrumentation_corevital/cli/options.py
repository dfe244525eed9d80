"""Options that several commands share, and how they are read."""

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final

import typer
from rich.text import Text

from .._internal.printable import one_line, printable
from .._internal.user_error import UserError
from ..config import data_folder, environment_variable, load_settings
from ..loading.model_names import stored_name
from ..store import RunFilter, RunOrder, RunSource, RunSummary, StoreError, open_store
from ..store.database import store_path
from ..store.filters import BASELINE_SOURCES, FLAGS, LEVELS, STOP_REASONS
from ..store.opening import local_file
from ..store.time_text import time_ns_of

_ID_LENGTH: Final = 12
_MOST_COMPLETIONS: Final = 30
_MOST_COMPLETED: Final = 200
"""Characters of what is completed: no shell gets what cannot be shown, or what nobody types."""


def database(path: str | None, option: str = "--db") -> str:
    """Return the store to read: the one named, else the one of the setting, of `corevital run` here, of zero code.

    Returns:
        a file's path, or the URL of a source that is no file here.

    Raises:
        UserError: if what was named is neither; it names the option or the variable.
    """
    if path is None:
        return _setting_or_default()
    try:
        file = local_file(path)
        return path if file is None else str(store_path(file))
    except StoreError as error:
        raise UserError(f"{option} {error}") from None


def database_file(path: str | None, option: str = "--db") -> str:
    """Return the store's file, as `database` does, for what is done to a file.

    Raises:
        UserError: for a source that is no file here, too.
    """
    chosen = database(path, option)
    if local_file(chosen) is None:
        raise UserError(
            f"{option} {chosen}: is no file, and this is done to one; name a file, such as runs/corevital.db."
        )
    return chosen


def _setting_or_default() -> str:
    setting = load_settings().sqlite_path
    if setting is not None:
        try:
            return str(store_path(setting))
        except StoreError as error:
            raise UserError(f"{environment_variable('sqlite_path')} {error}") from None
    here, everywhere = _default_stores()
    return here if os.path.exists(here) or not os.path.exists(everywhere) else everywhere


def _default_stores() -> tuple[str, str]:
    """Return the store of `corevital run` in this folder, and that of zero-code use."""
    return os.path.join("runs", "corevital.db"), os.path.join(data_folder(), "corevital.db")


def read_from(db: str | None) -> Text:
    """Return which store was read without or with `--db`, and which other one might have been meant."""
    text = Text(printable(f"read from {database(db)}"), "dim")
    if (other := other_store(db)) is not None:
        text.append(printable(f"; there is another store: --db {shlex.quote(other)}"), "yellow")
    return text


def other_store(db: str | None) -> str | None:
    """Return the data folder's store, if it has a run, where that of this folder was read for want of a name."""
    here, everywhere = _default_stores()
    unnamed = db is None and load_settings().sqlite_path is None
    there = unnamed and os.path.exists(here) and os.path.exists(everywhere)
    return everywhere if there and _may_have_runs(everywhere) else None


def _may_have_runs(file: str) -> bool:
    """Return whether a store has a run: what only `corevital doctor` wrote to has none. True where it is unreadable."""
    try:
        with open_store(file) as source:
            return bool(source.runs(limit=1))
    except StoreError:
        return True


# --- shell completion: what is in the store; silence where it cannot be read --------------------------------------


def _complete(values: Callable[[list[RunSummary]], list[str]]) -> Callable[[typer.Context, str], list[str]]:
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        try:
            with open_store(database(context.params.get("db") or context.params.get("path"))) as store:
                found = values(store.runs(limit=_MOST_COMPLETIONS * 10))
        except (StoreError, UserError, ValueError, OSError):
            return []
        shown = (value for value in dict.fromkeys(found) if one_line(value, _MOST_COMPLETED) == value)
        return [value for value in shown if value.startswith(incomplete)][:_MOST_COMPLETIONS]

    return complete


def _ids(runs: list[RunSummary]) -> list[str]:
    return ["last", *(run.trace_id[:_ID_LENGTH] for run in runs)]


complete_ids = _complete(_ids)
complete_models = _complete(lambda runs: [run.model for run in runs if run.model])
complete_hashes = _complete(lambda runs: [run.prompt_hash[:_ID_LENGTH] for run in runs if run.prompt_hash])
complete_services = _complete(lambda runs: [run.service_name for run in runs if run.service_name])
complete_experiments = _complete(lambda runs: [run.experiment for run in runs if run.experiment])
complete_warnings = _complete(lambda runs: [name for run in runs for name in run.warnings or ()])
complete_labels = _complete(lambda runs: ["any", "none", *(run.label for run in runs if run.label)])


# --- options -----------------------------------------------------------------------------------------------------

Database = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="FILE",
        help="The store's file, or its URL, sqlite:///FILE; default: OTEL_COREVITAL_SQLITE_PATH, else "
        "runs/corevital.db, else the exporter's file.",
    ),
]
RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The beginning of a run's id, ID:SEQUENCE, or last.",
        autocompletion=complete_ids,
    ),
]
RunIdUnlessFile = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="The beginning of a run's id, ID:SEQUENCE, or last; not with --from.",
        autocompletion=complete_ids,
    ),
]
RunIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN", help="The runs, as `show` takes them.", autocompletion=complete_ids),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

MOST_INPUT_BYTES: Final = 64 << 20
"""A larger file of prompts or documents is none."""


def checked_seed(value: int | None) -> int | None:
    """Return what torch takes for a seed.

    Raises:
        typer.BadParameter: for another number.
    """
    if value is not None and not -(2**63) <= value < 2**64:
        raise typer.BadParameter("torch takes seeds from -2^63 to 2^64 - 1.")
    return value


Limit = Annotated[int, typer.Option(min=1, help="How many runs at most.")]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Only runs of this model; the last part of its name will do.",
        autocompletion=complete_models,
    ),
]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Only runs since then: 2h, 7d, 2026-03-01, ISO 8601.")]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only runs that started before then; as --since takes it.")
]
OfService = Annotated[
    str | None,
    typer.Option("--service", metavar="NAME", help="Only runs of this service.", autocompletion=complete_services),
]
OfExperiment = Annotated[
    str | None,
    typer.Option(
        "--experiment", metavar="NAME", help="Only runs of this experiment.", autocompletion=complete_experiments
    ),
]


SortBy = Annotated[
    RunOrder, typer.Option("--sort", metavar="ORDER", help=f"What comes first: {', '.join(RunOrder)}; unknown last.")
]
RiskAbove = Annotated[float | None, typer.Option(help="Only runs whose risk is above this.")]
RiskBelow = Annotated[float | None, typer.Option(help="Only runs whose risk is below this.")]
AnswerAbove = Annotated[float | None, typer.Option(help="Only runs whose answer is wrong more probably than this.")]
AnswerBelow = Annotated[float | None, typer.Option(help="Only runs whose answer is wrong less probably than this.")]
HasWarning = Annotated[
    str | None,
    typer.Option(
        "--warning",
        metavar="WARNING",
        help="Only runs with this warning, e.g. repetition_risk.",
        autocompletion=complete_warnings,
    ),
]
WithText = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="TEXT",
        help="Only runs with this in model, service, experiment or the label's note, or at the beginning of an id.",
    ),
]
Level = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL",
        help=f"Only runs of this risk level: {', '.join(LEVELS)}.",
        autocompletion=lambda: list(LEVELS),
    ),
]
Flag = Annotated[
    str | None,
    typer.Option(
        metavar="FLAG",
        help="Only runs with this flag, e.g. repetition_loop_detected.",
        autocompletion=lambda: list(FLAGS),
    ),
]
BaselineFrom = Annotated[
    str | None,
    typer.Option(
        "--baseline-source",
        metavar="SOURCE",
        help=f"Only runs judged with such a baseline of their model: {', '.join(BASELINE_SOURCES)}.",
        autocompletion=lambda: list(BASELINE_SOURCES),
    ),
]
EndedBy = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help=f"Only runs that this ended: {', '.join(STOP_REASONS)}.",
        autocompletion=lambda: list(STOP_REASONS),
    ),
]
Intervened = Annotated[bool, typer.Option("--intervened", help="Only runs to which a policy did something.")]
PromptHash = Annotated[
    str | None,
    typer.Option(metavar="HASH", help="Only runs whose prompt hash begins so.", autocompletion=complete_hashes),
]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="LABEL",
        help="Only runs with this label; any: with one; none: without.",
        autocompletion=complete_labels,
    ),
]
LongerThan = Annotated[float | None, typer.Option(metavar="SECONDS", help="Only runs that took longer.")]
TokensAbove = Annotated[int | None, typer.Option(help="Only runs that generated more tokens.")]


def with_stored_model(store: RunSource, wanted: RunFilter) -> RunFilter:
    """Return conditions with the model by the name that it has in the store."""
    return wanted if wanted.model is None else replace(wanted, model=stored_name(wanted.model, store.models()))


def since_ns(text: str | None, option: str = "--since") -> int | None:
    """Return the Unix time in nanoseconds that an option names: so long ago, or a local date and time; None for None.

    Raises:
        UserError: if it names none.
    """
    if text is None:
        return None
    try:
        return time_ns_of(text)
    except (ValueError, OverflowError, OSError):
        raise UserError(f"{option} {text}: give 90s, 30min, 2h, 7d, 4w, or a date such as 2026-03-01T08:00.") from None


def checked_token(token: str | None, option: str = "--token") -> str | None:
    """Return the token without the space around it.

    Raises:
        UserError: if no header can carry it.
    """
    if token is None:
        return None
    token = token.strip()
    if token == "":
        raise UserError(f"{option}: is empty; leave it out, or give one.")
    if not re.fullmatch("[!-~]+", token):  # what a header can carry, so that every sender sends the same bytes
        raise UserError(f"{option}: may only hold ASCII letters, digits and signs, and no space.")
    return token
