"""Server-sent events: a response that goes on, with what has come since the browser last heard of us."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from .request_errors import BadRequestError

HEARTBEAT_SECONDS: Final = 15.0
"""So often something is sent, so that proxies keep the connection and one that broke is noticed."""
HEARTBEAT: Final = b": still here\n\n"
_RETRY_MS: Final = 2000
_RETRY_SECONDS: Final = 30
_KEY: Final = re.compile("[0-9]{1,18}")


def event(name: str, data: Any, key: int | None = None) -> bytes:
    """Return one event.

    Args:
        name: that scripts listen to.
        data: JSON can carry them.
        key: what the browser tells when it comes again; None: as before.
    """
    identity = "" if key is None else f"id: {key}\n"
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # one line: JSON escapes every line end
    return f"{identity}event: {name}\ndata: {text}\n\n".encode()


def heard_until(request: Request) -> int:
    """Return the key of the last event that the browser got; 0: none.

    The header is that of a browser that connects again by itself, `behind` that of a page that does.

    Raises:
        BadRequestError: if it is none of ours.
    """
    said = request.headers.get("last-event-id") or request.query_params.get("behind") or "0"
    if not _KEY.fullmatch(said):
        raise BadRequestError("behind: give the id of an event of this stream.")
    return int(said)


def stream(events: AsyncIterator[bytes]) -> StreamingResponse:
    """Return the response that sends events as they come."""
    headers: Mapping[str, str] = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nginx would hold it back
    return StreamingResponse(_opened(events), media_type="text/event-stream", headers=headers)


def too_many_streams() -> Response:
    """Return the answer to a page that would be one too many."""
    return PlainTextResponse(
        "Too many pages stay open here; close one.\n", 503, headers={"retry-after": str(_RETRY_SECONDS)}
    )


async def _opened(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield f"retry: {_RETRY_MS}\n\n".encode()
    async for each in events:
        yield each
