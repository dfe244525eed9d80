"""Labelling a run from a page: the only write, where it was allowed.

A request has to come from a page of this server, as its browser says (`Sec-Fetch-Site`, `Origin`), and to know the
token of our forms. The store is opened for writing for this one change, by a connection of its own.
"""

import hmac
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from .._internal.printable import one_line
from ..store.checked_attributes import is_id
from ..store.labels import OUTCOMES, check_outcome
from ..store.store_error import StoreError
from .access import form_body, is_from_here, own_path
from .addresses import run_path
from .dashboard import Dashboard
from .request_errors import BadRequestError, ForbiddenError, NotFoundError

_MOST_BODY: Final = 64 * 1024
"""A note of other letters takes up to twelve bytes a character."""
_MOST_NOTE: Final = 2000
_FIELDS: Final = ("outcome", "note", "form_token", "to", "remove")


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """Return the address that takes labels."""

    async def label(request: Request) -> Response:
        _check_sender(request, dashboard)
        body = await form_body(request.receive, _MOST_BODY)
        return await run_in_threadpool(_label, dashboard, request, _given(body))

    return [Route("/runs/{trace_id}/{span_id}/label", label, methods=["POST"])]


def label_form(dashboard: Dashboard, to: str) -> dict[str, Any] | None:
    """Return what the macro `label_form` needs beside a run; None: labels may not be written.

    Args:
        dashboard: whose settings allow it.
        to: the address that one comes back to.
    """
    if not dashboard.settings.allow_labels:
        return None
    return {"to": to, "form_token": dashboard.form_token, "outcomes": OUTCOMES, "most_note": _MOST_NOTE}


def _check_sender(request: Request, dashboard: Dashboard) -> None:
    if not dashboard.settings.allow_labels:
        raise ForbiddenError("Labels cannot be written here; start the dashboard with --allow-labels.")
    if not is_from_here(request.headers):
        raise ForbiddenError("A label has to come from a page of this dashboard.")


def _given(body: bytes | None) -> dict[str, str]:
    if body is None:
        raise BadRequestError("The form is too long, or did not come whole; nothing was written.")
    try:
        given = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=len(_FIELDS))
    except ValueError:
        raise BadRequestError("The form cannot be read.") from None
    return {name: given.get(name, [""])[0].strip() for name in _FIELDS}


def _label(dashboard: Dashboard, request: Request, given: dict[str, str]) -> Response:
    if not hmac.compare_digest(given["form_token"].encode(), dashboard.form_token.encode()):
        raise ForbiddenError("The form is of an earlier start of the dashboard; load the page anew and send it again.")
    outcome, note = (None, None) if given["remove"] else (given["outcome"] or None, given["note"] or None)
    if outcome is None and note is not None:
        raise BadRequestError("outcome: give a word that the note belongs to.")
    if note is not None and len(note) > _MOST_NOTE:
        raise BadRequestError(f"note: is longer than {_MOST_NOTE} characters.")
    try:
        check_outcome(outcome)
    except StoreError as error:
        raise BadRequestError(str(error)) from None
    trace_id, span_id = request.path_params["trace_id"], request.path_params["span_id"]
    with dashboard.source() as source:
        run = source.summary(trace_id, span_id) if is_id(trace_id, 32) and is_id(span_id, 16) else None
        if run is None:
            raise NotFoundError(f"The store has no run {one_line(trace_id, 40)}, span {one_line(span_id, 24)}.")
        if outcome is not None and note is None and run.label is not None:  # the form does not show the note
            before = source.load(run).label
            note = None if before is None else before.note
        source.set_label(run, outcome, note)
    return RedirectResponse(own_path(given["to"] or run_path(run)), 303)
