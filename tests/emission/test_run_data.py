"""Run data: what is packed reads back equal, in chunks that a batch of 512 keeps below 4 MiB."""

import hashlib
import io
import json
from typing import Any

import numpy as np
import pytest
from opentelemetry._logs import NoOpLogger
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs

from opentelemetry_instrumentation_corevital import last_runs, semconv
from opentelemetry_instrumentation_corevital._internal.npz import (
    ENTRY_BYTES,
    entry_bytes,
    estimated_bytes,
    from_npz,
    to_npz,
)
from opentelemetry_instrumentation_corevital.emission import run_data
from opentelemetry_instrumentation_corevital.emission.run_data import (
    CHUNK_BYTES,
    MAX_RECORDS,
    most_bytes,
    pack,
    records,
    run_columns,
    takes_logs,
)
from opentelemetry_instrumentation_corevital.run import NONFINITE_COUNTS
from tests.support.in_memory import Telemetry, instrumented
from tests.support.made_runs import add_layers, make_run
from tests.support.tiny_models import padded_batch, prompt, tiny_model


def joined(logs: list[Any]) -> dict[tuple[int, int], bytes]:
    """Return each span's data from its log events, by trace and span id."""
    data: dict[tuple[int, int], dict[int, bytes]] = {}
    for record in logs:
        if record.event_name == semconv.RUN_DATA_EVENT:
            chunks = data.setdefault((record.trace_id, record.span_id), {})
            chunks[record.attributes[semconv.RUN_DATA_CHUNK_INDEX]] = record.body
    return {key: b"".join(chunks[index] for index in sorted(chunks)) for key, chunks in data.items()}


def test_columns_read_back_equal() -> None:
    run = add_layers(make_run(50), 6)
    columns = run_columns(run, content=False)
    data = to_npz(columns)
    found = from_npz(data)
    assert found.keys() == columns.keys()
    for name, values in columns.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values, equal_nan=values.dtype.kind == "f"), name
    assert to_npz(columns) == data, "the same columns, the same bytes"
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        assert set(archive.files) == set(columns)
    assert found["hidden_l2_norm"].dtype == np.float32
    assert found["attention_entropy"].dtype == np.float16
    assert found["hidden_nan"].dtype == np.int32


@pytest.mark.parametrize("data", [b"", b"not a zip", to_npz({"a": np.ones(3)})[:-20]])
def test_damaged_data_are_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an \.npz archive"):
        from_npz(data)


def test_python_objects_are_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        to_npz({"a": np.array([{}], object)})
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        from_npz(buffer.getvalue())


