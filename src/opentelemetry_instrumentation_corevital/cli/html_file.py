"""A run's HTML page as a file, with the text of its tokens where that can be read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._internal.user_error import UserError
from ..presentation.pages.run_views.run_file import run_file
from .output import whole_file

if TYPE_CHECKING:
    from ..store.stored_run import StoredRun


def write_page(run: "StoredRun", out: Path, *, tokenizer: str | None, source: str | None = None) -> None:
    """Write a run's page.

    Args:
        run: the run.
        out: the file.
        tokenizer: whose tokenizer reads the token ids, if they are stored; None: the run's own model's, if it is here.
        source: the store that it was read from, if the page is to say it.

    Raises:
        UserError: if the file cannot be written or there is no such tokenizer.
    """
    text = run_file(run, token_texts(run, tokenizer), source=source)
    with whole_file(out, "--html") as file:
        file.write(text)


def token_texts(run: "StoredRun", tokenizer: str | None) -> Sequence[str] | None:
    """Return the text of every generated token; None where neither ids nor text are stored.

    Raises:
        UserError: if there is no such tokenizer. Where none was asked for, ids stand for the text that cannot be read.
    """
    if run.report is not None or "tokens" not in run.columns:
        found = run.pieces()
        if found is None and tokenizer is not None:
            raise UserError(f"--tokenizer {tokenizer}: no token ids are stored of this run; content was not captured.")
        return found
    from ..loading.models import load_tokenizer

    try:
        # The stored name is what some service said: it has nothing loaded from elsewhere.
        known: Any = load_tokenizer(tokenizer) if tokenizer else load_tokenizer(run.summary.model or "", local=True)
    except UserError:
        if tokenizer is not None:
            raise
        known = None
    return run.pieces(known)
