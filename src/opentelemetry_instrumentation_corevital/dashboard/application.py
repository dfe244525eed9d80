"""The dashboard as an ASGI application: its pages, its files, and what it says where it cannot answer."""

import logging
from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from .._internal.error_text import describe
from ..presentation.pages.assets import assets
from ..store.store_error import StoreError
from . import compare_view, live_view, overview_view, run_labels, run_page, runs_page
from .access import HEALTH, GuardedApp
from .dashboard import Dashboard
from .dashboard_settings import DashboardSettings
from .request_errors import RequestError

VIEWS: Final[tuple[Callable[[Dashboard], list[BaseRoute]], ...]] = (
    runs_page.routes,
    run_labels.routes,
    overview_view.routes,
    compare_view.routes,
    run_page.routes,
    live_view.routes,
)
"""The routes of each view."""

_FOR_EVER: Final = "public, max-age=31536000, immutable"
_log = logging.getLogger(__name__)


def application(settings: DashboardSettings, dashboard: Dashboard | None = None) -> ASGIApp:
    """Return the application of a dashboard, which a server tells when it stops."""
    dashboard = dashboard or Dashboard(settings)
    routes: list[BaseRoute] = [
        Route("/", _home),
        Route(HEALTH, _health(dashboard)),
        Route("/static/{content_hash}/{name}", _file),
    ]
    for view in VIEWS:
        routes += view(dashboard)
    app = Starlette(
        routes=routes,
        middleware=[Middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)],
        exception_handlers={
            RequestError: _error_page(dashboard, _of_request),
            StoreError: _error_page(dashboard, _of_store),
            HTTPException: _error_page(dashboard, _of_http),
            Exception: _error_page(dashboard, _of_ours),
        },
    )
    app.router.redirect_slashes = False
    return GuardedApp(app, settings)


def _home(request: Request) -> Response:
    query = request.url.query
    return RedirectResponse(f"/runs?{query}" if query else "/runs", 303)


def _health(dashboard: Dashboard) -> Callable[[Request], Response]:
    def endpoint(_request: Request) -> Response:
        """Say whether the store can be read, and nothing of it: everybody may ask."""
        try:
            with dashboard.source():
                return JSONResponse({"status": "ok"})
        except StoreError:
            return JSONResponse({"status": "the store cannot be read"}, 503)

    return endpoint


def _file(request: Request) -> Response:
    """Return a file by its name; nothing of a request becomes a path of a file."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("There is no such file.\n", 404)
    current = asset.address == request.url.path
    headers = {"cache-control": _FOR_EVER if current else "no-cache"}
    return Response(asset.content, headers=headers, media_type=asset.content_type)


def _error_page(
    dashboard: Dashboard, explain: Callable[[Exception], tuple[int, str, str]]
) -> Callable[[Request, Exception], Response]:
    def handler(request: Request, error: Exception) -> Response:
        status, title, message = explain(error)
        return dashboard.page(request, "error.html.j2", status, title=title, message=message)

    return handler


def _of_request(error: Exception) -> tuple[int, str, str]:
    assert isinstance(error, RequestError)
    return error.status, error.title, str(error)


def _of_store(error: Exception) -> tuple[int, str, str]:
    command = getattr(error, "command", "")
    return 503, "The store cannot be read", f"{error} {command}".strip()


def _of_http(error: Exception) -> tuple[int, str, str]:
    assert isinstance(error, HTTPException)
    missing = error.status_code == 404
    return error.status_code, "There is no such page" if missing else str(error.detail), ""


def _of_ours(error: Exception) -> tuple[int, str, str]:
    _log.error("a page could not be made: %s", describe(error))
    return 500, "This page could not be made", "That is a fault of CoreVital; the dashboard's log has the details."
