"""What a loop was seen to choose, read from its rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..row.host_transfer import RowStore
from ..row.layout import DONE, TOKEN
from .call_facts import Call, Generated
from .failed_step import Faults


def counts_of(rows: RowStore, steps: int | None = None) -> list[int]:
    """Return how many steps each sequence was alive: up to the one that it was done with."""
    done = rows.rows[:steps, :, DONE] > 0
    length = len(done)
    return [int(n) for n in np.where(done.any(0), done.argmax(0) + 1, length)]


def tokens_of(rows: RowStore) -> NDArray[np.int64]:
    """Return the chosen tokens [sequences, steps]."""
    return rows.rows[:, :, TOKEN].T.astype(np.int64)


def generated_before(
    error: BaseException, call: Call, rows: RowStore | None, failed: Sequence[Faults] | None, why_unseen: str
) -> Generated | str:
    """Return what was generated before a call's error, or why that cannot be told.

    Args:
        error: what the call raised.
        call: the call.
        rows: of its steps; None where there are none.
        failed: each sequence's faults at a step without a token; None where there was none.
        why_unseen: why there are no rows.
    """
    if rows is not None:
        tokens, counts = tokens_of(rows), counts_of(rows)
    elif failed is not None or call.chose_nothing():
        tokens = np.empty((1 if failed is None else len(failed), 0), np.int64)
        counts = [0] * len(tokens)
    else:
        return f"the call failed, and the tokens before that were not observed: {why_unseen}"
    return Generated(tokens, counts, [call.reason_of(error)] * len(counts))
