"""What long runs weigh on the wire, whether all of it arrives, and what encoding them costs.

    python benchmarks/wire.py --collector OTELCOL [RESULT.json] [--runs 100] [--steps 2000]

Runs of 32 layers whose signals are noise (which compresses worse than a model's numbers) are judged and reported by
CoreVital's own code, in full, into the SDK's batch processors with their default sizes and OTLP over gRPC. A real
Collector with the repository's `collector-config.yaml` receives them and its file exporter writes down what came. One
run follows the other at once, each as soon as the one before has been reported: a model takes far longer.
"""

import argparse
import base64
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from opentelemetry._logs import Logger
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, Tracer, set_span_in_context
from store import LAYERS, noise  # of this folder

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.prompt import Prompt
from opentelemetry_instrumentation_corevital.assessment.run_attributes import start_attributes
from opentelemetry_instrumentation_corevital.config import Settings, load_settings
from opentelemetry_instrumentation_corevital.emission.instruments import Instruments
from opentelemetry_instrumentation_corevital.emission.judgements import default_judgements
from opentelemetry_instrumentation_corevital.instrumentation.reporting import CallReport
from opentelemetry_instrumentation_corevital.run import Run

sys.path.append(str(Path(__file__).parent.parent))  # the servers of the tests

from tests.support.processes import COLLECTOR_CONFIG, collector_environment, get_json, process, wait_until


class Timed:
    """An exporter that notes how long it works and on which thread."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self.seconds = 0.0
        self.threads: set[str] = set()

    def export(self, items: Any) -> Any:
        """Export and take the thread's own time."""
        started = time.thread_time()
        try:
            return self._exporter.export(items)
        finally:
            self.seconds += time.thread_time() - started
            self.threads.add(threading.current_thread().name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)


class ToldPrompt:
    """The prompt of every run, with content off."""

    def give_prompts(self, runs: Sequence[Run]) -> None:
        """Give the runs their prompt."""
        for run in runs:
            run.prompt = Prompt("Tell me everything.", "text", chat=False)

    def messages(self, _run: Run) -> dict[str, str]:
        """Return nothing: content is off."""
        return {}


def reported(run: Run, settings: Settings, tracer: Tracer, logger: Logger) -> Span:
    """Return the span of a run as CoreVital's recorder has it before its end: judged, with step events."""
    start = start_attributes(run.model.name, chat=False)
    span = tracer.start_span(f"text_completion {run.model.name}", attributes=start, start_time=run.start_ns)
    CallReport(
        settings=settings,
        tracer=tracer,
        instruments=Instruments(NoOpMeter("none")),
        logger=logger,
        judgements=default_judgements(settings),
        span=span,
        context=set_span_in_context(span, Context()),
        model=run.model,
        prompt_and_response=ToldPrompt(),  # type: ignore[arg-type]  # no call has made these runs
    ).write([run], None)
    span.set_attributes(start)
    return span


def send(endpoint: str, runs: int, steps: int) -> tuple[dict[str, Any], InMemorySpanExporter]:
    """Report runs to an OTLP endpoint; return what it took, and the spans."""
    settings = load_settings({"capture": "full", "baseline": "off"})
    spans = Timed(OTLPSpanExporter(endpoint=endpoint, insecure=True))
    logs = Timed(OTLPLogExporter(endpoint=endpoint, insecure=True))
    memory, tracing, logging = InMemorySpanExporter(), TracerProvider(), LoggerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(memory))
    tracing.add_span_processor(BatchSpanProcessor(spans))
    logging.add_log_record_processor(BatchLogRecordProcessor(logs))
    tracer, logger = tracing.get_tracer(semconv.SCOPE_NAME), logging.get_logger(semconv.SCOPE_NAME)
    shape = noise(steps, 0)
    reporting = []
    for _ in range(runs):
        run = type(shape)(**{name: getattr(shape, name) for name in _GIVEN})
        started = time.perf_counter()
        span = reported(run, settings, tracer, logger)
        span.end(run.end_ns)
        reporting.append(time.perf_counter() - started)
    tracing.shutdown()
    logging.shutdown()
    finished = memory.get_finished_spans()
    encoded = [len(encode_spans([span]).SerializeToString()) for span in finished]
    started = time.perf_counter()
    for span in finished[:10]:
        encode_spans([span]).SerializeToString()
    return {
        "span_bytes": {"median": statistics.median(encoded), "largest": max(encoded), "smallest": min(encoded)},
        "attributes": max(len(span.attributes or ()) for span in finished),
        "ms_on_the_callers_thread": round(1000 * statistics.median(reporting), 1),
        "ms_to_encode_a_span": round(100 * (time.perf_counter() - started), 2),
        "exporter_cpu_ms_per_run": round(1000 * (spans.seconds + logs.seconds) / runs, 1),
        "exporter_threads": sorted(spans.threads | logs.threads),
    }, memory


