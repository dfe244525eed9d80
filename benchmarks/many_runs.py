"""A store with as many runs as months of a fleet leave: real judged runs, multiplied with seeded variation.

    python benchmarks/many_runs.py FILE [--runs 100000] [--seed 7]

Runs of the run set (`runset/`) are judged by CoreVital's own judgements and emitted as spans of the size that busy
programs send. Each run of the store is one of them with another model, time, prompt, risk within its level, and
fingerprint nearby; ids, labels and interventions are drawn, too. The last one is long: 2,000 steps of 32 layers, with
its run data. The same seed makes the same runs, but for the time of now, which they end at.
"""

import argparse
import hashlib
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

HERE = Path(__file__).parent
sys.path[:0] = [path for path in (str(HERE),) if path not in sys.path]

from judged.replay import as_run  # noqa: E402
from runset.store import Sample, load  # noqa: E402
from store import LAYERS, emitted  # noqa: E402
from store import store as export  # noqa: E402

from opentelemetry_instrumentation_corevital import semconv  # noqa: E402
from opentelemetry_instrumentation_corevital.assessment.run_attributes import start_attributes  # noqa: E402
from opentelemetry_instrumentation_corevital.catalogue import prompt_names  # noqa: E402
from opentelemetry_instrumentation_corevital.config import load_settings  # noqa: E402
from opentelemetry_instrumentation_corevital.emission.judgements import default_judgements  # noqa: E402
from opentelemetry_instrumentation_corevital.emission.span import emit_run  # noqa: E402
from opentelemetry_instrumentation_corevital.store.database import open_database  # noqa: E402
from opentelemetry_instrumentation_corevital.store.span_rows import RUN_COLUMNS, SpanRows, span_rows  # noqa: E402
from opentelemetry_instrumentation_corevital.store.sqlite_labels import COPY_LABEL  # noqa: E402

DAYS: Final = 120
MODELS: Final = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 0.34,
    "meta-llama/Llama-3.1-8B-Instruct": 0.22,
    "mistralai/Mistral-7B-Instruct-v0.3": 0.16,
    "Qwen/Qwen3-4B": 0.12,
    "allenai/OLMo-2-1124-7B-Instruct": 0.08,
    "Qwen/Qwen3-0.6B": 0.05,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 0.02,
    "openai-community/gpt2": 0.01,
}
"""Name -> fraction of the runs."""
SERVICES: Final = ("assistant", "search", "batch")
EXPERIMENTS: Final = (None, None, None, "temperature-07", "temperature-10")
OUTCOMES: Final = ("correct", "correct", "incorrect", "off-topic")
LABELLED: Final = 0.02
PROMPTS: Final = 5_000
LONG_STEPS: Final = 2_000
LONG_LAYERS: Final = LAYERS
_SPAN_BYTES: Final = 6 * 1024
"""What spans shrink to that come fast."""
_TEMPLATES: Final = 240
_DAY_NS: Final = 86_400 * 10**9
_MARK: Final = "ab" * 32
"""Stands in a template's JSON for the prompt hash."""
_BATCH: Final = 5_000
_BOUNDS: Final = {"low": (0.0, 0.299), "medium": (0.3, 0.699), "high": (0.7, 1.0)}


@dataclass(frozen=True, slots=True)
class _Template:
    """A judged run as rows, and how long it took."""

    rows: SpanRows
    duration_ns: int
    risk: str
    """Its risk as its JSON has it."""


def _rows(sample: Sample, model: str, resource: Resource) -> SpanRows:
    """Judge a sample as a run of a model, and return its rows."""
    settings = load_settings({"capture": "summary", "baseline": "off"})
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    run = as_run(sample)
    run = replace(run, model=replace(run.model, name=model), end_ns=len(sample.tokens) * 20_000_000)
    span = provider.get_tracer(semconv.SCOPE_NAME).start_span(
        f"chat {model}", attributes=start_attributes(model, chat=True), start_time=0
    )
    for judgement in default_judgements(settings):
        judgement.on_run_ending(span, run)
    span.set_attribute(semconv.FINGERPRINT_PROMPT_HASH, _MARK)
    span.set_attribute(semconv.FINGERPRINT_PROMPT_HASH_SOURCE, "text")
    span.set_attribute(semconv.GEN_AI_USAGE_INPUT_TOKENS, sample.input_tokens)
    span.set_attribute(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, len(sample.tokens))
    span.set_attribute(semconv.STOP_REASON, "eos" if sample.stopped else "length")
    if sample.number % 31 == 0:
        span.set_attribute(semconv.INTERVENTION_KIND, "stop")
        span.set_attribute(semconv.STOP_REASON, "policy")
    emit_run(span, run, settings, _SPAN_BYTES)
    span.end(run.end_ns)
    return span_rows(exporter.get_finished_spans()[0])


