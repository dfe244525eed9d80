"""The bundled Collector configuration and its overlays, running in a real Collector on free ports."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan

from tests.wire.processes import COLLECTOR_CONFIG, free_port, listening, process, wait_until

FOLDER = COLLECTOR_CONFIG.parent / "collector"


@dataclass
class Collector:
    """A running Collector."""

    http: str
    """Host and port at which it takes OTLP over HTTP."""


@contextmanager
def collector(otelcol: str, folder: Path, *overlays: str, **variables: str) -> Iterator[Collector]:
    """Run a Collector with the bundled configuration and overlays, given by name, whose state is in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    grpc, http = free_port(), free_port()
    environment = {
        "COREVITAL_COLLECTOR_GRPC": f"127.0.0.1:{grpc}",
        "COREVITAL_COLLECTOR_HTTP": f"127.0.0.1:{http}",
        "COREVITAL_COLLECTOR_HEALTH": f"127.0.0.1:{free_port()}",
        "COREVITAL_COLLECTOR_METRICS_PORT": str(free_port()),
        "COREVITAL_COLLECTOR_QUEUE": str(folder / "queue"),
        **variables,
    }
    paths = [COLLECTOR_CONFIG, *(FOLDER / f"{overlay}.yaml" for overlay in overlays)]
    log = folder / "collector.log"
    with process([otelcol, *(f"--config={path}" for path in paths)], log, environment):
        wait_until(lambda: listening(grpc) and listening(http))
        yield Collector(f"127.0.0.1:{http}")
    assert not re.search("failed to (execute|eval)", log.read_text()), "conditions and statements fit what came"


def export(to: Collector, spans: Sequence[ReadableSpan], logs: Sequence[Any] = ()) -> None:
    """Send finished spans and log records, and be sure that they were taken."""
    results = [OTLPSpanExporter(f"http://{to.http}/v1/traces").export(spans)] if spans else []
    results += [OTLPLogExporter(f"http://{to.http}/v1/logs").export(logs)] if logs else []  # type: ignore[list-item]
    assert all(result.name == "SUCCESS" for result in results)
