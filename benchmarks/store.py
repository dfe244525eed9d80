"""How fast, how small and how steady the store is.

    python benchmarks/store.py [RESULT.json] [--runs 100000] [--folder FOLDER]

Spans and log records are made first, by CoreVital's own emission, from runs whose signals are noise (which compresses
worse than a model's numbers); what is timed is the exporter, from the first span handed over until all is on disk. The
file with many runs holds calls of 48 tokens in mode summary, labelled and flagged here and there. Latencies are those
of a warm file, the median of nine. With the demo model installed, one real run of 500 tokens is weighed, too.
"""

import argparse
import json
import os
import platform
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.assessment.run_attributes import start_attributes
from opentelemetry_instrumentation_corevital.catalogue.signals import signal
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.emission.run_data import pack, records
from opentelemetry_instrumentation_corevital.emission.span import emit_run
from opentelemetry_instrumentation_corevital.run import (
    HIDDEN_SIGNALS,
    LOGIT_SIGNALS,
    NONFINITE_COUNTS,
    SELF_SIGNALS,
    Decoding,
    ModelInfo,
    Run,
)
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter, open_store
from opentelemetry_instrumentation_corevital.store.maintenance import file_bytes
from opentelemetry_instrumentation_corevital.store.sqlite_labels import set_label

LAYERS, HEADS, STEPS, SHORT = 32, 32, 500, 48
MODELS = tuple(f"org/model-{index}" for index in range(8))
REPEATS = 9

Telemetry = tuple[list[ReadableSpan], list[Any]]


def _in_range(chance: np.random.Generator, name: str, shape: tuple[int, ...]) -> Any:
    """Return noise within a signal's range: what is outside reads as absent."""
    declared = signal(name)
    if declared.highest is None:  # those of layers are far from 0, as a model's are
        free = chance.normal(5, 1, shape) if len(shape) > 1 else chance.exponential(1, shape)
        return free.astype(np.float32)
    return chance.uniform(0, min(declared.highest, 10.0), shape).astype(np.float32)


