"""Who may look, and what a browser may do with a page.

The dashboard shows what models said, so a page of another site must not read it or act through it:

* `Host` has to be an address or a name of this machine. Otherwise a site could point its own name at 127.0.0.1, and the
  browser would take our pages for that site's (DNS rebinding).
* A token, where there is one, comes once, by a form or as `?token=`, and is a cookie from then on that no script reads
  and no other site sends along. Programs send `Authorization: Bearer TOKEN`.
* By the headers of every response only our own scripts and styles count, no site may frame a page, no type is guessed.
"""

import hashlib
import hmac
import ipaddress
import re
import socket
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..presentation.pages.rendering import render
from .dashboard_settings import DashboardSettings
from .page_folders import TEMPLATES

COOKIE: Final = "corevital_dashboard"
SIGN_IN: Final = "/sign-in"
_MOST_SIGN_IN_BYTES: Final = 4096
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::[0-9]*)?")
HEALTH: Final = "/healthz"
_OPEN: Final = re.compile(f"/static/[^/]+/[^/]+|{SIGN_IN}|{HEALTH}")
"""What everybody may have: the files of the program itself, the form for the token, whether it works."""
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every response. Those that set `cache-control` themselves keep it; others are not kept by anybody."""


class GuardedApp:
    """Lets those requests through that may come in, and puts the headers on every response.

    Args:
        app: what answers the others.
        settings: whom to let in.
    """

    def __init__(self, app: ASGIApp, settings: DashboardSettings) -> None:
        self._app = app
        self._token = None if settings.token is None else settings.token.encode()
        self._cookie_name = cookie_name(settings.token or "")
        self._names = _names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = await self._refusal(scope, receive)
        await (answer or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the answer to a request that does not come through; None: it may."""
        headers = Headers(scope=scope)
        if not self._is_ours(headers.getlist("host")):
            return PlainTextResponse(
                "This is not a name of this dashboard. Use its address, or start it with --allowed-host NAME.\n", 421
            )
        if self._token is None:
            return None
        if scope["path"] == SIGN_IN:
            return await self._sign_in(scope, receive)
        if _OPEN.fullmatch(scope["path"]) or self._knows(headers):
            return None
        return self._token_in_address(scope) or self._form(scope, 401)

    def _is_ours(self, hosts: list[str]) -> bool:
        return len(hosts) == 1 and (_is_address(name := _name_of(hosts[0])) or name in self._names)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._is_token(given.strip())
        cookie = cookie_parser("; ".join(headers.getlist("cookie"))).get(self._cookie_name)
        return cookie is not None and hmac.compare_digest(cookie.encode(), self._cookie().encode())

    def _is_token(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)

    def _cookie(self) -> str:
        """Return what the cookie holds: not the token, so that who reads a browser's files cannot use it elsewhere."""
        return hmac.new(self._token or b"", b"corevital dashboard", hashlib.sha256).hexdigest()

    def _token_in_address(self, scope: Scope) -> Response | None:
        """Return the same address without the token, and the cookie, where the address has the right one."""
        given = parse_qsl(scope["query_string"].decode("ascii", "replace"), keep_blank_values=True)
        if scope["method"] != "GET" or not any(name == "token" and self._is_token(value) for name, value in given):
            return None
        rest = urlencode([(name, value) for name, value in given if name != "token"])
        return self._welcome(own_path(scope["path"]) + (f"?{rest}" if rest else ""), scope)

    async def _sign_in(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] != "POST":
            return self._form(scope, 200)
        body = await form_body(receive, _MOST_SIGN_IN_BYTES) or b""
        given = dict(parse_qsl(body.decode("utf-8", "replace")))
        if not self._is_token(given.get("token", "")):
            return self._form(scope, 401, wrong=True)
        return self._welcome(own_path(given.get("to", "/")), scope)

    def _welcome(self, to: str, scope: Scope) -> Response:
        answer = RedirectResponse(to, 303)
        secure = scope.get("scheme") == "https"
        answer.set_cookie(self._cookie_name, self._cookie(), httponly=True, samesite="strict", secure=secure, path="/")
        return answer

    def _form(self, scope: Scope, status: int, *, wrong: bool = False) -> Response:
        query = scope["query_string"].decode("ascii", "replace")
        to = "/" if scope["path"] == SIGN_IN else own_path(scope["path"]) + (f"?{query}" if query else "")
        values = {"inlined": None, "wrong": wrong, "to": to}
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        return HTMLResponse(render("sign_in.html.j2", values, [TEMPLATES]), status, headers)


def cookie_name(token: str) -> str:
    """Return the name of a token's cookie: browsers keep cookies by host, so that two dashboards must not share one."""
    return f"{COOKIE}_{hmac.new(token.encode(), b'name of the cookie', hashlib.sha256).hexdigest()[:16]}"


def _names(settings: DashboardSettings) -> frozenset[str]:
    own = ("localhost", settings.host, socket.gethostname(), *settings.allowed_hosts)
    return frozenset(name.lower() for name in own)


def _name_of(host: str) -> str:
    """Return the name in a `Host` header, without its port; nothing where it is none."""
    found = _HOST.fullmatch(host)
    return "" if found is None else (found[1] or found[2]).lower()


def _is_address(name: str) -> bool:
    """Return whether it is an address: no site can make one mean another machine."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def own_path(path: str) -> str:
    """Return a path of this server; what leads elsewhere is its first page."""
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and path.isascii()
    return path if ours else "/"


async def form_body(receive: Receive, most: int) -> bytes | None:
    """Return the body of a form; None: it is longer than so many bytes, or broke off. A part says something else."""
    pieces, size, more = list[bytes](), 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        piece = message.get("body", b"")
        pieces.append(piece)
        size += len(piece)
        if size > most:
            return None
        more = message.get("more_body", False)
    return b"".join(pieces)


def is_from_here(headers: Headers) -> bool:
    """Return whether a request that changes something comes from a page of this server, as its browser says."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] == headers.get("host")
