"""What a run weighs and costs on its way: in the program, through a Collector, in the receiver, in the store.

    python benchmarks/sizing.py --collector OTELCOL [RESULT.json] [--runs 300] [--steps 128]

Runs of 32 layers whose signals are noise (which compresses worse than a model's numbers) are judged and reported by
CoreVital's own code, with each setting of `ARMS`; what the SDK's exporters would send is weighed, plain and in
gzip, and stored. For two of them all runs then go through a real Collector into a real `corevital collect`, and what
the two processes had of processors is taken from /proc. Times are of processors, not of a clock. With the demo model
installed, one real run of each is weighed, too.
"""

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from store import LAYERS, noise  # of this folder
from wire import reported  # of this folder

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, semconv
from opentelemetry_instrumentation_corevital._internal.user_error import UserError
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.loading.models import load_model
from opentelemetry_instrumentation_corevital.run import Run
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter
from opentelemetry_instrumentation_corevital.store.database import open_database
from opentelemetry_instrumentation_corevital.store.maintenance import file_bytes

sys.path.append(str(Path(__file__).parent.parent))  # the servers of the tests

from tests.support.collect_process import collecting
from tests.support.collectors import collector
from tests.support.processes import wait_until

ARMS: dict[str, dict[str, Any]] = {
    "summary": {"capture": "summary"},
    "summary, no step events": {"capture": "summary", "step_events": "off"},
    "full, no run data": {"capture": "full", "run_data": "off"},
    "full": {"capture": "full"},
}
SENT = ("summary", "full")
GIVEN = (*("model", "decoding", "start_ns", "end_ns", "input_tokens", "tokens", "columns", "time_ns", "finish_reason"),)
BATCH = 32
SETTLED_S = 2.0
PAUSE_S = 0.1
"""Slower than the budget of bytes a second, which is not what is weighed."""
REAL_STEPS = 60


class Telemetry:
    """Spans and log records in memory, as the SDK hands them to exporters."""

    def __init__(self) -> None:
        self.spans, self.logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.tracing, self.logging = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
        self.tracing.add_span_processor(SimpleSpanProcessor(self.spans))
        self.logging.add_log_record_processor(SimpleLogRecordProcessor(self.logs))


def bodies(telemetry: Telemetry, *, of_one_run: bool = False) -> list[bytes]:
    """Return what the exporters would send of everything, in requests of their size; or of the first run alone."""
    spans, logs = telemetry.spans.get_finished_spans(), telemetry.logs.get_finished_logs()
    if of_one_run:  # all runs have the same numbers: together they would compress as no others do
        first = spans[0].context.span_id
        spans, logs = spans[:1], tuple(each for each in logs if each.log_record.span_id == first)
    found = [encode_spans(spans[at : at + BATCH]).SerializeToString() for at in range(0, len(spans), BATCH)]
    return found + [encode_logs(logs[at : at + BATCH]).SerializeToString() for at in range(0, len(logs), BATCH)]


def weighed(telemetry: Telemetry, runs: int, folder: Path) -> dict[str, float]:
    """Return bytes of a run: sent plain and in gzip, and in a store."""
    started = time.process_time()
    sent = bodies(telemetry)
    encoding = time.process_time() - started
    path, empty = folder / f"{time.monotonic_ns()}.db", folder / "empty.db"
    open_database(empty).close()
    spans, logs = SQLiteSpanExporter(path, retain=False), SQLiteLogExporter(path, retain=False)
    started = time.process_time()
    for exporter, items in (
        (spans, telemetry.spans.get_finished_spans()),
        (logs, telemetry.logs.get_finished_logs()),
    ):
        for at in range(0, len(items), BATCH):
            exporter.export(items[at : at + BATCH])
        exporter.force_flush()
    spans.shutdown()
    logs.shutdown()
    storing = time.process_time() - started
    assert spans.dropped == logs.dropped == 0
    return {
        "bytes_sent": round(sum(map(len, sent)) / runs),
        "bytes_sent_gzip": sum(len(gzip.compress(body, 6)) for body in bodies(telemetry, of_one_run=True)),
        "bytes_stored": round((file_bytes(path) - file_bytes(empty)) / runs),
        "ms_to_encode": round(1000 * encoding / runs, 2),
        "ms_to_store_in_process": round(1000 * storing / runs, 2),
    }


