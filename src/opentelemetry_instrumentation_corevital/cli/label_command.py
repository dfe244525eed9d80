"""`corevital label`: what a person says of a run, or of many."""

from typing import Annotated

import typer

from .._internal.user_error import UserError
from ..store import open_store
from ..store.labels import OUTCOMES
from .label_file import read_labels
from .options import Database, RunIdUnlessFile, database
from .printing import echo


def label(
    run_id: RunIdUnlessFile = None,
    outcome: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(OUTCOMES)}, or a word of your own.", autocompletion=lambda: list(OUTCOMES), metavar="WORD"
        ),
    ] = None,
    note: Annotated[str | None, typer.Option(help="Free text beside it.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    from_file: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Label many runs, those of a CSV with the columns id (or trace_id and sequence_index), outcome and, "
            "if there is one, note; - reads standard input.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --from: say what would be labelled, and label nothing.")
    ] = False,
    db: Database = None,
) -> None:
    """Say whether a run went well: filters find it by that, and retention keeps it.

    Example: corevital label last --outcome incorrect --note "names the wrong year"
    """
    if from_file is not None:
        _check_alone({"RUN": run_id, "--outcome": outcome, "--note": note, "--remove": remove})
        _label_many(from_file, db, dry_run=dry_run)
        return
    if dry_run:
        raise UserError("--dry-run goes with --from.")
    if run_id is None:
        raise UserError("Name a run, such as last, or give many with --from.")
    if (outcome is None) is not remove:
        raise UserError("Give the outcome with --outcome, or take it away with --remove.")
    if remove and note is not None:
        raise UserError("--note goes with --outcome.")
    with open_store(database(db)) as store:
        summary = store.run(run_id).summary
        store.set_label(summary, outcome, note)
    said = "has no label any more" if outcome is None else f"is {outcome}"
    echo(f"run {summary.trace_id}:{summary.sequence_index} {said}")


def _check_alone(others: dict[str, object]) -> None:
    given = next((name for name, value in others.items() if value not in (None, False)), None)
    if given is not None:
        raise UserError(f"--from has runs, outcomes and notes in its file, so {given} does not go with it.")


def _label_many(file: str, db: str | None, *, dry_run: bool) -> None:
    with open_store(database(db)) as store:
        labels = read_labels(file, store)
        counts = store.label_runs(labels, dry_run=dry_run)
    runs = f"{len(labels):,} run{'' if len(labels) == 1 else 's'}"
    told = f"{counts.new:,} new, {counts.changed:,} changed, {counts.same:,} the same"
    echo(f"{runs} would be labelled: {told}; nothing was written" if dry_run else f"{runs} labelled: {told}")
