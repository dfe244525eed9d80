"""What every page of the dashboard works with: the store, and the way to a response."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse

from .._internal.printable import printable
from ..presentation.pages.rendering import render
from ..store.opening import open_store
from ..store.source import RunSource
from .dashboard_settings import DashboardSettings
from .page_folders import TEMPLATES

PAGES: Final = (("/runs", "Runs"), ("/overview", "Overview"), ("/compare", "Compare"), ("/live", "Live"))
"""The pages of the bar at the top: path and name."""
QUERY_SECONDS: Final = 10.0
"""How long one query of a page may take."""


class Dashboard:
    """A dashboard over one store.

    Args:
        settings: what it was told.
    """

    def __init__(self, settings: DashboardSettings) -> None:
        self.settings = settings
        self.form_token = secrets.token_urlsafe(24)
        """Stands in every form that changes something: who has not read one of our pages does not know it."""
        self._at_stop: list[Callable[[], None]] = []

    def at_stop(self, end: Callable[[], None]) -> None:
        """Let something end once the server is told to stop, before it waits for the responses under way."""
        self._at_stop.append(end)

    def stop(self) -> None:
        """End what would go on for as long as somebody looks."""
        for end in self._at_stop:
            end()

    @contextmanager
    def source(self) -> Iterator[RunSource]:
        """Give the store to one request, opened for reading.

        Raises:
            StoreError: if it cannot be read.
        """
        with open_store(self.settings.store, query_seconds=QUERY_SECONDS) as source:
            yield source

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page.

        Args:
            request: that it answers.
            template: one of the dashboard's templates.
            status: of the response.
            values: what the template shows.
        """
        bar = {"pages": PAGES, "here": request.url.path, "store": printable(self.settings.store)}
        return HTMLResponse(render(template, {"inlined": None, "bar": bar, **values}, [TEMPLATES]), status)
