"""A list of runs as an address has it: conditions, order and place."""

from dataclasses import dataclass
from typing import Final, Self

from starlette.requests import Request

from .._internal.printable import one_line
from ..store.cursors import Cursor, RunOrder
from ..store.store_error import StoreError
from .addresses import Query
from .request_errors import BadRequestError

LIST_PARAMETERS: Final = ("sort", "after", "before", "limit")
"""What the address of a list has beside its conditions: it stays while one moves between list, run and compare."""
DEFAULT_LIMIT: Final = 50
_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class ListState:
    """Which runs a page lists, in which order and from where."""

    query: Query
    order: RunOrder
    limit: int
    after: Cursor | None
    before: Cursor | None

    @classmethod
    def read(cls, request: Request) -> Self:
        """Return what a request asks for.

        Raises:
            BadRequestError: for a parameter that there is not, or a wrong value.
        """
        query = Query.read(request.query_params, others=LIST_PARAMETERS)
        order = order_of(query)
        after, before = _place(query, "after", order), _place(query, "before", order)
        if after is not None and before is not None:
            raise BadRequestError("before: does not go with after; give one of them.")
        return cls(query, order, _limit(query), after, before)

    def address(self, path: str = "/runs", **changes: str | None) -> str:
        """Return the address of a page with these conditions and this order, at the beginning of the list.

        Args:
            path: of the page.
            changes: parameters in place of those here; None takes one away.
        """
        return self.query.address(path, **{**self.kept, **changes})

    @property
    def kept(self) -> dict[str, str]:
        """Return what stays when the list begins anew: its order, and how many runs a page has."""
        return {name: self.query.others[name] for name in ("sort", "limit") if name in self.query.others}

    def here(self, path: str) -> str:
        """Return the address of another page that leads back to this place of the list."""
        return self.query.address(path, **self.query.others)


def order_of(query: Query) -> RunOrder:
    """Return the order that an address asks for.

    Raises:
        BadRequestError: if there is no such order.
    """
    text = query.others.get("sort", RunOrder.NEWEST)
    try:
        return RunOrder(text)
    except ValueError:
        raise BadRequestError(f"sort={one_line(text, 60)}: give {', '.join(RunOrder)}.") from None


def _limit(query: Query) -> int:
    text = query.others.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) <= _MOST):
        raise BadRequestError(f"limit={one_line(text, 60)}: give a number of 1 to {_MOST}.")
    return int(text)


def _place(query: Query, name: str, order: RunOrder) -> Cursor | None:
    text = query.others.get(name)
    if text is None:
        return None
    try:
        return Cursor.parse(text).of(order)
    except StoreError as error:
        raise BadRequestError(f"{name}: {error}") from None
