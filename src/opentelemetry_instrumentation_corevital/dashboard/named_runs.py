"""A run that an address names, as it stands in a path or as commands take it."""

import re
from typing import Final

from .._internal.printable import one_line
from ..store.source import RunSource
from ..store.store_error import StoreError
from ..store.stored_run import RunSummary
from .request_errors import BadRequestError

_KEY: Final = re.compile(r"([0-9a-f]{32})/([0-9a-f]{16})")


def run_key(run: RunSummary) -> str:
    """Return how an address names a run: its trace and its span."""
    return f"{run.trace_id}/{run.span_id}"


def named_run(source: RunSource, name: str, parameter: str) -> RunSummary:
    """Return the run that a parameter of an address names.

    Args:
        source: of the runs.
        name: `TRACE/SPAN`, or what `corevital show` takes.
        parameter: its name, for messages.

    Raises:
        BadRequestError: if there is no such run, or several.
    """
    found = _KEY.fullmatch(name)
    if found is None:
        try:
            return source.run(name).summary
        except StoreError as error:
            raise BadRequestError(f"{parameter}={one_line(name, 60)}: {error}") from None
    run = source.summary(found[1], found[2])
    if run is None:
        raise BadRequestError(f"{parameter}={name}: there is no such run here; it may have been deleted.")
    return run
