"""`corevital collect` as a process of its own, and requests to it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from opentelemetry_instrumentation_corevital.store.otlp import key_values

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_MAIN = "from opentelemetry_instrumentation_corevital.cli import main; main()"


@dataclass
class Collecting:
    """A running receiver."""

    process: subprocess.Popen[str]
    http: int
    grpc: int
    db: Path
    log: Path

    def post(
        self, body: bytes, path: str = "/v1/traces", kind: str = PROTOBUF, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and return status, headers and body of the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body, {"content-type": kind, **named})

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=120)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def metric(self, name: str, **headers: str) -> float:
        """Return the sum of a metric's samples."""
        _, _, text = self.request("GET", "/metrics", None, headers)
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text.decode(), re.MULTILINE)
        assert found, name
        return sum(map(float, found))

    @property
    def resident(self) -> int:
        """Return the bytes of memory that the process has."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def peak(self) -> int:
        """Return the most bytes of memory that the process has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    @property
    def processor_seconds(self) -> float:
        """Return the time that the process has had from processors."""
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def collecting(
    folder: Path,
    *arguments: str,
    db: str = "collected.db",
    environment: Mapping[str, str] | None = None,
    code: str = "",
) -> Iterator[Collecting]:
    """Run a receiver on free ports; `code` runs in its process first."""
    path, log = folder / "collected.db", folder / f"collect-{time.monotonic_ns()}.log"
    command = [sys.executable, "-c", f"{code}\n{_MAIN}", "collect", "--db", str(path)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--port", "0", "--grpc-port", "0", *arguments],
            stderr=output,
            text=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"at https?://\S+:(\d+), over gRPC at \S+:(\d+), into", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield Collecting(process, int(found[1]), int(found[2]), path, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def spans_request(count: int = 1, seed: int = 0, **attributes: Any) -> ExportTraceServiceRequest:
    """Return a request with spans whose ids say their seed and number."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(key_values({"service.name": "tests"}))
    scope = group.scope_spans.add()
    scope.scope.name = "scope"
    for index in range(count):
        span = scope.spans.add(name="span", start_time_unix_nano=1_000, end_time_unix_nano=2_000)
        span.trace_id = (seed + 1).to_bytes(16, "big")
        span.span_id = (index + 1).to_bytes(8, "big")
        span.attributes.extend(key_values(attributes))
    return request


def get_json(port: int, path: str) -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
