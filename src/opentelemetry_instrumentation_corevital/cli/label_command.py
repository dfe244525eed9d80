"""`corevital label`: what a person says of a run."""

from typing import Annotated

import typer

from .._internal.user_error import UserError
from ..store import open_store
from ..store.labels import OUTCOMES
from .options import Database, RunId, database
from .printing import echo


def label(
    run_id: RunId,
    outcome: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(OUTCOMES)}, or a word of your own.", autocompletion=lambda: list(OUTCOMES), metavar="WORD"
        ),
    ] = None,
    note: Annotated[str | None, typer.Option(help="Free text beside it.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    db: Database = None,
) -> None:
    """Say whether a run went well: filters find it by that, and retention keeps it.

    Example: corevital label last --outcome incorrect --note "names the wrong year"
    """
    if (outcome is None) is not remove:
        raise UserError("Give the outcome with --outcome, or take it away with --remove.")
    if remove and note is not None:
        raise UserError("--note goes with --outcome.")
    with open_store(database(db)) as store:
        summary = store.run(run_id).summary
        store.set_label(summary, outcome, note)
    said = "has no label any more" if outcome is None else f"is {outcome}"
    echo(f"run {summary.trace_id}:{summary.sequence_index} {said}")