def made(options: dict[str, Any], runs: int, steps: int) -> tuple[Telemetry, float]:
    """Return the telemetry of so many runs and the processor's seconds that reporting them took."""
    settings = load_settings({**options, "baseline": "off"})
    telemetry = Telemetry()
    tracer, logger = telemetry.tracing.get_tracer(semconv.SCOPE_NAME), telemetry.logging.get_logger(semconv.SCOPE_NAME)
    shape, spent = noise(steps, 0), 0.0
    for _ in range(runs):
        run = Run(**{name: getattr(shape, name) for name in GIVEN})
        started = time.process_time()
        reported(run, settings, tracer, logger).end(run.end_ns)
        spent += time.process_time() - started
        time.sleep(PAUSE_S)
    sizes = {len(encode_spans([span]).SerializeToString()) // 100 for span in telemetry.spans.get_finished_spans()}
    assert max(sizes) - min(sizes) <= 1, "none was cut for its pace"
    return telemetry, spent


def processor_seconds(pid: int) -> float:
    """Return the time that a process has had from processors."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def sent_through(otelcol: str, folder: Path, telemetry: Telemetry, runs: int) -> dict[str, float]:
    """Send everything through a Collector into a receiver; return what each of the two spent on a run."""
    folder.mkdir()
    with (
        collecting(folder) as receiver,
        collector(otelcol, folder / "c", COREVITAL_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.http}") as running,
    ):
        time.sleep(SETTLED_S)
        before = processor_seconds(running.pid), receiver.processor_seconds
        url = f"http://{running.http}/v1"
        for exporter, items in (
            (OTLPSpanExporter(f"{url}/traces"), telemetry.spans.get_finished_spans()),
            (OTLPLogExporter(f"{url}/logs"), telemetry.logs.get_finished_logs()),
        ):
            for at in range(0, len(items), BATCH):
                assert exporter.export(items[at : at + BATCH]).name == "SUCCESS"
            exporter.shutdown()
        time.sleep(SETTLED_S)
        wait_until(lambda: running.waiting() == 0, 120)
        time.sleep(SETTLED_S)
        after = processor_seconds(running.pid), receiver.processor_seconds
        memory = {"receiver_peak_mib": round(receiver.peak / 2**20)}
        assert receiver.stop() == 0
    return {
        "collector_cpu_ms": round(1000 * (after[0] - before[0]) / runs, 2),
        "receiver_cpu_ms": round(1000 * (after[1] - before[1]) / runs, 2),
        **memory,
    }


def real(folder: Path) -> dict[str, Any] | None:
    """Return what runs of 60 tokens of a real model weigh; None where the demo model is not there."""
    try:
        model = load_model("smollm2", device="cpu")
    except UserError as error:
        print(f"the demo model was left out: {error}", file=sys.stderr)
        return None
    found: dict[str, Any] = {"model": "SmolLM2-135M-Instruct, 30 layers, 9 heads", "steps": REAL_STEPS}
    inputs = model.tokenizer("Tell me about the tides.", return_tensors="pt")
    for name in SENT:
        telemetry, instrumentor = Telemetry(), CoreVitalInstrumentor()
        instrumentor.instrument(
            tracer_provider=telemetry.tracing, logger_provider=telemetry.logging, baseline="off", **ARMS[name]
        )
        try:
            model.model.generate(**inputs, max_new_tokens=REAL_STEPS, min_new_tokens=REAL_STEPS, do_sample=False)
        finally:
            instrumentor.uninstrument()
        found[name] = weighed(telemetry, 1, folder)
    return found


def measured(otelcol: str, folder: Path, runs: int, steps: int) -> dict[str, Any]:
    """Return all figures."""
    arms: dict[str, Any] = {}
    for name, options in ARMS.items():
        telemetry, spent = made(options, runs, steps)
        arms[name] = {"ms_to_report": round(1000 * spent / runs, 2), **weighed(telemetry, runs, folder)}
        if name in SENT:
            arms[name] |= sent_through(otelcol, folder / name.replace(" ", "-"), telemetry, runs)
    return {"runs": runs, "steps": steps, "layers": LAYERS, "arms": arms, "real": real(folder)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--collector", required=True, help="the Collector's binary")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--steps", type=int, default=128)
    options = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(options.collector, Path(folder), options.runs, options.steps)
    figures |= {
        "command": f"python benchmarks/sizing.py --collector OTELCOL docs/results/sizing.json --runs {options.runs}",
        "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_average_before_and_after": [round(before, 1), round(os.getloadavg()[0], 1)],
    }
    text = json.dumps(figures, indent=2)
    if options.result:
        options.result.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
