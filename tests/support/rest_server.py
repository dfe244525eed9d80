"""A REST server in this process that keeps what it gets, and answers as a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class RestRequest(NamedTuple):
    """A request with a JSON body."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class RestServer:
    """What came, in its order."""

    url: str = ""
    requests: list[RestRequest] = field(default_factory=list)


@contextmanager
def rest_server(reply: Callable[[RestRequest], Any]) -> Iterator[RestServer]:
    """Serve on a port of this machine.

    `reply` returns the status, a value that is sent as JSON or a text that is sent as it is, and headers, if it likes.
    """
    server = RestServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = RestRequest(self.command, self.path, headers, json.loads(body))
            server.requests.append(request)
            status, value, *more = reply(request)
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in (more[0] if more else {}).items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{listening.server_port}"
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
