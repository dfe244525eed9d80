"""A local OTLP/HTTP receiver that counts and forgets, in a process of its own: its GIL is not that of the calls.

    python counting_sink.py

prints its port and serves until its standard input ends. GET / returns the counts.
"""

import json
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


class CountingHandler(BaseHTTPRequestHandler):
    """Answers every export with success."""

    protocol_version = "HTTP/1.1"  # connections are kept, as a Collector keeps them
    counts: ClassVar[dict[str, dict[str, int]]] = {}
    lock = threading.Lock()

    def do_POST(self) -> None:
        """Take one export."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            found = self.counts.setdefault(self.path, {"requests": 0, "bytes": 0})
            found["requests"] += 1
            found["bytes"] += len(body)
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        """Tell the counts."""
        with self.lock:
            self._answer(json.dumps(self.counts).encode(), "application/json")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class CountingSink:
    """The sink's process, seen from the one that measures."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", __file__]
        # A session of its own, so that Ctrl-C does not reach it: what was sent so far still has to be counted.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the requests and bytes received so far, by path."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(self.url, timeout=10) as answer:
            return dict(json.load(answer))

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=10)


def serve() -> None:
    """Serve until standard input ends: whoever started this has ended too, then."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), CountingHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    serve()
