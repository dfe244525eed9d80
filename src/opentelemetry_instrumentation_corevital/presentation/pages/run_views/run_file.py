"""A run's page as one HTML file that needs nothing else: it opens from disk, and its policy lets it load nothing."""

from collections.abc import Sequence
from typing import Final

from ...shapes import RunShape
from ..inlined import Inlined
from ..rendering import render
from .run_view import run_page_view

_STYLES: Final = ("theme.css", "run.css")
_MODULE: Final = "run.js"


def run_file(run: RunShape, tokens: Sequence[str] | None, *, source: str | None = None) -> str:
    """Return a run's page as one file.

    Args:
        run: the run.
        tokens: text of every generated token, or None where it is not known.
        source: the store that it was read from, if the page is to say it.
    """
    of_a_server = {"links": None, "similar": None}
    inlined = Inlined.of(_STYLES, _MODULE)
    values = {**run_page_view(run, tokens), **of_a_server, "inlined": inlined, "source_name": source}
    return render("run/file.html.j2", values)
