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
from ..presentation.pages.assets import modules_of
from ..presentation.pages.run_views.run_file import run_file
from ..presentation.pages.run_views.run_view import run_page_view
from ..store.checked_attributes import is_id
from ..store.cursors import Neighbours
from ..store.otlp_json import to_line
from ..store.run_otlp import otlp_of_run
from ..store.source import RunSource
from ..store.store_error import StoreError
from ..store.stored_run import RunSummary, StoredRun, readable
from .addresses import run_path
from .dashboard import Dashboard
from .list_state import ListState
from .request_errors import NotFoundError
from .stored_tokens import stored_pieces

_SIMILAR: Final = 8
_MODULE: Final = "run.js"
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
        state = ListState.read(request)
        with self._dashboard.source() as source:
            run = _load(source, request)
            beside = source.neighbours(run.summary, state.query.wanted, order=state.order)
            similar = _similar(source, run, state)
        values = {
            **run_page_view(run, stored_pieces(run)),
            "links": _links(run.summary, state, beside),
            "similar": similar,
            "source_name": None,
            "modules": modules_of(_MODULE)[:-1],
        }
        return self._dashboard.page(request, "run/page.html.j2", **values)

    def next(self, request: Request) -> Response:
        return self._beside(request, 1)

    def previous(self, request: Request) -> Response:
        return self._beside(request, 0)

    def _beside(self, request: Request, which: int) -> Response:
        state = ListState.read(request)
        with self._dashboard.source() as source:
            run = _summary(source, request)
            found = source.neighbours(run, state.query.wanted, order=state.order)[which]
        return RedirectResponse(state.here(run_path(found or run)), 303)

    def file(self, request: Request) -> Response:
        run = self._whole(request)
        text = run_file(run, stored_pieces(run), source=printable(self._dashboard.settings.store))
        return HTMLResponse(text, headers=_as_file(run.summary, "html"))

    def report(self, request: Request) -> Response:
        run = self._whole(request)
        pieces = report_pieces(*report_and_steps(run), pretty=False)
        return _streamed(pieces, "application/json", _as_file(run.summary, "json"))

    def otlp(self, request: Request) -> Response:
        ListState.read(request)
        with self._dashboard.source() as source:
            run = _summary(source, request)
            lines = [f"{to_line(message)}\n" for message in otlp_of_run(source, run)]
        return _streamed(iter(lines), "application/x-ndjson", _as_file(run, "otlp.json"))

    def _whole(self, request: Request) -> StoredRun:
        ListState.read(request)
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
        run = source.summary(trace_id, span_id)
        if run is not None:
            return run
    raise NotFoundError(f"The store has no run {one_line(trace_id, 40)}, span {one_line(span_id, 24)}.")


def _links(run: RunSummary, state: ListState, beside: Neighbours) -> dict[str, Any]:
    def page_of(each: RunSummary | None) -> str | None:
        return None if each is None else state.here(run_path(each))

    own = run_path(run)
    exports = (("HTML", "html"), ("report JSON", "json"), ("OTLP", "otlp.json"))
    return {
        "list": state.here("/runs"),
        "previous": page_of(beside.previous),
        "next": page_of(beside.next),
        "exports": [(title, f"{own}.{ending}") for title, ending in exports],
    }


def _similar(source: RunSource, run: StoredRun, state: ListState) -> dict[str, Any]:
    """Return the nearest runs by fingerprint, or why there are none."""
    try:
        found = source.similar(run, _SIMILAR)
    except StoreError as error:
        return {"runs": [], "why": str(error)}
    return {
        "runs": [
            {
                "run": each.run,
                "distance": each.distance,
                "address": state.here(run_path(each.run)),
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
