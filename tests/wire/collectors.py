"""The bundled Collector configuration and its overlays, running in a real Collector on free ports."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan

from tests.wire.processes import COLLECTOR_CONFIG, free_port, listening, process, wait_until

OVERLAYS = COLLECTOR_CONFIG.parent / "collector"


@contextmanager
def collector(otelcol: str, folder: Path, *overlays: str | Path, **environment: str) -> Iterator[str]:
    """Run a Collector with the bundled configuration and overlays, given by name or path; yield where it takes OTLP."""
    grpc, http = free_port(), free_port()
    variables = {
        "COREVITAL_COLLECTOR_GRPC": f"127.0.0.1:{grpc}",
        "COREVITAL_COLLECTOR_HTTP": f"127.0.0.1:{http}",
        "COREVITAL_COLLECTOR_METRICS_PORT": str(free_port()),
        "COREVITAL_COLLECTOR_QUEUE": str(folder / "queue"),
        **environment,
    }
    paths = [COLLECTOR_CONFIG, *(OVERLAYS / overlay for overlay in overlays)]
    command = [otelcol, *(f"--config={path}" for path in paths)]
    log = folder / "collector.log"
    with process(command, log, variables):
        wait_until(lambda: listening(grpc) and listening(http))
        yield f"http://127.0.0.1:{http}"
    assert not re.search("failed to (execute|eval)", log.read_text()), "conditions and statements fit what came"


def validate(otelcol: str, *overlays: str, **environment: str) -> None:
    """Let the Collector look at a combination of overlays."""
    paths = [COLLECTOR_CONFIG, *(OVERLAYS / overlay for overlay in overlays)]
    found = subprocess.run(
        [otelcol, "validate", *(f"--config={path}" for path in paths)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    assert found.returncode == 0, found.stderr


def export(endpoint: str, spans: Sequence[ReadableSpan], logs: Sequence[Any] = ()) -> None:
    """Send finished spans and log records, and be sure that they were taken."""
    results = [OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces").export(spans)] if spans else []
    results += [OTLPLogExporter(endpoint=f"{endpoint}/v1/logs").export(logs)] if logs else []  # type: ignore[list-item]
    assert all(result.name == "SUCCESS" for result in results)
