"""ClickHouse's HTTP interface, over ClickHouse in this process (chdb): what the Collector's exporter needs of it.

    python clickhouse_server.py PORT SCHEMA.sql

Runs in an environment of its own that has chdb. `POST /` with a query (and for INSERT its data, in the format that the
query names) is answered with the result in the format that is asked for.
"""

import json
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from chdb.session import Session

_FOLDER = Path(tempfile.mkdtemp())
_session = Session(str(_FOLDER / "data"))
_lock = threading.Lock()


def native(names: list[str], types: list[str], *rows: list[Any]) -> bytes:
    """Return a block of strings and integers as a client of protocol version 54454 and later reads it."""
    block = bytearray(b"\x01\x00\x02\xff\xff\xff\xff\x00") + varint(len(names)) + varint(len(rows))
    for index, (name, kind) in enumerate(zip(names, types, strict=True)):
        block += text(name) + text(kind) + b"\x00"
        for row in rows:
            block += text(row[index]) if kind == "String" else int(row[index]).to_bytes(int(kind[4:]) // 8, "little")
    return bytes(block)


def varint(number: int) -> bytes:
    """Return an unsigned number in LEB128."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def text(value: str) -> bytes:
    """Return a string with its length before it."""
    encoded = value.encode()
    return varint(len(encoded)) + encoded


def execute(query: str, data: bytes, output: str) -> bytes:
    """Return a query's result; an INSERT takes its rows from `data`."""
    with _lock:
        statement, _, kind = query.strip().rstrip(";").rpartition("FORMAT")
        if query.lstrip().upper().startswith("INSERT") and data:
            file = _FOLDER / "rows"
            file.write_bytes(data)
            _session.query(f"{statement} SELECT * FROM file('{file}', {kind.strip()})")
            return b""
        if output == "Native":
            found = str(_session.query(query, "JSONCompactEachRowWithNamesAndTypes")).splitlines()
            return native(*map(json.loads, found))
        return bytes(_session.query(query, output).bytes() or b"")


class Handler(BaseHTTPRequestHandler):
    """One request, one query."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Run what was sent."""
        body, parameters = self._body(), parse_qs(urlsplit(self.path).query)
        query, data = (parameters["query"][0], body) if "query" in parameters else (body.decode(), b"")
        try:
            status, answer = 200, execute(query, data, parameters.get("default_format", ["TabSeparated"])[0])
        except Exception as error:
            status, answer = 500, str(error).encode()
            print(query, answer.decode(), flush=True)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        """Say nothing: do_POST does."""


if __name__ == "__main__":
    lines = Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()
    for each in "\n".join(line for line in lines if not line.startswith("--")).split(";\n"):
        if each.strip():
            execute(each, b"", "TabSeparated")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