_GIVEN = (
    *("model", "decoding", "start_ns", "end_ns", "input_tokens", "tokens", "columns", "time_ns", "finish_reason"),
)


def collected(file: Path) -> tuple[set[str], dict[str, dict[int, bytes]], dict[str, tuple[int, str]]]:
    """Return the ids of the spans that arrived, each span's chunks of run data, and their size and digest."""
    ids: set[str] = set()
    chunks: dict[str, dict[int, bytes]] = defaultdict(dict)
    announced: dict[str, tuple[int, str]] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line)
            for span in _items(message, "resourceSpans", "scopeSpans", "spans"):
                ids.add(span["spanId"])
            for record in _items(message, "resourceLogs", "scopeLogs", "logRecords"):
                if record["eventName"] != semconv.RUN_DATA_EVENT:
                    continue
                said = {item["key"]: item["value"] for item in record["attributes"]}
                index = int(said[semconv.RUN_DATA_CHUNK_INDEX]["intValue"])
                chunks[record["spanId"]][index] = base64.b64decode(record["body"]["bytesValue"])
                announced[record["spanId"]] = (
                    int(said[semconv.RUN_DATA_CHUNK_COUNT]["intValue"]),
                    said[semconv.RUN_DATA_SHA256]["stringValue"],
                )
    return ids, chunks, announced


def _items(message: dict[str, Any], outer: str, scope: str, item: str) -> Iterator[dict[str, Any]]:
    for resource in message.get(outer, ()):
        for scoped in resource[scope]:
            yield from scoped[item]


def through_collector(otelcol: str, folder: Path, runs: int, steps: int) -> dict[str, Any]:
    """Send runs through a real Collector; return what they weigh and how many of them came through whole."""
    file = folder / "received.jsonl"
    overlay = {
        "exporters": {"file": {"path": str(file), "flush_interval": "100ms"}},
        "service": {"pipelines": {signal: {"exporters": ["file"]} for signal in ("traces", "metrics", "logs")}},
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    environment = collector_environment(folder / "state")
    grpc = environment["COREVITAL_COLLECTOR_GRPC"]
    command = [otelcol, "--config", str(COLLECTOR_CONFIG), "--config", str(folder / "overlay.yaml")]
    with process(command, folder / "collector.log", environment):
        wait_until(lambda: get_json(f"http://{environment['COREVITAL_COLLECTOR_HEALTH']}"))
        figures, memory = send(grpc, runs, steps)
        time.sleep(2)
    ids, chunks, announced = collected(file)
    whole = 0
    for span, (count, digest) in announced.items():
        data = b"".join(chunks[span][index] for index in sorted(chunks[span]))
        whole += len(chunks[span]) == count and hashlib.sha256(data).hexdigest() == digest
    sent = {f"{span.context.span_id:016x}" for span in memory.get_finished_spans() if span.context}
    return {
        "runs": runs,
        "steps": steps,
        "layers": LAYERS,
        "spans_received": len(ids & sent),
        "run_data_received_whole": whole,
        "run_data_bytes": statistics.median(sum(map(len, parts.values())) for parts in chunks.values()),
        **figures,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--collector", required=True, help="the Collector's binary")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = through_collector(options.collector, Path(folder), options.runs, options.steps)
    figures["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = json.dumps(figures, indent=2)
    if options.result:
        options.result.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
