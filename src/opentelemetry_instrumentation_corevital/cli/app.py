"""The commands of `corevital`, and what becomes of their errors."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer
from rich.markup import escape

from .. import store
from .._internal.user_error import UserError
from ..baselines.profile import ProfileError
from ..config import SettingsError
from ..doctor.redaction import RedactingFormatter
from ..store import StoreError
from ..version import __version__
from .baseline_commands import baseline
from .calibrate_command import calibrate
from .collect_command import collect
from .collector_commands import collector
from .compare_command import compare
from .cost_command import cost
from .dashboard_command import dashboard
from .db_commands import db
from .doctor_command import doctor
from .evaluate_command import evaluate_runs
from .help import Command, CommandGroup
from .label_command import label
from .legacy_commands import todays_name
from .printing import echo, error_console
from .push_command import push
from .read_commands import runs, show
from .run_command import run
from .similar_command import similar
from .standard_streams import guarded
from .transfer_commands import export, import_, migrate
from .watch_command import watch

USAGE_ERROR: Final = 2  # what typer exits with; here 2 means an internal error

app = typer.Typer(
    name="corevital",
    cls=CommandGroup,
    help="Watch the inside of a language model's run and judge it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": todays_name,
    },
)
app.command(cls=Command)(run)
app.command(cls=Command)(runs)
app.command(cls=Command)(show)
app.command(cls=Command)(similar)
app.command(cls=Command)(watch)
app.command(cls=Command)(compare)
app.command(cls=Command)(calibrate)
app.command("evaluate", cls=Command)(evaluate_runs)
app.command(cls=Command)(cost)
app.command(cls=Command)(label)
app.command(cls=Command)(export)
app.command("import", cls=Command)(import_)
app.command(cls=Command)(push)
app.command(cls=Command)(migrate)
app.command(cls=Command)(doctor)
app.command(cls=Command)(collect)
app.command(cls=Command)(dashboard)
app.add_typer(baseline, name="baseline")
app.add_typer(collector, name="collector")
app.add_typer(db, name="db")


@app.callback(invoke_without_command=True)
def corevital(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Watch the inside of a language model's run and judge it."""
    if version:
        echo(f"corevital {__version__}")
        raise typer.Exit


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit code; `sys.stdout` and `sys.stderr` may be anything."""
    with guarded() as out:
        code = _quietly(arguments)
        out.flush()
        if out.failed is not None and not out.reader_is_gone:
            echo(f"Error: standard output: cannot be written ({out.failed.strerror}).", err=True)
            code = code or 1
    return code


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8 come as lone surrogates
        return False
    return True


def _quietly(arguments: list[str]) -> int:
    store_log = logging.getLogger(store.__name__)
    level = store_log.level
    store_log.setLevel(logging.CRITICAL)  # a command tells the store's error itself, as one sentence
    with _redacted_warnings():
        try:
            return _run(arguments)
        finally:
            store_log.setLevel(level)


@contextmanager
def _redacted_warnings() -> Iterator[None]:
    """Print warnings of libraries, which go to standard error where nobody handles them, without secrets."""
    handler = logging.lastResort
    before = None if handler is None else handler.formatter
    if handler is not None:
        handler.setFormatter(RedactingFormatter())
    try:
        yield
    finally:
        if handler is not None:
            handler.setFormatter(before)


def _told(error: Exception) -> str:
    command = getattr(error, "command", "")
    return f"{error} {command[:1].upper()}{command[1:]}" if command else str(error)


def _run(arguments: list[str]) -> int:
    try:
        app(arguments, prog_name="corevital")
    except SystemExit as end:
        return 1 if end.code == USAGE_ERROR else int(end.code or 0)
    except (UserError, SettingsError, ProfileError, StoreError) as error:
        console = error_console(soft_wrap=True)
        console.print(f"[bold red]Error:[/] {escape(_told(error))}")
        return 1
    except Exception as error:
        odd = next((number for number, each in enumerate(arguments, 1) if not _is_text(each)), None)
        if isinstance(error, UnicodeEncodeError) and odd is not None:
            echo(f"Error: argument {odd} is not UTF-8; nothing that is stored has such a name.", err=True)
            return 1
        echo(traceback.format_exc().rstrip(), err=True)
        echo("corevital: internal error, please report it with the lines above", err=True)
        return 2
    return 0
