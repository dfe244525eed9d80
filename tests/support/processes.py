"""Servers that the tests start: a Collector and Jaeger, on ports that are free."""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

COLLECTOR_CONFIG = Path(__file__).parent.parent.parent / "collector-config.yaml"


# Below the ports that systems give to outgoing connections (from 32768 or 49152 on), so that none of these takes a port
# before the server does for which it was chosen, and above the default ports of OTLP, Jaeger and the health check. Each
# process of the tests has a thousand, as long as there are no more than twelve.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 12
_PORTS = itertools.cycle(range(20_000 + 1_000 * _WORKER, 21_000 + 1_000 * _WORKER))


def free_port() -> int:
    """Return a port on which nothing listens; another one each time."""
    for port in itertools.islice(_PORTS, 1_000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_until(ready: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return what `ready` returns as soon as it is true; raise its last error or TimeoutError."""
    deadline, error = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if found := ready():
                return found
        except Exception as caught:
            error = caught
        time.sleep(0.1)
    raise error or TimeoutError(f"nothing within {seconds} s")


def listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


def collector_environment(state: Path) -> dict[str, str]:
    """Return variables that give a Collector ports and a folder of its own."""
    return {
        "COREVITAL_COLLECTOR_GRPC": f"127.0.0.1:{free_port()}",
        "COREVITAL_COLLECTOR_HTTP": f"127.0.0.1:{free_port()}",
        "COREVITAL_COLLECTOR_HEALTH": f"127.0.0.1:{free_port()}",
        "COREVITAL_COLLECTOR_METRICS_PORT": str(free_port()),
        "COREVITAL_COLLECTOR_QUEUE": str(state),
    }


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


@contextlib.contextmanager
def process(arguments: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        running = subprocess.Popen(
            arguments, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


class JaegerServer(NamedTuple):
    """Where a Jaeger listens."""

    http: str
    """Base URL of OTLP over HTTP."""
    grpc: str
    """Host and port of OTLP over gRPC."""
    query: str
    """Base URL of the query API."""


@contextlib.contextmanager
def jaeger_server(binary: str, log: Path) -> Iterator[JaegerServer]:
    """Run Jaeger."""
    http, grpc, query = free_port(), free_port(), free_port()
    command = [
        binary,
        f"--collector.otlp.http.host-port=127.0.0.1:{http}",
        f"--collector.otlp.grpc.host-port=127.0.0.1:{grpc}",
        f"--query.http-server.host-port=127.0.0.1:{query}",
        f"--query.grpc-server.host-port=127.0.0.1:{free_port()}",
        f"--admin.http.host-port=127.0.0.1:{free_port()}",
        f"--collector.http-server.host-port=127.0.0.1:{free_port()}",
        f"--collector.grpc-server.host-port=127.0.0.1:{free_port()}",
        f"--http-server.host-port=127.0.0.1:{free_port()}",
        f"--processor.jaeger-binary.server-host-port=127.0.0.1:{free_port()}",
        f"--processor.jaeger-compact.server-host-port=127.0.0.1:{free_port()}",
    ]
    with process(command, log, {"COLLECTOR_OTLP_ENABLED": "true"}):
        wait_until(lambda: listening(http) and listening(grpc) and listening(query))
        yield JaegerServer(f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}", f"http://127.0.0.1:{query}")
