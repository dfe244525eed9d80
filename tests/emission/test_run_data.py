"""Run data: what is packed reads back equal, in chunks that a batch of 512 keeps below 4 MiB."""

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from opentelemetry._logs import NoOpLogger
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.emission.run_data import (
    CHUNK_BYTES,
    MAX_CHUNKS,
    pack,
    run_columns,
    takes_logs,
)
from opentelemetry_instrumentation_corevital.npz import from_npz, to_npz
from tests.assessment.runs import add_layers, make_run
from tests.support import Telemetry, instrumented, padded_batch, prompt, tiny_model


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


@pytest.mark.parametrize("layers", [32, 80])
def test_the_largest_runs_fit_a_processors_queue(layers: int) -> None:
    run = add_layers(make_run(2000), layers, heads=layers)
    data, left_out = pack(run, content=False)
    assert len(data) <= MAX_CHUNKS * CHUNK_BYTES
    columns = from_npz(data)
    for name in ("entropy", "hidden_l2_norm", "hidden_nan", "attention_entropy", "collapsed_head_rate"):
        assert columns[name].shape == run.columns[name].shape
    assert set(left_out).isdisjoint(columns)
    assert set(left_out) | set(columns) >= set(run.columns)


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


def test_token_ids_come_with_content_only() -> None:
    model = tiny_model()
    with instrumented(capture="full", capture_message_content="span_only") as telemetry:
        result = model.generate(prompt(), max_new_tokens=6, do_sample=False, eos_token_id=None)
    (data,) = joined(telemetry.logs).values()
    assert from_npz(data)["tokens"].tolist() == result[0, 6:].tolist()


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
    from opentelemetry_instrumentation_corevital import recorder

    assert not takes_logs(NoOpLogger("x"))
    monkeypatch.setattr(recorder, "pack", lambda *args, **kwargs: pytest.fail("packed"))
    telemetry = Telemetry()
    with instrumented(tracer_provider=telemetry.tracer_provider, capture="full", logger_provider=None):
        tiny_model().generate(prompt(), max_new_tokens=4, do_sample=False)
    assert telemetry.spans
