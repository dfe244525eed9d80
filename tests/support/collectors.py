"""A real Collector with the configurations that are shipped, as a process of its own."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans

from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteMetricExporter, SQLiteSpanExporter
from tests.support.in_memory import Telemetry as InMemory
from tests.support.processes import COLLECTOR_CONFIG, collector_environment, get_json, process, wait_until
from tests.support.store_contents import TABLES, contents

ROOT = COLLECTOR_CONFIG.parent
FOLDER = ROOT / "collector"
# Files of the folder that configure something else.
_OTHERS = {"builder-config.yaml"}
OVERLAYS = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.name not in _OTHERS)


class Telemetry(NamedTuple):
    """What was recorded of some calls, as exporters take it."""

    spans: Any
    logs: Any
    metrics: Any


def telemetry_of(kept: InMemory) -> Telemetry:
    return Telemetry(kept.spans, kept.log_exporter.get_finished_logs(), kept.reader.get_metrics_data())


def store_directly(path: Path, telemetry: Telemetry) -> None:
    """Store with the exporters of this process."""
    for kind, given in zip((SQLiteSpanExporter, SQLiteLogExporter, SQLiteMetricExporter), telemetry, strict=True):
        exporter: Any = kind(path)
        exporter.export(given)
        exporter.shutdown()


def assert_same(path: Path, expected: Path) -> None:
    """Compare every table of two stores."""
    for table in TABLES:
        wanted = contents(expected, table)
        assert wanted or table == "span_links", f"{table} is empty: nothing was compared"
        assert contents(path, table) == wanted, table
    assert contents(path, "run_data_chunks") == []


@dataclass
class Collector:
    """A running Collector."""

    environment: dict[str, str]
    log: Path
    pid: int

    @property
    def grpc(self) -> str:
        return self.environment["COREVITAL_COLLECTOR_GRPC"]

    @property
    def http(self) -> str:
        return self.environment["COREVITAL_COLLECTOR_HTTP"]

    def exporters(self, transport: str = "grpc") -> tuple[Any, Any, Any]:
        """Return the SDK's exporters of spans, logs and metrics to it."""
        if transport == "grpc":
            return tuple(kind(self.grpc, insecure=True) for kind in (GrpcSpans, GrpcLogs, GrpcMetrics))  # type: ignore[return-value]
        url = f"http://{self.http}/v1"
        return HttpSpans(f"{url}/traces"), HttpLogs(f"{url}/logs"), HttpMetrics(f"{url}/metrics")

    def send(self, telemetry: Telemetry, transport: str = "grpc") -> None:
        """Send everything; it is taken."""
        for exporter, given in zip(self.exporters(transport), telemetry, strict=True):
            assert exporter.export(given).name == "SUCCESS", exporter
            exporter.shutdown()

    def export(self, spans: Sequence[Any], logs: Sequence[Any] = ()) -> None:
        """Send finished spans and log records over HTTP; they are taken."""
        to_spans, to_logs, _ = self.exporters("http")
        results = [exporter.export(given) for exporter, given in ((to_spans, spans), (to_logs, logs)) if given]
        assert all(result.name == "SUCCESS" for result in results)

    def post(self, body: bytes) -> int:
        """Send a request for spans; return its status."""
        request = Request(f"http://{self.http}/v1/traces", body, {"content-type": "application/x-protobuf"})
        try:
            with urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    def waiting(self) -> int:
        """Return how many bytes wait in its queues."""
        return int(sum(self.metric("otelcol_exporter_queue_size")))

    def metric(self, name: str) -> list[float]:
        """Return the values of one of its own metrics."""
        port = self.environment["COREVITAL_COLLECTOR_METRICS_PORT"]
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return [float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)]


def configs(*overlays: str | Path) -> list[str]:
    """Return the options that name the base and overlays of the folder, or other files."""
    files = [COLLECTOR_CONFIG, *(FOLDER / f"{each}.yaml" if isinstance(each, str) else each for each in overlays)]
    return [word for file in files for word in ("--config", str(file))]


def variables_without_default(path: Path) -> set[str]:
    """Return the variables that a configuration reads and that have to be set."""
    text = "\n".join(line.partition("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
    return set(re.findall(r"\$\{env:(\w+)\}", text))


@contextlib.contextmanager
def collector(otelcol: str, folder: Path, *overlays: str | Path, **variables: str) -> Iterator[Collector]:
    """Run a Collector whose state is in this folder: one after another, they have the same queues."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**collector_environment(folder / "state"), **variables}
    log = folder / f"collector-{len(list(folder.glob('collector-*.log')))}.log"
    with process([otelcol, *configs(*overlays)], log, environment) as running:

        def healthy() -> Any:
            assert running.poll() is None, log.read_text()
            return get_json(f"http://{environment['COREVITAL_COLLECTOR_HEALTH']}")

        wait_until(healthy)
        yield Collector(environment, log, running.pid)
    assert not re.search("failed to (execute|eval)", log.read_text()), "conditions and statements fit what came"
