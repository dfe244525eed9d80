"""`corevital push`: verdicts out of the store to where annotations and scores are taken by REST only."""

import os
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Protocol

import typer

from .._internal.user_error import UserError
from ..doctor.redaction import without_secrets
from ..store import RunFilter, open_store
from .options import Database, database, with_stored_model
from .printing import echo
from .push_langfuse import LangfuseScores
from .push_phoenix import PhoenixAnnotations
from .pushed_scores import PushedBatch, PushedScore, scores_of
from .run_conditions import choosing_runs

_MOST_TOLD: Final = 5


class PushTarget(StrEnum):
    """Where verdicts are sent."""

    PHOENIX = "phoenix"
    LANGFUSE = "langfuse"


class VerdictServer(Protocol):
    """A server that takes verdicts."""

    endpoint: str

    def push(self, scores: Sequence[PushedScore]) -> Iterator[PushedBatch]:
        """Send verdicts and tell what became of them, batch by batch."""


Where = Annotated[
    PushTarget,
    typer.Argument(
        metavar="WHERE", help="phoenix: as annotations of its spans; langfuse: as scores of its observations."
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Its address; default: PHOENIX_COLLECTOR_ENDPOINT, else http://localhost:6006; LANGFUSE_HOST, else "
        "https://cloud.langfuse.com.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")]
MostPushed = Annotated[int | None, typer.Option(min=1, help="How many runs at most, the newest; default: all.")]


@choosing_runs
def push(
    *,
    where: Where,
    endpoint: Endpoint = None,
    db: Database = None,
    dry_run: DryRun = False,
    limit: MostPushed = None,
    wanted: RunFilter,
) -> None:
    """Send score, level and narrative of stored runs to Phoenix or Langfuse, beside their spans there.

    The spans have to be there already, sent by OTLP. No content is sent. Pushing again replaces what was pushed. Keys:
    PHOENIX_API_KEY; LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY.

    Example: corevital push phoenix --since 7d --dry-run
    """
    destination = _destination(where, os.environ, endpoint)
    with open_store(database(db)) as store:
        runs = store.runs(with_stored_model(store, wanted), limit=limit)
    scores = scores_of(runs)
    if not runs:
        raise UserError("No run matches.")
    if len(scores) < len(runs):
        echo(f"{_runs(len(runs) - len(scores))} left out: no risk was judged", err=True)
    if dry_run:
        _print(scores, destination.endpoint)
    elif scores:
        _send(scores, destination, where)


def _destination(where: PushTarget, environment: Mapping[str, str], endpoint: str | None) -> VerdictServer:
    made = PhoenixAnnotations if where is PushTarget.PHOENIX else LangfuseScores
    return made(environment, endpoint)


def _send(scores: Sequence[PushedScore], destination: VerdictServer, where: PushTarget) -> None:
    sent, missing = 0, list[PushedScore]()
    try:
        for batch in destination.push(scores):
            sent += batch.sent
            missing += batch.missing
    except UserError as error:
        done = f" {_runs(sent)} of {len(scores)} were pushed; push again: what is there is replaced." if sent else ""
        raise UserError(f"{error}{done}") from None
    if sent:
        echo(f"{_runs(sent)} pushed to {without_secrets(destination.endpoint)}")
    if missing:
        named = ", ".join(each.run for each in missing[:_MOST_TOLD])
        more = f" and {len(missing) - _MOST_TOLD} more" if len(missing) > _MOST_TOLD else ""
        raise UserError(
            f"{where.value.capitalize()} does not have the spans of {_runs(len(missing))} (yet): {named}{more}. "
            "Send them there by OTLP, wait a moment, and push again."
        )


def _print(scores: Sequence[PushedScore], endpoint: str) -> None:
    for each in scores:
        echo(f"{each.run}  {each.level} {each.score:.2f}  {each.explanation}")
    echo(f"{_runs(len(scores))} would be sent to {without_secrets(endpoint)}", err=True)


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
