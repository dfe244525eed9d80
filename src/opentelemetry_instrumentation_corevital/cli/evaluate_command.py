"""`corevital evaluate`: how well the answer risk tells wrong answers from right ones, on labelled runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from .._internal.user_error import UserError
from ..evaluation.evaluate import Evaluation, evaluate
from ..store import RunFilter, open_store
from ..store.labels import LabelSource
from .evaluated_runs import EXPERIMENT, SERVICE, TASK, FoundAnswers, found_answers
from .evaluation_rows import COLUMNS, as_json_value, csv_rows
from .evaluation_table import coverage_text, print_evaluation
from .options import AsJson, Database, database, other_store, read_from
from .output import print_json, whole_file, write_csv
from .printing import error_console
from .run_conditions import choosing_runs

MOST_EVALUATED: Final = 10_000
_STANDARD_OUTPUT: Final = "-"
_TOLD_EVERY: Final = 50

OutcomesFrom = Annotated[
    LabelSource,
    typer.Option(
        "--label-source",
        help="given: labels; expected: whether the answer has what its prompt set expects; any: either.",
    ),
]
TaskBy = Annotated[
    str,
    typer.Option(
        metavar="KEY",
        help=f"What makes a task: {EXPERIMENT}, {SERVICE}, or a key of the prompts' metadata. {TASK}: that key where "
        "content is stored, else the experiment.",
    ),
]
MostEvaluated = Annotated[int, typer.Option(min=1, help="How many labelled runs at most, the newest.")]
DrawSeed = Annotated[int, typer.Option("--seed", min=0, help="Of the draws that give the intervals.")]
CsvFile = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write a row per group and score; - prints it and nothing else."),
]
HtmlFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write one page with the pictures, which needs nothing else, for any browser."),
]


@choosing_runs
def evaluate_runs(
    *,
    db: Database = None,
    wanted: RunFilter,
    label_source: OutcomesFrom = LabelSource.ANY,
    by: TaskBy = TASK,
    limit: MostEvaluated = MOST_EVALUATED,
    seed: DrawSeed = 0,
    as_json: AsJson = False,
    csv: CsvFile = None,
    html: HtmlFile = None,
) -> None:
    """Say how well the answer risk tells wrong answers from right ones, by model and task, on labelled runs.

    Beside it stand length, surprisal, entropy, the risk score and the base rate, over the same runs, with 95 %
    intervals by prompt. docs/evaluate.md says what each figure is.

    Example: corevital evaluate --since 7d --html evaluation.html
    """
    to_output = csv is not None and str(csv) == _STANDARD_OUTPUT
    if to_output and as_json:
        raise UserError("--json and --csv - do not go together.")
    with _progress(quiet=as_json or to_output) as tell:
        with open_store(database(db)) as source:
            found = found_answers(source, wanted, label_source, by, limit, tell)
            name = source.name
        tell(found.labelled, found.labelled)
        result = evaluate(found.groups, seed=seed)
    _write_files(found, result, name, None if to_output else csv, html)
    if as_json:
        print_json(as_json_value(found, result, name))
    elif to_output:
        write_csv(csv_rows(result), COLUMNS)
    else:
        print_evaluation(found, result)
    if not (as_json or to_output) or other_store(db) is not None:
        error_console().print(read_from(db), soft_wrap=True)


def _write_files(found: FoundAnswers, result: Evaluation, name: str, csv: Path | None, html: Path | None) -> None:
    """Write what was asked for.

    Raises:
        UserError: if a file cannot be written.
    """
    if csv is not None:
        with whole_file(csv, "--csv") as file:
            write_csv(csv_rows(result), COLUMNS, file)
    if html is not None:
        from ..presentation.pages.evaluation_file import evaluation_file

        text = evaluation_file(result, coverage_text(found), source=name)
        with whole_file(html, "--html") as file:
            file.write(text)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how far it is, where there is a terminal; yield what is told of it."""
    with error_console(quiet=quiet or not sys.stderr.isatty()).status("Looking for labelled runs ...") as status:

        def tell(done: int, of_all: int) -> None:
            if done == of_all:
                status.update("Drawing prompts for the intervals ...")
            elif done % _TOLD_EVERY == 0:
                status.update(f"Reading labelled runs: {done:,} of {of_all:,} ...")

        yield tell
