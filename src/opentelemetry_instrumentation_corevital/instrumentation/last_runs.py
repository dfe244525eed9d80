"""The verdict at the call: the runs of the last `generate()` call, for who made it.

They are kept in a `ContextVar`, so that each thread and each asyncio task reads its own call's. It is set before and
after a call, never inside: within a compiled graph a `ContextVar` would break the graph.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..run import Run

_last: ContextVar[tuple["Run", ...]] = ContextVar("corevital_last_runs", default=())


def last_runs() -> list["Run"]:
    """Return the judged runs of the last `generate()` call that this thread or task made, one per sequence.

    None where that call was not measured, or before the first one. A call that raised has its runs, too. Only the last
    call's are kept.
    """
    return list(_last.get())


def last_run() -> "Run | None":
    """Return the judged run of the last `generate()` call that this thread or task made; of several the riskiest.

    None where that call was not measured (`disabled()`, a span that is not sampled, `capture_ratio`), or before the
    first one.
    """
    return riskiest(_last.get())


def riskiest(runs: Sequence["Run"]) -> "Run | None":
    """Return the run with the highest risk, the first of those that are alike; None where there is none."""
    return max(runs, key=_score, default=None)


def forget() -> None:
    """Keep no call any more: another one begins, which may not be measured."""
    if _last.get():
        _last.set(())


def remember(runs: Sequence["Run"]) -> None:
    """Keep the runs of a call that has ended."""
    _last.set(tuple(runs))


def _score(run: "Run") -> float:
    return -1.0 if run.risk is None else run.risk.score
