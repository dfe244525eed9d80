"""Judged runs of this process as a list that shows itself."""

from .._internal.short_repr import short_list
from ..run import Run


class JudgedRuns(list[Run]):
    """Judged runs; a table in a notebook."""

    def __repr__(self) -> str:
        """Return their number and a line for each of the first."""
        return short_list(type(self).__name__, "run", self)

    def _repr_html_(self) -> str:
        from . import showing

        return showing.table(self)
