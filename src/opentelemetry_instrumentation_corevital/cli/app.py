"""The commands of `corevital`, and what becomes of their errors."""

import os
import sys
import traceback

import click
import typer
from rich.console import Console

from ..config import SettingsError
from ..store import StoreError
from ..version import __version__
from .errors import UserError
from .read import runs, show
from .run import run

app = typer.Typer(
    name="corevital",
    help="Watch the inside of a language model's run and judge it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(runs)
app.command()(show)


@app.callback(invoke_without_command=True)
def corevital(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Watch the inside of a language model's run and judge it."""
    if version:
        typer.echo(f"corevital {__version__}")
        raise typer.Exit


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="corevital", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 1
    except (UserError, SettingsError, StoreError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]Error:[/] {_escaped(error)}")
        return 1
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, e.g. head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        print("corevital: internal error, please report it with the lines above", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


def _escaped(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))
