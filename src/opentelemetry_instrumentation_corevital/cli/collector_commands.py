"""`corevital collector`: an OpenTelemetry Collector's configuration, ready to start."""

import shlex
from pathlib import Path
from typing import Annotated, Final

import typer

from .._internal.user_error import UserError
from .help import Command, CommandGroup
from .printing import echo
from .shipped_files import BASE, AlreadyThereError, write_shipped

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them; made where it is not there.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files of these names; what else is there stays.")]

_SHOWN: Final = 3
_NEXT: Final = f"""\
Next:

  cd {{folder}}
  corevital collect                                # a store: extra [collect]
  otelcol-contrib --config {BASE}   # at the same time

Your programs send to it with:

  opentelemetry-instrument --traces_exporter otlp --metrics_exporter otlp \\
    --logs_exporter otlp python serve.py

The head of {BASE} has the commands for Langfuse, Jaeger,
Phoenix, Prometheus, ClickHouse and any OTLP backend."""

collector = typer.Typer(cls=CommandGroup, help="Configure an OpenTelemetry Collector.", no_args_is_help=True)


@collector.callback()
def _group() -> None:
    """Configure an OpenTelemetry Collector."""


@collector.command("init", cls=Command)
def init(folder: Folder, force: Force = False) -> None:
    """Write the Collector's configuration, its overlays, the alert rules and the dashboard into a folder.

    All of it, or nothing. Files that are there already are written over with --force only.

    Example: corevital collector init monitoring
    """
    try:
        names = write_shipped(folder, force=force)
    except AlreadyThereError as error:
        more = len(error.names) - _SHOWN
        listed = ", ".join(error.names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        raise UserError(
            f"{folder} already has {listed}; nothing was written. Choose another folder, or write over it with --force."
        ) from None
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}; nothing new was left there.") from None
    echo(f"Wrote {len(names)} files into {folder}.")
    echo(_NEXT.format(folder=shlex.quote(str(folder))))
