"""A store with healthy runs and damaged ones, as a hostile sender or another program that writes the file makes them.

`python -m tests.support.hostile_stores FILE [RUNS]` writes one to look at.
"""

import io
import json
import pickle
import sqlite3
import struct
import sys
import time
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.store import StoreWriter
from opentelemetry_instrumentation_corevital.store.common_rows import source_of
from opentelemetry_instrumentation_corevital.store.run_data_rows import whole_run_data
from opentelemetry_instrumentation_corevital.store.span_rows import SpanFields, rows_of

STEERING = "\x1b[31mred\x1b]0;title\x07\x9b2J\x00\x7f\u202egnp.exe\u200b"
STEPS, LAYERS = 5, 3


def attributes(**changes: Any) -> dict[str, Any]:
    """Return attributes of a healthy run."""
    return {
        semconv.GEN_AI_OPERATION_NAME: "text_completion",
        semconv.GEN_AI_REQUEST_MODEL: "org/model",
        semconv.DECODING_STRATEGY: "greedy_search",
        semconv.STEPS_TOTAL: STEPS,
        semconv.RISK_SCORE: 0.25,
        semconv.RISK_LEVEL: "low",
        semconv.HEALTH_NAN: False,
        semconv.HEALTH_REPETITION_LOOP: False,
        semconv.WARNINGS: ["repetition_risk"],
        semconv.FINGERPRINT_PROMPT_HASH: "ab" * 32,
        semconv.GEN_AI_USAGE_INPUT_TOKENS: 5,
        semconv.GEN_AI_USAGE_OUTPUT_TOKENS: STEPS,
        semconv.GEN_AI_RESPONSE_FINISH_REASONS: ["length"],
        semconv.ENTROPY_MEAN: 1.5,
        semconv.SERIES_ENTROPY: [1.0, 2.5, 0.5, 1.0, 2.0],
        **changes,
    }


def columns(**changes: Any) -> dict[str, Any]:
    """Return columns of a healthy run's data."""
    return {
        "entropy": np.arange(STEPS, dtype=np.float32),
        "hidden_l2_norm": np.ones((STEPS, LAYERS), np.float32),
        **changes,
    }


