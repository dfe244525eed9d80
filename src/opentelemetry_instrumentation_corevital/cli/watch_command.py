"""`corevital watch`: runs that go on, by the steps that their store gets meanwhile."""

import os
import time
from contextlib import suppress
from typing import Annotated, Final

import typer

from ..store import StoreError, open_store
from ..store.opening import local_file
from .options import Database, complete_ids, database
from .printing import echo

Watched = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="The beginning of a run's id, ID:SEQUENCE, or last; default: whatever goes on, one after the other.",
        autocompletion=complete_ids,
    ),
]
Once = Annotated[bool, typer.Option("--once", help="Print what there is now, and end.")]
AskEvery = Annotated[float, typer.Option(min=0.05, max=3600.0, metavar="SECONDS", help="How often the store is asked.")]

_SECONDS_TO_MAKE: Final = 5.0


def watch(run: Watched = None, db: Database = None, once: Once = False, interval: AskEvery = 0.5) -> None:
    """Show runs while they go on: text where it is stored, risk so far, entropy, and what warns.

    Needs steps that are stored as they come: OTEL_COREVITAL_STEP_EVENTS=logs. Without RUN it goes on until Ctrl-C.

    Example: corevital watch --db fleet.db
    """
    from .watching import Watching  # NumPy

    path = database(db)
    with suppress(KeyboardInterrupt):
        if run is None and not once:
            _wait_for(path, interval)
        with open_store(path) as store:
            watching = Watching(store, interval)
            if run is None:
                watching.list_once() if once else watching.everything()
            else:
                watching.one(run, once=once)


def _wait_for(path: str, interval: float) -> None:
    """Wait until there is a store: people begin to watch before the first run."""
    file = local_file(path)
    if file is None or os.path.exists(file):
        return
    echo(f"{file}: is not there yet; the first run that is stored there makes it. Waiting (Ctrl-C ends).", err=True)
    while not os.path.exists(file):
        time.sleep(interval)
    end = time.monotonic() + _SECONDS_TO_MAKE
    while time.monotonic() < end:  # its tables come a moment after the file
        with suppress(StoreError), open_store(file):
            return
        time.sleep(min(interval, 0.1))