def noise(steps: int, seed: int) -> Run:
    """Return a run whose signals are noise."""
    chance = np.random.default_rng(seed)
    middle = LAYERS - 2 * (LAYERS // 3)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys((*LOGIT_SIGNALS, "hidden_cosine"), (steps,))
    shapes |= dict.fromkeys((*HIDDEN_SIGNALS, *SELF_SIGNALS), (steps, LAYERS))
    shapes["attention_previous_heads"] = (steps, middle, HEADS)
    columns: dict[str, Any] = {name: _in_range(chance, name, shape) for name, shape in shapes.items()}
    columns |= {name: np.zeros(steps, np.int32) for name in NONFINITE_COUNTS}
    columns |= {name: np.zeros((steps, LAYERS), np.float32) for name in ("hidden_nan", "hidden_inf")}
    start = time.time_ns()
    return Run(
        model=ModelInfo(name=MODELS[seed % len(MODELS)], architecture="LlamaForCausalLM", layer_count=LAYERS),
        decoding=Decoding(strategy="greedy_search", max_new_tokens=steps),
        start_ns=start,
        end_ns=start + steps * 20_000_000,
        input_tokens=30,
        tokens=np.zeros(steps, np.int32),
        columns=columns,
        time_ns=start + 20_000_000 * np.arange(steps),
        finish_reason="length",
    )


def emitted(runs: int, steps: int, capture: str, *, first: int = 0) -> Telemetry:
    """Return the spans and log records of runs, as the SDK hands them to exporters."""
    settings = load_settings({"capture": capture})
    spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
    tracing, logging = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    logging.add_log_record_processor(SimpleLogRecordProcessor(logs))
    tracer, logger = tracing.get_tracer(semconv.SCOPE_NAME), logging.get_logger(semconv.SCOPE_NAME)
    shape = noise(steps, first)  # the same numbers for all, since making them takes longer than storing them
    data, _ = pack(shape, content=False) if capture == "full" else (None, ())
    for index in range(first, first + runs):
        run, risk = shape, (index * 37 % 100) / 100
        span = tracer.start_span("chat", attributes=start_attributes(MODELS[index % 8], chat=True))
        span.set_attributes(
            {
                semconv.RISK_SCORE: risk,
                semconv.RISK_LEVEL: "high" if risk >= 0.7 else "medium" if risk >= 0.3 else "low",
                semconv.RISK_METHOD: "rules",
                semconv.FINGERPRINT_PROMPT_HASH: f"{index % 997:064x}",
                semconv.HEALTH_NAN: index % 1000 == 0,
                semconv.HEALTH_REPETITION_LOOP: index % 50 == 0,
                semconv.GEN_AI_USAGE_INPUT_TOKENS: 30,
                semconv.GEN_AI_USAGE_OUTPUT_TOKENS: steps,
                semconv.NARRATIVE: "The run generated tokens and ended by itself; its risk is low. " * 4,
            }
        )
        emit_run(span, run, settings, 32 * 1024 if capture == "summary" else 64 * 1024)
        if data is not None:
            for record in records(run, data, set_span_in_context(span)):
                logger.emit(record)
        span.end()
    return list(spans.get_finished_spans()), list(logs.get_finished_logs())


def store(path: Path, telemetry: Telemetry, *, batch: int = 64) -> float:
    """Export everything, in batches, and return the seconds until it is on disk; the queue is never overrun."""
    spans, logs = SQLiteSpanExporter(path, retain=False), SQLiteLogExporter(path, retain=False)
    started = time.perf_counter()
    for exporter, items in ((spans, telemetry[0]), (logs, telemetry[1])):
        for begin in range(0, len(items), batch):
            exporter.export(items[begin : begin + batch])
            if begin // batch % 32 == 31:  # as a batching processor waits: 2,048 items are its queue
                exporter.force_flush()
    spans.force_flush()
    seconds = time.perf_counter() - started
    spans.shutdown()
    logs.shutdown()
    assert spans.dropped == 0, spans.last_error
    return seconds


def ingest(folder: Path, capture: str, runs: int) -> dict[str, float]:
    """Return steps per second, bytes per step, and by how much the memory grew while writing."""
    path = folder / f"{capture}.db"
    telemetry = emitted(runs, STEPS, capture)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = store(path, telemetry)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "steps_per_second": round(runs * STEPS / seconds),
        "step_events_per_second": round(sum(len(span.events) for span in telemetry[0]) / seconds),
        "bytes_per_step": round(file_bytes(path) / runs / STEPS, 1),
        "memory_growth_mib": round(grown / 1024, 1),
    }


def median_ms(action: Callable[[], Any]) -> float:
    """Return the median milliseconds of an action, warm."""
    action()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times), 2)