def _templates(chance: np.random.Generator) -> list[_Template]:
    samples = load()
    chosen = chance.choice(len(samples), _TEMPLATES, replace=False)
    models = chance.choice(list(MODELS), _TEMPLATES, p=list(MODELS.values())).tolist()
    models[: len(MODELS)] = MODELS  # each at least once
    made = []
    for place, (number, model) in enumerate(zip(chosen.tolist(), models, strict=True)):
        resource = {"service.name": SERVICES[place % len(SERVICES)]}
        experiment = EXPERIMENTS[place % len(EXPERIMENTS)]
        if experiment is not None:
            resource[prompt_names.EXPERIMENT] = experiment
        rows = _rows(samples[number], model, Resource(resource))
        risk = json.loads(rows.span[10]).get(semconv.RISK_SCORE)
        made.append(_Template(rows, rows.span[7], json.dumps(risk)))
    return made


def _varied(template: _Template, chance: np.random.Generator, start_ns: int) -> SpanRows:
    """Return a template's rows with another identity, time, prompt and risk, and a fingerprint nearby."""
    rows, ids = template.rows, chance.bytes(24).hex()
    key = (ids[:32], ids[32:])
    prompt = hashlib.sha256(f"prompt {int(chance.zipf(1.3)) % PROMPTS}".encode()).hexdigest()
    run = dict(zip(RUN_COLUMNS, rows.run or (), strict=True))
    end_ns = start_ns + int(template.duration_ns * chance.uniform(0.7, 1.6))
    risk = run["risk_score"]
    if risk is not None:
        lowest, highest = _BOUNDS[run["risk_level"]]
        risk = round(float(np.clip(risk + chance.normal(0, 0.04), lowest, highest)), 4)
    run |= {"trace_id": key[0], "span_id": key[1], "start_ns": start_ns, "end_ns": end_ns}
    run |= {"risk_score": risk, "prompt_hash": prompt}
    text = rows.span[10].replace(_MARK, prompt)
    text = text.replace(f'"{semconv.RISK_SCORE}":{template.risk}', f'"{semconv.RISK_SCORE}":{json.dumps(risk)}')
    span = (*key, *rows.span[2:6], start_ns, end_ns, *rows.span[8:10], text, *rows.span[11:])
    events = tuple((*key, *event[2:]) for event in rows.events)
    fingerprint = rows.fingerprint
    if fingerprint is not None:
        vector = np.frombuffer(fingerprint[1]) + chance.normal(0, 0.02, len(fingerprint[1]) // 8)
        fingerprint = (fingerprint[0], np.clip(vector, 0, 1).tobytes())
    return replace(rows, span=span, events=events, run=tuple(run.values()), fingerprint=fingerprint)


def _starts(runs: int, chance: np.random.Generator, now_ns: int) -> Iterator[int]:
    """Yield when runs began: more of late, more by day than by night."""
    ages = DAYS * (1 - np.sqrt(chance.uniform(0, 1, runs)))
    hours = chance.normal(14, 4, runs) % 24
    starts = now_ns - (np.floor(ages) * _DAY_NS).astype(np.int64) - ((24 - hours) / 24 * _DAY_NS).astype(np.int64)
    yield from np.sort(starts).tolist()


def make(path: Path, runs: int = 100_000, seed: int = 7, *, long_run: bool = True) -> None:
    """Make the store; a file that is there already is gone on with."""
    chance = np.random.default_rng(seed)
    templates = _templates(chance)
    connection = open_database(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -262144")
    starts = list(_starts(runs, chance, time.time_ns()))
    for begin in range(0, runs, _BATCH):
        connection.execute("BEGIN IMMEDIATE")
        for start_ns in starts[begin : begin + _BATCH]:
            rows = _varied(templates[int(chance.integers(len(templates)))], chance, start_ns)
            rows.write(connection)
            if chance.random() < LABELLED:
                _label(connection, rows, chance)
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    if long_run:
        export(path, emitted(1, LONG_STEPS, "full", first=1))


def _label(connection: sqlite3.Connection, rows: SpanRows, chance: np.random.Generator) -> None:
    key, outcome = rows.span[:2], OUTCOMES[int(chance.integers(len(OUTCOMES)))]
    note: Any = "names the wrong year" if outcome == "incorrect" else None
    connection.execute("INSERT INTO labels VALUES (?, ?, ?, ?, ?)", (*key, outcome, note, rows.span[7]))
    connection.execute(COPY_LABEL, key)


def main() -> None:
    """Make the store and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    began = time.perf_counter()
    make(options.file, options.runs, options.seed)
    size = options.file.stat().st_size
    print(f"{options.runs} runs, {size / 1e6:.0f} MB, {time.perf_counter() - began:.0f} s: {options.file}")


if __name__ == "__main__":
    main()
