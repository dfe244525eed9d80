"""How runs show themselves: what the showing methods of `Run` and `StoredRun` call."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._internal.file_io import written
from .._internal.printable import printable
from ..run import Run
from .alternative_tokens import Pieces
from .notebook import run_view, runs_view
from .notebook_tokens import MOST_TOKENS as MOST_IN_NOTEBOOK
from .pages.run_views.run_file import run_file
from .pages.run_views.strip_view import MOST_TOKENS
from .plots import figure
from .shapes import RunShape
from .shown_run import ShownRun, ShownSummary
from .token_strip import token_pieces

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view(run: Run) -> str:
    """Return a run as HTML for a notebook."""
    return run_view(ShownRun(run), pieces_of(run, MOST_IN_NOTEBOOK))


def table(runs: Sequence[Run]) -> str:
    """Return runs as HTML for a notebook: a table, or the view of the only one."""
    return view(runs[0]) if len(runs) == 1 else runs_view([ShownSummary(run) for run in runs])


def drawn(run: Run, signals: Sequence[str]) -> "Figure":
    """Return a run's timelines and layers as a figure."""
    return figure(ShownRun(run), signals)


def page_of(run: Run, path: str | os.PathLike[str] | None, tokenizer: Any) -> str:
    """Return a run's whole page; where a file is named, write it there and return its path."""
    return saved(ShownRun(run), pieces_of(run, MOST_TOKENS, tokenizer), path)


def saved(run: RunShape, tokens: Sequence[str] | None, path: str | os.PathLike[str] | None) -> str:
    """Return a run's whole page; where a file is named, write it there, whole or not at all, and return its path.

    Raises:
        OSError: if it cannot be written.
    """
    text = run_file(run, tokens)
    if path is None:
        return text
    with written(path) as file:
        file.write(text.encode("utf-8", errors="replace"))
    return os.fsdecode(path)


def pieces_of(run: Run, most: int, tokenizer: Any = None) -> list[str] | None:
    """Return the text of a run's first tokens; None where no tokenizer is known.

    Args:
        run: the run.
        most: tokens at most.
        tokenizer: that of the model; None: the one that the call knew, if it is still there.
    """
    known = run.tokenizer() if tokenizer is None and run.tokenizer is not None else tokenizer
    return None if known is None else decoded(known, run.tokens[:most].tolist())


def decoded(tokenizer: Any, ids: list[int]) -> list[str]:
    """Return the text of each token; the ids where it is not the tokenizer of these."""
    try:
        return Pieces([printable(piece) for piece in token_pieces(tokenizer, ids)], tokenizer)
    except (LookupError, OverflowError, ValueError, TypeError):
        return named(ids)


def named(ids: list[int]) -> list[str]:
    """Return ids as they stand for text that nobody can read."""
    return [f"[{token}]" for token in ids]