def attempts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the size of each archive that `pack` makes."""
    sizes: list[int] = []

    def make(columns: Any) -> bytes:
        data = to_npz(columns)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(run_data, "to_npz", make)
    return sizes


PER_STEP = {"time_ns", "entropy", "surprisal", "margin", "top1_prob", "topk_mass", "hidden_cosine", *NONFINITE_COUNTS}


@pytest.mark.parametrize(
    ("steps", "layers", "heads", "sequences", "kept"),
    [
        (200, 32, 32, 1, {"attention_previous_heads"}),
        (2000, 32, 32, 1, {"attention_previous_heads"}),
        (2000, 80, 80, 1, {"hidden_l2_norm", "attention_entropy", "attention_entropy_std"}),
        (16_000, 80, 1, 1, {"hidden_l2_norm", "hidden_nan", "attention_entropy", "collapsed_head_rate"}),
        (2000, 32, 8, 16, {"hidden_l2_norm", "hidden_nan", "attention_entropy", "collapsed_head_rate"}),
        (2000, 80, 8, 16, {"hidden_l2_norm", "hidden_nan"}),
        (500, 32, 8, 300, PER_STEP),
    ],
)
def test_the_data_of_all_of_a_calls_sequences_fit_a_processors_queue(
    steps: int, layers: int, heads: int, sequences: int, kept: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = attempts(monkeypatch)
    run = add_layers(make_run(steps), layers, heads=heads)
    run.sequence_count = sequences
    data, left_out = pack(run, content=False)
    assert data is not None
    assert 1 <= len(tried) <= 2, "compressing is most of the work"
    with_verdict = len(list(records(run, data, Context()))) + 1
    assert with_verdict * sequences <= MAX_RECORDS
    columns = from_npz(data)
    assert columns.keys() >= kept | PER_STEP
    for name, values in columns.items():
        assert len(values) == steps
        assert name == "time_ns" or values.shape == run.columns[name].shape
    assert set(left_out) == {"time_ns", *run.columns} - columns.keys()


def test_what_was_estimated_too_small_fits_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = attempts(monkeypatch)
    monkeypatch.setattr(run_data, "estimated_bytes", lambda values: 1)
    run = add_layers(make_run(500), 32)
    run.sequence_count = 32
    data, left_out = pack(run, content=False)
    assert data is not None
    assert len(tried) == 2
    assert tried[1] <= most_bytes(32) < tried[0]
    assert from_npz(data).keys() >= {"hidden_l2_norm", *PER_STEP}
    assert left_out


@pytest.mark.parametrize("sequences", [300, 1000, 5000])
def test_nothing_is_sent_where_not_even_a_number_per_step_fits(sequences: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = attempts(monkeypatch)
    run = add_layers(make_run(2000, entropy=np.random.default_rng(0).uniform(0, 9, 2000)), 2)
    for name in ("surprisal", "margin", "top1_prob"):
        run.columns[name] = run.columns["entropy"].copy()
    run.sequence_count = sequences
    data, left_out = pack(run, content=False)
    assert data is None
    assert set(left_out) == {"time_ns", *run.columns}
    assert not tried


def test_an_arrays_size_is_estimated_from_samples() -> None:
    rng = np.random.default_rng(0)
    noise, zeros = rng.normal(size=(4000, 80)).astype(np.float32), np.zeros((4000, 80), np.float32)
    looked_at = np.where(np.arange(4000)[:, None] % 8, np.nan, noise).astype(np.float16)
    for values in (noise, zeros, looked_at, noise[::2, ::2], noise[:3], noise[:0], np.zeros(0, np.int64)):
        actual = len(to_npz({"a": values}))
        assert abs(estimated_bytes(values) - actual) <= ENTRY_BYTES + 0.05 * actual + 0.005 * values.nbytes
        assert actual <= entry_bytes(to_npz({"a": values}))["a"]
        assert actual <= values.nbytes * 1.001 + ENTRY_BYTES


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"capture": "full"}, True),
        ({"capture": "summary"}, False),
        ({"capture": "summary", "run_data": "on"}, True),
        ({"capture": "full", "run_data": "off"}, False),
        ({"capture": "on_risk"}, False),
        ({"capture": "on_risk", "risk_threshold": 0.0}, True),
    ],
)
def test_who_has_run_data(options: dict[str, Any], expected: bool) -> None:
    model = tiny_model()
    with instrumented(**options) as telemetry:
        model.generate(prompt(), max_new_tokens=6, do_sample=False)
    assert bool(joined(telemetry.logs)) == expected


def test_every_sequence_has_its_own_with_what_a_router_looks_at() -> None:
    model = tiny_model()
    with instrumented(capture="full") as telemetry:
        model.generate(**padded_batch(), max_new_tokens=90, do_sample=False, eos_token_id=None)
    sequences = [span for span in telemetry.spans if "corevital.sequence.index" in (span.attributes or {})]
    data = joined(telemetry.logs)
    assert len(data) == len(sequences) == 3
    for span in sequences:
        assert span.context is not None
        columns = from_npz(data[span.context.trace_id, span.context.span_id])
        assert columns["entropy"].shape == (90,)
        assert columns["hidden_l2_norm"].shape == (90, 2)
        assert "tokens" not in columns, "token ids are content"
        mean = (span.attributes or {})["corevital.entropy.mean"]
        assert float(columns["entropy"].astype(np.float64).mean()) == pytest.approx(mean)
    for record in telemetry.logs:
        if record.event_name == semconv.RUN_DATA_EVENT:
            whole = data[record.trace_id, record.span_id]
            assert record.attributes[semconv.RUN_DATA_SHA256] == hashlib.sha256(whole).hexdigest()
            assert record.attributes[semconv.RUN_DATA_SIZE] == len(whole)
            assert record.attributes["corevital.risk.level"] in ("low", "medium", "high")
            assert record.attributes["corevital.health.nan_detected"] is False
            assert len(record.body) <= CHUNK_BYTES
            for name in record.attributes:
                assert ("event attribute", name) in semconv.DEFINITIONS or ("attribute", name) in semconv.DEFINITIONS


@pytest.mark.parametrize("most", [3, 12, 1792])
def test_the_verdicts_come_first_and_a_call_keeps_to_its_records(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_data, "MAX_RECORDS", most)
    model = tiny_model(num_hidden_layers=3)
    with instrumented(capture="full") as telemetry:
        model.generate(**padded_batch(), max_new_tokens=240, do_sample=True, eos_token_id=None)
    assert len(telemetry.logs) <= most
    events: dict[int, list[str]] = {}
    for record in telemetry.logs:
        events.setdefault(record.span_id, []).append(record.event_name)
    assert len(events) == 3
    for names in events.values():
        assert names[0] == semconv.EVALUATION_EVENT
        assert names.count(semconv.RUN_DATA_EVENT) == len(names) - 1
    attributes = [
        span.attributes or {} for span in telemetry.spans if "corevital.steps.total" in (span.attributes or {})
    ]
    assert len(attributes) == 3
    reasons = [json.loads(str(each.get("corevital.capture.absent", "{}"))).get("run_data") for each in attributes]
    if most == 3:
        assert reasons == ["left out for its size: all of it"] * 3
        assert len(telemetry.logs) == 3, "the verdicts"
    elif most == 12:
        assert all(reason and "attention_previous_heads" in reason and "top1_prob" not in reason for reason in reasons)
        assert len(joined(telemetry.logs)) == 3
    else:
        assert reasons == [None] * 3


def test_token_ids_come_with_content_only() -> None:
    model = tiny_model()
    with instrumented(capture="full", capture_message_content="span_only") as telemetry:
        result = model.generate(prompt(), max_new_tokens=6, do_sample=False, eos_token_id=None)
    (data,) = joined(telemetry.logs).values()
    found, (run,) = from_npz(data), last_runs()
    assert found["tokens"].tolist() == result[0, 6:].tolist()
    assert run.alternatives is not None
    assert np.array_equal(found["alternative_token"], run.alternatives.tokens)
    assert found["alternative_token"][:, 0].tolist() == found["tokens"].tolist(), "greedy"


@pytest.mark.parametrize("content", ["no_content", "span_only"])
def test_alternatives_of_a_run_in_full_are_there_without_their_ids(content: str) -> None:
    with instrumented(capture="full", capture_message_content=content) as telemetry:
        tiny_model().generate(prompt(), max_new_tokens=6, do_sample=False, eos_token_id=None)
    (data,) = joined(telemetry.logs).values()
    found = from_npz(data)
    assert found["alternative_probability"].shape == (6, 5)
    assert found["alternative_probability"].dtype == np.float32
    np.testing.assert_allclose(found["alternative_probability"][:, 0], found["top1_prob"], rtol=1e-6)
    assert ("alternative_token" in found) == (content == "span_only")


def test_a_batch_of_chunks_is_below_what_grpc_takes() -> None:
    telemetry = Telemetry()
    model = tiny_model(num_hidden_layers=12)
    with instrumented(telemetry, capture="full"):
        model.generate(prompt(), max_new_tokens=200, do_sample=True, eos_token_id=None)
    full = [
        data
        for data in telemetry.log_exporter.get_finished_logs()
        if data.log_record.event_name == semconv.RUN_DATA_EVENT and len(data.log_record.body) == CHUNK_BYTES
    ]
    assert full
    assert encode_logs((full * 512)[:512]).ByteSize() < 4 * 1024 * 1024


def test_nothing_is_packed_where_logs_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry_instrumentation_corevital.instrumentation import reporting

    assert not takes_logs(NoOpLogger("x"))
    monkeypatch.setattr(reporting, "pack", lambda *args, **kwargs: pytest.fail("packed"))
    telemetry = Telemetry()
    with instrumented(tracer_provider=telemetry.tracer_provider, capture="full", logger_provider=None):
        tiny_model().generate(prompt(), max_new_tokens=4, do_sample=False)
    assert telemetry.spans
