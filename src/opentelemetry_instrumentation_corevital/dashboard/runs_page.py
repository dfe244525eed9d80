"""The list of runs: filters with counts, orders, pages, and all that match as a file."""

import time
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from ..catalogue.spelling import for_people
from ..presentation.run_table import age
from ..store.cursors import RunOrder, RunPage
from ..store.facets import RunCounts
from ..store.stored_run import RunList, RunSummary
from .addresses import run_path
from .dashboard import Dashboard
from .list_state import ListState
from .run_exports import PARQUET_NEEDS, exporter, parquet_works
from .run_labels import label_form
from .runs_filters import chips, first_fields, hidden_conditions, more_fields, more_is_on

_SORTED: Final = {
    "started": (RunOrder.NEWEST, RunOrder.OLDEST),
    "risk": (RunOrder.RISK, RunOrder.LOWEST_RISK),
    "answer": (RunOrder.ANSWER, RunOrder.LOWEST_ANSWER),
    "tokens": (RunOrder.TOKENS, RunOrder.FEWEST_TOKENS),
}
"""Column -> the order of a first click on its head, and of a second."""
_HASH_SHOWN: Final = 8
_MOST_COMPARED: Final = 4


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """Return the addresses of lists."""
    pages = _ListPages(dashboard)
    return [Route("/runs", pages.show), Route("/runs.{ending}", pages.export)]


class _ListPages:
    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    def show(self, request: Request) -> Response:
        state = ListState.read(request)
        with self._dashboard.source() as source:
            page = source.page(
                state.query.wanted, order=state.order, limit=state.limit, after=state.after, before=state.before
            )
            counts = source.counts(state.query.wanted)
            empty = not counts.total and not source.page(limit=1).runs
        if state.before is not None and page.previous is None and len(page.runs) < state.limit:
            return RedirectResponse(state.address(), 303)  # fewer than a page before: the list from its beginning
        here = state.here("/runs")
        values = {
            **_form(state, counts),
            **_list(state, page),
            "total": counts.total,
            "store_is_empty": empty,
            "label_form": label_form(self._dashboard, here),
            "exports": _exports(state),
            "compare_models": state.query.address("/compare"),
            "most_compared": _MOST_COMPARED,
        }
        return self._dashboard.page(request, "runs/page.html.j2", **values)

    def export(self, request: Request) -> Response:
        state = ListState.read(request)
        pieces, kind = exporter(request.path_params["ending"])
        body = pieces(self._lists(state))
        first = next(body)  # what is wrong with the store is a page that says so, not half a file
        name = f"corevital-runs.{request.path_params['ending']}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(chain((first,), body), headers=headers, media_type=kind)

    def _lists(self, state: ListState) -> Iterator[RunList]:
        with self._dashboard.source() as source:
            yield from source.in_pages(state.query.wanted, order=state.order)


def _form(state: ListState, counts: RunCounts) -> dict[str, Any]:
    first, more = first_fields(state, counts), more_fields(state, counts)
    return {
        "first_fields": first,
        "more_fields": more,
        "more_is_on": more_is_on(state),
        "search": state.query.conditions.get("search", ""),
        "hidden": hidden_conditions(state, [*first, *more]),
        "chips": chips(state),
    }


def _list(state: ListState, page: RunPage) -> dict[str, Any]:
    now = time.time_ns()
    return {
        "rows": [_row(run, state, now) for run in page.runs],
        "heads": {column: _head(orders, state) for column, orders in _SORTED.items()},
        "next": None if page.next is None else state.address(after=str(page.next)),
        "previous": None if page.previous is None else state.address(before=str(page.previous)),
        "beginning": None if page.previous is None else state.address(),
        "conditions": state.query.conditions,
        "order": state.order,
    }


def _head(orders: tuple[RunOrder, RunOrder], state: ListState) -> dict[str, Any]:
    """Return where a click on a column's head leads, and how it is sorted now, as `aria-sort` says it."""
    order = state.order
    to = orders[1] if order is orders[0] else orders[0]
    sort = None if to is RunOrder.NEWEST else str(to)
    now = {True: "ascending", False: "descending"}[order.ascending] if order in orders else None
    return {"to": state.address(sort=sort), "now": now}


def _row(run: RunSummary, state: ListState, now: int) -> dict[str, Any]:
    ended = run.error_type or run.stop_reason or run.finish_reason
    return {
        "run": run,
        "href": state.here(run_path(run)),
        "key": f"{run.trace_id}/{run.span_id}",
        "name": run.trace_id[:12] + (f":{run.sequence_index}" if run.operation is None else ""),
        "age": _age(run, now),
        "flags": [for_people(flag) for flag in run.flags],
        "warnings": None if run.warnings is None else [for_people(each) for each in run.warnings],
        "ended": None if ended is None else for_people(ended),
        "failed": run.broken_off,
        "prompt": None if run.prompt_hash is None else run.prompt_hash[:_HASH_SHOWN],
        "same_prompt": state.address(prompt_hash=run.prompt_hash),
        "label_path": f"{run_path(run)}/label",
    }


def _age(run: RunSummary, now: int) -> str:
    told = age((now - run.start_ns) / 1e9)
    return told if told == "ahead" else f"{told} ago"


def _exports(state: ListState) -> list[dict[str, str | None]]:
    found: list[dict[str, str | None]] = []
    for title, ending in (("CSV", "csv"), ("JSON", "json"), ("Parquet", "parquet")):
        missing = PARQUET_NEEDS if ending == "parquet" and not parquet_works() else None
        found.append({"title": title, "href": state.address(f"/runs.{ending}", limit=None), "missing": missing})
    return found
