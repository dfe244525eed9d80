"""What an address asks for: every state of a page is in its query, so that it can be shared.

The names are those of the options of `corevital runs`. A name or a value that there is not is an error that names it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams

from .._internal.printable import one_line
from ..store.filters import RunFilter
from ..store.store_error import StoreError
from ..store.stored_run import RunSummary
from ..store.time_text import time_ns_of
from .request_errors import BadRequestError

_MOST_TEXT: Final = 500
_YES: Final = {"yes": True, "no": False}


def _number(text: str) -> float:
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError
    return int(text)


def _yes_or_no(text: str) -> bool:
    return _YES[text]


CONDITIONS: Final[Mapping[str, tuple[str, Callable[[str], Any], str]]] = {
    "model": ("model", str, "a model's name"),
    "level": ("level", str, "low, medium or high"),
    "flag": ("flag", str, "a flag, such as repetition_loop_detected"),
    "risk_above": ("risk_above", _number, "a number of 0 to 1"),
    "since": ("since_ns", time_ns_of, "30min, 2h, 7d or a date such as 2026-03-01T08:00"),
    "until": ("until_ns", time_ns_of, "30min, 2h, 7d or a date such as 2026-03-01T08:00"),
    "prompt_hash": ("prompt_hash", str, "the beginning of a prompt hash"),
    "label": ("label", str, "a label, any or none"),
    "longer_than": ("longer_than", _number, "a number of seconds"),
    "tokens_above": ("tokens_above", _count, "a number of tokens"),
    "stop_reason": ("stop_reason", str, "a stop reason, such as length"),
    "intervened": ("intervened", _yes_or_no, "yes or no"),
    "baseline_source": ("baseline_source", str, "where a baseline came from"),
    "service": ("service", str, "a service's name"),
    "experiment": ("experiment", str, "an experiment"),
    "request_hash": ("request_hash", str, "a request hash"),
    "risk_below": ("risk_below", _number, "a number of 0 to 1"),
    "warning": ("warning", str, "a warning, such as repetition_risk"),
    "outcome_known": ("outcome_known", str, "any, given or expected"),
    "search": ("text", str, "text of a model, service, experiment or note, or the beginning of an id"),
}
"""Parameter -> condition of `RunFilter`, how it is read, and what it takes."""


@dataclass(frozen=True, slots=True)
class Query:
    """The query of an address, checked: conditions on runs, and what else the page knows.

    Attributes:
        wanted: the conditions.
        conditions: the same as they stood in the address, by parameter; empty ones are left out.
        others: the other parameters that the page knows, the first of each.
        repeated: all values of those which may stand there several times.
    """

    wanted: RunFilter = field(default_factory=RunFilter)
    conditions: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, query: QueryParams, *, others: tuple[str, ...] = (), repeated: tuple[str, ...] = ()) -> Self:
        """Return what a query asks for.

        Args:
            query: of the request.
            others: the parameters that this page knows beside the conditions.
            repeated: those that may stand there several times.

        Raises:
            BadRequestError: for a parameter that there is not, one that stands there twice, or a wrong value.
        """
        given: dict[str, list[str]] = {}
        for name, value in query.multi_items():
            if value.strip() != "":  # a form sends its empty fields
                given.setdefault(name, []).append(value.strip())
        for name, values in given.items():
            _check(name, values, known=(*CONDITIONS, *others, *repeated), several=name in repeated)
        conditions = {name: values[0] for name, values in given.items() if name in CONDITIONS}
        return cls(
            _filter(conditions),
            conditions,
            {name: given[name][0] for name in others if name in given},
            {name: tuple(given.get(name, ())) for name in repeated},
        )

    def address(self, path: str, **changes: str | None) -> str:
        """Return the address of a page with these conditions.

        Args:
            path: of the page.
            changes: parameters in place of those here; None takes one away.
        """
        given = {**self.conditions, **changes}
        text = urlencode({name: value for name, value in given.items() if value is not None}, quote_via=quote)
        return f"{path}?{text}" if text else path


def run_path(run: RunSummary) -> str:
    """Return the path of a run's page."""
    return f"/runs/{run.trace_id}/{run.span_id}"


def _check(name: str, values: list[str], *, known: tuple[str, ...], several: bool) -> None:
    if name not in known:
        raise BadRequestError(f"{one_line(name, 60)}: there is no such parameter here; there are {', '.join(known)}.")
    if len(values) > 1 and not several:
        raise BadRequestError(f"{name}: stands there {len(values)} times; give it once.")
    for value in values:
        if len(value) > _MOST_TEXT:
            raise BadRequestError(f"{name}: is longer than {_MOST_TEXT} characters.")


def _filter(conditions: Mapping[str, str]) -> RunFilter:
    wanted = RunFilter()
    for name, text in conditions.items():
        condition, read, takes = CONDITIONS[name]
        try:
            wanted = replace(wanted, **{condition: read(text)})
        except (ValueError, KeyError, OverflowError, OSError):
            raise BadRequestError(f"{name}={one_line(text, 60)}: give {takes}.") from None
        except StoreError as error:
            raise BadRequestError(f"{name}: {error}") from None
    return wanted
