"""OTLP over HTTP, and what the receiver says of itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .admission import Admission, BusyError, Visit
from .answers import Accepted, Answer, Fault, Refused, RefusedError, RetryLater
from .bearer_token import DENIED, TokenCheck
from .bodies import ENCODINGS, JSON, PROTOBUF, too_large
from .otlp_signals import SIGNALS, OtlpSignal
from .rpc_status import status_of

_CODES: Final = {
    Fault.MALFORMED: 400,
    Fault.TOO_LARGE: 413,
    Fault.UNSUPPORTED: 415,
    Fault.UNAUTHENTICATED: 401,
}


class HttpService:
    """The HTTP side of a receiver.

    Args:
        admission: where requests go.
        guard: who may come in.
    """

    def __init__(self, admission: Admission, guard: TokenCheck) -> None:
        self._admission = admission
        self._guard = guard
        routes = [Route(signal.path, self._endpoint(signal), methods=["POST"]) for signal in SIGNALS]
        routes.append(Route("/healthz", self._health))
        routes.append(Route("/metrics", self._metrics))
        self._app = Starlette(routes=routes)
        self._app.router.redirect_slashes = (
            False  # it would redirect to wherever the Host header says, before the token
        )

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, but for one whose end is not where another HTTP server would see it."""
        app: ASGIApp = self._app
        if scope["type"] == "http" and _ambiguous(scope):
            app = PlainTextResponse("the length of the body is given twice.", 400, {"connection": "close"})
        await app(scope, receive, send)

    def _endpoint(self, signal: OtlpSignal) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            encoding = request.headers.get("content-encoding", "").strip().lower()
            if encoding == "identity":
                encoding = ""
            answer = await self._answer(signal, request, encoding, kind)
            return _response(signal, answer, kind)

        return endpoint

    async def _answer(self, signal: OtlpSignal, request: Request, encoding: str, kind: str) -> Answer:
        body, answer = b"", None
        try:
            self._check(request, encoding, kind)
            with self._admission.visit() as visit:
                async with asyncio.timeout(self._admission.limits.read_seconds):
                    body = await self._read(request, visit)
                return await self._admission.take(signal, "http", visit, body, encoding, kind)
        except (RefusedError, BusyError) as error:
            answer = error.answer
        except TimeoutError:  # not 408, after which a sender gives up: the network may be faster another time
            answer = RetryLater("the body did not come in time.", 1)
        except ClientDisconnect:
            answer = Refused(Fault.MALFORMED, "the body broke off.")
        self._admission.count(signal, "http", answer, len(body))
        return answer

    def _check(self, request: Request, encoding: str, kind: str) -> None:
        """Refuse what the headers already say cannot be accepted.

        Raises:
            RefusedError: with the reason.
        """
        if not self._guard.admits(request.headers.get("authorization")):
            raise RefusedError(DENIED.fault, DENIED.reason)
        if kind not in (PROTOBUF, JSON):
            raise RefusedError(Fault.UNSUPPORTED, f"the content type has to be {PROTOBUF} or {JSON}.")
        if encoding and encoding not in ENCODINGS:
            raise RefusedError(Fault.UNSUPPORTED, f"the content encoding has to be one of {', '.join(ENCODINGS)}.")
        if int(request.headers.get("content-length", 0)) > self._admission.limits.body_bytes:
            raise too_large(self._admission.limits.body_bytes)

    async def _read(self, request: Request, visit: Visit) -> bytes:
        pieces = list[bytes]()
        async for piece in request.stream():
            if visit.bytes + len(piece) > self._admission.limits.body_bytes:
                raise too_large(self._admission.limits.body_bytes)
            visit.grow(len(piece))
            pieces.append(piece)
        return b"".join(pieces)

    async def _health(self, _request: Request) -> Response:
        healthy = self._admission.intake.healthy
        status = "ok" if healthy else "the store cannot be written"
        return JSONResponse({"status": status}, 200 if healthy else 503)

    async def _metrics(self, request: Request) -> Response:
        if not self._guard.admits(request.headers.get("authorization")):
            return PlainTextResponse(DENIED.reason, 401, {"www-authenticate": "Bearer"})
        return Response(self._admission.statistics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _ambiguous(scope: Scope) -> bool:
    """Tell whether a body's length is given in two ways, which a proxy in front may read in the other one."""
    given = [name for name, _ in scope["headers"]]
    return b"transfer-encoding" in given and (b"content-length" in given or scope["http_version"] == "1.0")


def _response(signal: OtlpSignal, answer: Answer, kind: str) -> Response:
    if isinstance(answer, Accepted):
        return _message(signal.answer(answer.rejected, answer.reason), 200, kind, {})
    headers = dict[str, str]()
    if isinstance(answer, RetryLater):
        code = 429 if answer.busy else 503
        headers["retry-after"] = str(answer.seconds)
    else:
        code = _CODES[answer.fault]
        if answer.fault is Fault.UNAUTHENTICATED:
            headers["www-authenticate"] = "Bearer"
        if answer.fault is Fault.UNSUPPORTED:
            headers["accept-encoding"] = ", ".join(ENCODINGS)
    return _message(status_of(answer), code, kind, headers)


def _message(message: Message, code: int, kind: str, headers: dict[str, str]) -> Response:
    """Return a message in the format of the request."""
    content: Any = MessageToJson(message, indent=None) if kind == JSON else message.SerializeToString()
    return Response(content, code, headers, JSON if kind == JSON else PROTOBUF)