def grow(path: Path, runs: int) -> Iterator[tuple[int, float, int]]:
    """Fill a file; yield runs so far, runs per second of the last part, and the file's bytes."""
    done, step = 0, 1000
    runs = max(runs, step)
    for target in sorted({max(step, target) for target in (10_000, runs // 2, runs) if target <= runs} | {step}):
        seconds = 0.0
        begun = done
        while done < target:
            seconds += store(path, emitted(step, SHORT, "summary", first=done))
            done += step
        yield done, (done - begun) / seconds, file_bytes(path)


def many(folder: Path, runs: int) -> dict[str, Any]:
    """Return how a file with many runs grows and answers."""
    path = folder / "many.db"
    growth = [
        {"runs": done, "runs_per_second": round(rate), "bytes_per_run": round(size / done)}
        for done, rate, size in grow(path, runs)
    ]
    with open_store(path) as found:
        for run in found.runs(limit=400)[::4]:
            set_label(path, run.trace_id, run.span_id, "correct")
    since = time.time_ns() - 3600 * 10**9
    filters: dict[str, dict[str, Any]] = {
        "newest": {},
        "model": {"model": MODELS[3]},
        "no such model": {"model": "none"},
        "risk above 0.9": {"risk_above": 0.9},
        "risk above 2 (none)": {"risk_above": 2.0},
        "level": {"level": "high"},
        "flag, frequent": {"flag": "repetition_loop_detected"},
        "flag, never raised": {"flag": "inf_detected"},
        "prompt hash": {"prompt_hash": f"{500:064x}"[:62]},
        "label": {"label": "correct"},
        "longer than an hour (none)": {"longer_than": 3600.0},
        "tokens above 1000 (none)": {"tokens_above": 1000},
        "since": {"since_ns": since},
        "all together": {
            "model": MODELS[2],
            "risk_above": 0.5,
            "flag": "repetition_loop_detected",
            "since_ns": since,
            "label": "none",
        },
        "all together (none)": {"model": MODELS[2], "risk_above": 2.0, "flag": "nan_detected", "tokens_above": 1000},
    }
    with open_store(path) as opened:
        lists = {name: median_ms(lambda given=given: opened.runs(limit=20, **given)) for name, given in filters.items()}
        middle = opened.runs(limit=runs // 2)[-1]
        show = median_ms(lambda: opened.run(middle.trace_id))

    def cold_list() -> None:
        with open_store(path) as again:
            again.runs()

    full = folder / "full.db"
    with open_store(full) as opened:
        columns = median_ms(lambda: opened.run("last").columns)
    return {
        "growth": growth,
        "list_ms": lists,
        "open_and_list_ms": median_ms(cold_list),
        "show_ms": show,
        "show_full_run_with_its_data_ms": columns,
    }


def real(folder: Path) -> dict[str, Any] | None:
    """Return the weight of one real run of 500 tokens; None where the demo model is not installed."""
    from opentelemetry_instrumentation_corevital.cli.app import run_command
    from opentelemetry_instrumentation_corevital.loading.models import load_model

    try:
        load_model("smollm2", device="cpu")
    except Exception as error:
        print(f"no real run: {error}", file=sys.stderr)
        return None
    weights: dict[str, Any] = {"model": "SmolLM2-135M-Instruct, 30 layers, 9 heads"}
    sys.stdout, out = open(os.devnull, "w"), sys.stdout  # noqa: SIM115
    for capture in ("full", "summary"):
        path = folder / f"real-{capture}.db"
        prompt = "Write a very long story about a lighthouse keeper."
        arguments = [
            "run",
            "-m",
            "smollm2",
            "-p",
            prompt,
            "--max-new-tokens",
            str(STEPS),
            "--repetition-penalty",
            "1.3",
        ]
        run_command([*arguments, "--capture", capture, "--db", str(path)])
        with open_store(path) as opened:
            tokens = opened.runs()[0].output_tokens
        with sqlite3.connect(path) as connection:
            connection.execute("VACUUM INTO ?", (f"{path}.small",))
        connection.close()
        empty = folder / "empty.db"
        if not empty.exists():
            from opentelemetry_instrumentation_corevital.store.database import open_database

            open_database(empty).close()
        used = Path(f"{path}.small").stat().st_size - file_bytes(empty)
        weights[capture] = {"steps": tokens, "bytes_per_step": round(used / (tokens or 1), 1)}
    sys.stdout = out
    return weights


def main() -> None:
    """Measure and print, and write the results where a file is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--folder", help="where the files are made; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        results = {
            "command": f"python benchmarks/store.py --runs {options.runs}",
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "cores": os.cpu_count(),
            "full": {"layers": LAYERS, "heads": HEADS, "steps": STEPS, **ingest(folder, "full", 60)},
            "summary": {"layers": LAYERS, "steps": STEPS, **ingest(folder, "summary", 300)},
            "many_runs": many(folder, options.runs),
            "real": real(folder),
        }
    text = json.dumps(results, indent=2)
    print(text)
    if options.result:
        Path(options.result).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
