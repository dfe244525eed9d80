"""The page of one run, its exports, and the way to the runs beside it in the list that one comes from."""

from collections.abc import Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from .._internal.printable import one_line, printable
from ..catalogue.spelling import for_people
from ..legacy.report import report_and_steps
from ..legacy.report_text import report_pieces
from ..presentation.pages.run_views.run_file import run_file
from ..presentation.pages.run_views.run_view import run_page_view
from ..store.checked_attributes import is_id
from ..store.otlp_json import to_line
from ..store.run_otlp import otlp_of_run
from ..store.source import RunSource
from ..store.store_error import StoreError
from ..store.stored_run import RunSummary, StoredRun, readable
from .addresses import Query, run_path
from .dashboard import Dashboard
from .neighbours import runs_beside
from .request_errors import NotFoundError
from .stored_tokens import stored_pieces

LIST_STATE: Final = ("sort", "after", "before", "limit")
"""What the address of a list has beside its conditions: it stays while one moves between list and run."""
_SIMILAR: Final = 8
_TRACE_DIGITS, _SPAN_DIGITS = 32, 16


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """Return the addresses of runs."""
    pages = _RunPages(dashboard)
    path = "/runs/{trace_id}/{span_id}"
    return [
        Route(f"{path}.otlp.json", pages.otlp),
        Route(f"{path}.json", pages.report),
        Route(f"{path}.html", pages.file),
        Route(f"{path}/next", pages.next),
        Route(f"{path}/previous", pages.previous),
        Route(path, pages.show),
    ]


class _RunPages:
    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard

    def show(self, request: Request) -> Response:
        query = Query.read(request.query_params, others=LIST_STATE)
        with self._dashboard.source() as source:
            run = _load(source, request)
            beside = runs_beside(source, run.summary, query.wanted)
            similar = _similar(source, run, query)
        values = {
            **run_page_view(run, stored_pieces(run)),
            "links": _links(run.summary, query, *beside),
            "similar": similar,
            "source_name": None,
        }
        return self._dashboard.page(request, "run/page.html.j2", **values)

    def next(self, request: Request) -> Response:
        return self._beside(request, 1)

    def previous(self, request: Request) -> Response:
        return self._beside(request, 0)

    def _beside(self, request: Request, which: int) -> Response:
        query = Query.read(request.query_params, others=LIST_STATE)
        with self._dashboard.source() as source:
            run = _summary(source, request)
            found = runs_beside(source, run, query.wanted)[which]
        return RedirectResponse(query.address(run_path(found or run), **query.others), 303)

    def file(self, request: Request) -> Response:
        run = self._whole(request)
        text = run_file(run, stored_pieces(run), source=printable(self._dashboard.settings.store))
        return HTMLResponse(text, headers=_as_file(run.summary, "html"))

    def report(self, request: Request) -> Response:
        run = self._whole(request)
        pieces = report_pieces(*report_and_steps(run), pretty=False)
        return _streamed(pieces, "application/json", _as_file(run.summary, "json"))

    def otlp(self, request: Request) -> Response:
        Query.read(request.query_params, others=LIST_STATE)
        with self._dashboard.source() as source:
            run = _summary(source, request)
            lines = [f"{to_line(message)}\n" for message in otlp_of_run(source, run)]
        return _streamed(iter(lines), "application/x-ndjson", _as_file(run, "otlp.json"))

    def _whole(self, request: Request) -> StoredRun:
        Query.read(request.query_params, others=LIST_STATE)
        with self._dashboard.source() as source:
            return _load(source, request)


def _load(source: RunSource, request: Request) -> StoredRun:
    return readable(source.load(_summary(source, request)))


def _summary(source: RunSource, request: Request) -> RunSummary:
    """Return the run that an address names.

    Raises:
        NotFoundError: if there is none.
    """
    trace_id, span_id = (request.path_params[name] for name in ("trace_id", "span_id"))
    if is_id(trace_id, _TRACE_DIGITS) and is_id(span_id, _SPAN_DIGITS):
        for run in source.beginning_with(trace_id):
            if (run.trace_id, run.span_id) == (trace_id, span_id):
                return run
    raise NotFoundError(f"The store has no run {one_line(trace_id, 40)}, span {one_line(span_id, 24)}.")


def _links(run: RunSummary, query: Query, previous: RunSummary | None, following: RunSummary | None) -> dict[str, Any]:
    def page_of(each: RunSummary | None) -> str | None:
        return None if each is None else query.address(run_path(each), **query.others)

    own = run_path(run)
    exports = (("HTML", "html"), ("report JSON", "json"), ("OTLP", "otlp.json"))
    return {
        "list": query.address("/runs", **query.others),
        "previous": page_of(previous),
        "next": page_of(following),
        "exports": [(title, f"{own}.{ending}") for title, ending in exports],
    }


def _similar(source: RunSource, run: StoredRun, query: Query) -> dict[str, Any] | None:
    """Return the nearest runs by fingerprint, or why there are none; None: the source cannot tell."""
    nearest = getattr(source, "similar", None)
    if nearest is None:
        return None
    try:
        found = nearest(run, _SIMILAR)
    except StoreError as error:
        return {"runs": [], "why": str(error)}
    return {
        "runs": [
            {
                "run": each.run,
                "distance": each.distance,
                "address": query.address(run_path(each.run), **query.others),
                "flags": ", ".join(map(for_people, each.run.flags)),
            }
            for each in found
        ],
        "why": "No other run of the store has a fingerprint of this version.",
    }


def _as_file(run: RunSummary, ending: str) -> dict[str, str]:
    name = f"run-{run.trace_id[:12]}-{run.sequence_index}.{ending}"
    return {"content-disposition": f'attachment; filename="{name}"'}


def _streamed(pieces: Iterator[str], content_type: str, headers: dict[str, str]) -> Response:
    return StreamingResponse(
        (piece.encode("utf-8", "replace") for piece in pieces), media_type=content_type, headers=headers
    )