def npy(
    shape: tuple[int, ...], descr: Any = "<f4", *, fortran: bool = False, body: bytes = b"", version: int = 1
) -> bytes:
    """Return an array's file with any header."""
    head = f"{{'descr': {descr!r}, 'fortran_order': {fortran!r}, 'shape': {shape!r}, }}".encode()
    head = head.ljust(-(-(len(head) + 11) // 64) * 64 - 11) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(head)) + head + body


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return file.getvalue()


def zeros(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """Return an archive with one array of zeros: a thousandth of what it declares."""
    size = int(np.prod(shape)) * np.dtype(descr).itemsize
    return archive(("entropy.npy", npy(shape, descr, body=bytes(size))))


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


GOOD = to_npz(columns())
_ENTROPY = npy((STEPS,), body=bytes(4 * STEPS))
_END = GOOD.rindex(b"PK\x05\x06")

SPANS: dict[str, dict[str, Any]] = {
    "steering model name": {semconv.GEN_AI_REQUEST_MODEL: STEERING},
    "model name of 3 MB": {semconv.GEN_AI_REQUEST_MODEL: "m" * 3_000_000},
    "model name of several lines": {semconv.GEN_AI_REQUEST_MODEL: "a\nError: all is lost\r\nb\tc"},
    "steering everywhere": {
        semconv.NARRATIVE: STEERING,
        semconv.WARNINGS: [STEERING],
        semconv.ERROR_TYPE: STEERING,
        semconv.RISK_LEVEL: STEERING,
        semconv.RISK_FACTORS: [STEERING],
        semconv.BLAME_LAYERS: [1],
        semconv.BLAME_REASONS: [STEERING],
        semconv.CAPTURE_ABSENT: json.dumps({STEERING: STEERING}),
        semconv.HEALTH_EVIDENCE: json.dumps({"nan_detected": {STEERING: STEERING}}),
        semconv.GEN_AI_RESPONSE_FINISH_REASONS: [STEERING],
        semconv.GEN_AI_INPUT_MESSAGES: json.dumps([{"parts": [{"content": STEERING}]}]),
        STEERING: STEERING,
    },
    "texts where numbers belong": {semconv.RISK_SCORE: "high", semconv.STEPS_TOTAL: "many", semconv.ENTROPY_MEAN: "x"},
    "numbers where texts belong": {semconv.GEN_AI_REQUEST_MODEL: 7, semconv.WARNINGS: 7, semconv.NARRATIVE: True},
    "lists and scalars exchanged": {semconv.SERIES_ENTROPY: 1.0, semconv.RISK_SCORE: [0.5], semconv.BLAME_LAYERS: "x"},
    "risk of 1e308": {semconv.RISK_SCORE: 1e308, semconv.EARLY_WARNING_FAILURE_RISK: -1e308},
    "entropy of 2**36": {semconv.ENTROPY_MEAN: 2**36, semconv.ENTROPY_MAX: 2000.0},
    "20 million steps": {semconv.STEPS_TOTAL: 20_000_000},
    "zeros over 262,144 steps": {semconv.STEPS_TOTAL: 2**18},
    "negative counts": {semconv.STEPS_TOTAL: -5, semconv.GEN_AI_USAGE_INPUT_TOKENS: -1, semconv.SEQUENCE_INDEX: -3},
    "integers of 64 bits": {semconv.GEN_AI_USAGE_OUTPUT_TOKENS: 2**63 - 1, semconv.MODEL_LAYER_COUNT: 2**63 - 1},
    "evidence that is nested": {semconv.HEALTH_EVIDENCE: json.dumps({"a": _nested(900)}), semconv.HEALTH_NAN: True},
    "evidence that is no object": {semconv.HEALTH_EVIDENCE: "[1]", semconv.CAPTURE_ABSENT: "}{", "x": _nested(90)},
    "evidence at negative steps": {semconv.HEALTH_EVIDENCE: json.dumps({"nan_detected": {"step": -(10**30)}})},
    "series of 100,000": {semconv.SERIES_ENTROPY: [0.5] * 100_000},
    "formula as a name": {"=cmd()|' /C calc'!A0": "=1+1", semconv.GEN_AI_REQUEST_MODEL: "=1+1"},
}
"""Kind -> attributes of the span, in place of healthy ones."""

EVENTS: dict[str, dict[str, Any]] = {
    "step with a text": {semconv.STEP_INDEX: 0, semconv.STEP_ENTROPY: "x"},
    "step with 2**36 bit": {semconv.STEP_INDEX: 0, semconv.STEP_ENTROPY: 2**36},
    "step with 2000 bit": {semconv.STEP_INDEX: 0, semconv.STEP_ENTROPY: 2000.0},
    "step of another kind": {semconv.STEP_INDEX: "x", semconv.STEP_WARNINGS: 5, STEERING: STEERING},
}
"""Kind -> attributes of the span's step event."""

DATA: dict[str, bytes] = {
    "pickle": pickle.dumps({"a": 1}),
    "objects": archive(("entropy.npy", npy((1,), "|O", body=pickle.dumps([{}])))),
    "bomb of 1 GiB": archive(("entropy.npy", npy((2**28,), body=bytes(2**26)))),
    "zeros that fit": zeros((2**18, 60)),
    "zeros over 262,144 steps": zeros((2**18,)),
    "terabytes by header": archive(("entropy.npy", npy((10**12,)))),
    "negative shape": archive(("entropy.npy", npy((-1,), body=bytes(4)))),
    "dimensions": archive(("hidden_l2_norm.npy", npy((5,), body=bytes(20))), ("entropy.npy", npy((5, 1, 1, 1)))),
    "unequal steps": to_npz(columns(surprisal=np.zeros(9, np.float32))),
    "layers that the model has not": to_npz(columns(hidden_max_abs=np.ones((STEPS, 99), np.float32))),
    "texts": archive(("entropy.npy", npy((5,), "<U3", body=bytes(60)))),
    "structures": archive(("entropy.npy", npy((1,), [("a", "<f4")], body=bytes(4)))),
    "beyond its range": to_npz(columns(entropy=np.array([3e38, -1, np.nan, np.inf, 1], np.float32))),
    "steering name": archive((f"{STEERING}.npy", _ENTROPY), ("=cmd().npy", _ENTROPY), ("x.txt", b"x")),
    "two of a name": GOOD[:0]
    + archive(("entropy.npy", _ENTROPY), ("surprisal.npy", _ENTROPY)).replace(b"surprisal.npy", b"entropy.npy\0\0"),
    "truncated": GOOD[: len(GOOD) // 2],
    "something behind it": GOOD + b"x" * 100,
    "a directory that lies": GOOD[: _END + 10] + struct.pack("<H", 9) + GOOD[_END + 12 :],
    "report that is none": to_npz(columns(report=np.frombuffer(b"[" * 200_000, np.uint8))),
    "report of other types": to_npz(
        columns(report=np.frombuffer(b'{"timeline":[1,null,{"token":5}],"extensions":{"corevital":3}}', np.uint8))
    ),
}
"""Kind -> run data."""

ROWS: dict[str, str] = {
    "texts in the columns": "UPDATE runs SET risk_score = 'x', output_tokens = 'y', nan_detected = 7, warnings = '}{'",
    "bytes in the columns": "UPDATE runs SET model = x'1b5b33316d', risk_level = x'ff', start_ns = x'00'",
    "text that is no UTF-8": "UPDATE runs SET model = CAST(x'ff1b5b' AS TEXT), narrative = CAST(x'c3' AS TEXT)",
    "attributes that are a list": "UPDATE spans SET attributes = '[1]'",
    "risk of 1e308 in its row": "UPDATE runs SET risk_score = 1e308, failure_risk = 9e999, start_ns = 'late'",
}
"""Kind -> what another program did to the run's rows."""

HEAVY = ("zeros over 262,144 steps", "zeros that fit", "bomb of 1 GiB")
"""Kinds that take seconds to write or to show."""
KINDS = tuple(dict.fromkeys((*SPANS, *EVENTS, *DATA, *ROWS)))


def span(number: int, more: dict[str, Any], events: tuple[dict[str, Any], ...] = ()) -> SpanFields:
    """Return a run's span; numbers tell them apart."""
    start = time.time_ns() - 10**9 * (number + 1)
    return SpanFields(
        f"{(number + 1) * 0x9E3779B1 % 2**32:08x}{number + 1:024x}",
        f"{number + 1:016x}",
        source_of({"service.name": "hostile"}),
        "text_completion",
        start,
        start + 10**9,
        attributes(**more),
        events=[(start, semconv.STEP_EVENT, each) for each in events],
    )


def fill(path: Path, runs: int = 1000, kinds: tuple[str, ...] = KINDS) -> dict[str, str]:
    """Write a store of so many runs, one of each kind among them; return kind -> trace id."""
    writer, ids = StoreWriter(path), dict[str, str]()
    every = max(1, runs // max(1, len(kinds)))
    places = {place * every: kind for place, kind in enumerate(kinds)}
    for number in range(max(runs, len(kinds))):
        kind = places.get(number)
        made = span(
            number, SPANS.get(kind or "", {}), (EVENTS[kind],) if kind in EVENTS else ({semconv.STEP_INDEX: 0},)
        )
        data = DATA[kind] if kind in DATA else GOOD if number % 10 == 1 else None
        records: list[Any] = [rows_of(made)]
        if data is not None:
            records.append(whole_run_data(made.trace_id, made.span_id, data))
        assert writer.store(records, timeout=60).durable
        if kind is not None:
            ids[kind] = made.trace_id
    writer.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        for kind, statement in ROWS.items():
            if kind in ids:
                connection.execute(f"{statement} WHERE trace_id = ?", (ids[kind],))
    return ids


if __name__ == "__main__":
    print(json.dumps(fill(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000), indent=1))
