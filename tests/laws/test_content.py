"""Law 4: with default settings no content leaves, in no carrier; switched on, it is there."""

import contextlib
import json
import logging
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.npz import from_npz
from opentelemetry_instrumentation_corevital.catalogue import prompt_columns, signals
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter
from tests.support.in_memory import Telemetry, instrumented
from tests.support.tiny_models import VOCABULARY, tiny_model

WORDS = [f"zq{index:03d}x" for index in range(VOCABULARY)]
"""A text for each token id that occurs nowhere else."""


NUMBERED = {
    "time_ns",
    *(each.name for each in signals.in_row() if each.stored == "int32"),
    *(each.name for each in prompt_columns.COLUMNS if each.dtype == "int32" and not each.content),
}
"""Columns of whole numbers that are times, counts and positions."""

DIGEST_BYTES = 16
"""Of a log record, in the store; no run data are so short."""


class Tokenizer:
    def decode(self, tokens: Any, skip_special_tokens: bool = False) -> str:
        return " ".join(WORDS[int(token)] for token in tokens)


def leaves(value: Any) -> Iterator[Any]:
    """Yield every value in a structure, JSON text opened."""
    if isinstance(value, str):
        yield value
        if value.startswith(("[", "{")):
            with contextlib.suppress(ValueError):  # a unit such as {token} is no JSON
                yield from leaves(json.loads(value))
    elif isinstance(value, dict):
        yield from value.keys()
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        yield value
        for item in value:
            yield from leaves(item)
    else:
        yield value


def everything_exported(telemetry: Telemetry, database: Path, caplog: pytest.LogCaptureFixture) -> list[Any]:
    spans = [json.loads(span.to_json()) for span in telemetry.span_exporter.get_finished_spans()]
    logs = [json.loads(data.to_json()) for data in telemetry.log_exporter.get_finished_logs()]
    data = telemetry.reader.get_metrics_data()
    metrics = json.loads(data.to_json()) if data else {}
    tables: list[Any] = []
    with sqlite3.connect(database) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            tables += [list(row) for row in connection.execute(f"SELECT * FROM {name}").fetchall()]
        vectors = [vector for (vector,) in connection.execute("SELECT vector FROM fingerprints").fetchall()]
    blobs = [cell for row in tables for cell in row if isinstance(cell, bytes) and len(cell) != DIGEST_BYTES]
    columns = [run_data_of(telemetry), *(from_npz(blob) for blob in blobs if blob not in vectors)]
    columns += [{"fingerprint": np.frombuffer(vector, "<f8")} for vector in vectors]
    arrays = [values.tolist() for each in columns for values in each.values()]
    return [*leaves(spans), *leaves(logs), *leaves(metrics), *leaves(tables), *leaves(arrays), *caplog.messages]


def run_data_of(telemetry: Telemetry) -> dict[str, Any]:
    """Return the columns of all run data that were emitted, by span and name."""
    chunks: dict[int, bytes] = {}
    for record in telemetry.logs:
        if record.event_name == "corevital.run.data":
            chunks[record.span_id] = chunks.get(record.span_id, b"") + record.body
    return {f"{span} {name}": column for span, data in chunks.items() for name, column in from_npz(data).items()}


def run(options: dict[str, Any], database: Path, *, error: bool = False) -> tuple[Telemetry, list[int], list[int]]:
    class Fails:
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if input_ids.shape[1] > 20 and error:
                raise RuntimeError(f"quotes {WORDS[int(input_ids[0, -1])]}")
            return scores

    telemetry = Telemetry()
    store, logs = SQLiteSpanExporter(str(database)), SQLiteLogExporter(str(database))
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(store))
    telemetry.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
    model = tiny_model(scale=2.0)
    ids = torch.arange(40, 60)[None]
    output: list[int] = []
    with instrumented(telemetry, **options):
        torch.manual_seed(1)
        arguments = {"max_new_tokens": 30, "do_sample": True, "tokenizer": Tokenizer(), "logits_processor": [Fails()]}
        try:
            output = model.generate(ids, **arguments, stop_strings=None)[0, 20:].tolist()
        except RuntimeError:
            assert error
        model.generate(ids.repeat(2, 1), max_new_tokens=5, do_sample=True, tokenizer=Tokenizer())
    store.shutdown()
    logs.shutdown()
    return telemetry, ids[0].tolist(), output


@pytest.mark.parametrize("capture", ["summary", "full", "on_risk"])
@pytest.mark.parametrize("error", [False, True], ids=["fine", "error"])
def test_by_default_nothing_of_the_texts_or_tokens_leaves(
    capture: str, error: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    telemetry, prompt, output = run({"capture": capture, "prompt_analysis": "full"}, tmp_path / "runs.db", error=error)
    found = everything_exported(telemetry, tmp_path / "runs.db", caplog)
    assert bool(run_data_of(telemetry)) == (capture == "full")
    texts = [value for value in found if isinstance(value, str)]
    assert any("corevital.risk.score" in text for text in texts), "the test looks at what is exported"
    assert not [text for text in texts if re.search(r"zq\d\d\dx", text)]
    for name, values in run_data_of(telemetry).items():
        if values.dtype.kind != "f":  # anything else could be ids
            assert name.partition(" ")[2] in NUMBERED, name
    for value in found:
        # Any list of integers that, as token ids, would spell a piece of the prompt or of the answer.
        if isinstance(value, list) and len(value) >= 3 and all(type(item) is int for item in value):
            for tokens in (prompt, output):
                spelled = ",".join(map(str, tokens))
                assert ",".join(map(str, value)) not in spelled
                assert spelled not in ",".join(map(str, value)) or not spelled


def test_switched_on_the_messages_are_on_the_span_and_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry, prompt, output = run({"capture_message_content": "SPAN_ONLY"}, tmp_path / "runs.db")
    attributes = next(span.attributes for span in telemetry.spans if "corevital.narrative" in (span.attributes or {}))
    assert attributes is not None
    (question,) = json.loads(str(attributes["gen_ai.input.messages"]))
    (answer,) = json.loads(str(attributes["gen_ai.output.messages"]))
    assert question == {"role": "user", "parts": [{"type": "text", "content": Tokenizer().decode(prompt)}]}
    assert answer["parts"][0]["content"] == Tokenizer().decode(output)
    assert answer["finish_reason"] in ("stop", "length")
    for data in telemetry.log_exporter.get_finished_logs():
        assert "zq" not in data.to_json()
    assert "zq" not in str(telemetry.metrics())
    assert not [message for message in caplog.messages if "zq" in message]


def test_in_events_the_messages_are_the_conventions_event_and_nowhere_else(tmp_path: Path) -> None:
    telemetry, prompt, output = run({"capture_message_content": "EVENT_ONLY"}, tmp_path / "runs.db")
    assert not [span for span in telemetry.spans if "zq" in span.to_json()]
    event, *_ = [record for record in telemetry.logs if record.event_name == semconv.CONTENT_EVENT]
    (question,), (answer,) = event.attributes["gen_ai.input.messages"], event.attributes["gen_ai.output.messages"]
    assert question["parts"][0] == {"type": "text", "content": Tokenizer().decode(prompt)}
    assert answer["parts"][0]["content"] == Tokenizer().decode(output)
    assert event.attributes["gen_ai.operation.name"] == "text_completion"
    assert event.attributes["gen_ai.usage.output_tokens"] == len(output)
    assert event.severity_number.value == 5, "DEBUG, as the conventions ask"
    spans = {span.context.span_id for span in telemetry.spans if span.context}
    assert event.span_id in spans
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        ((stored,),) = connection.execute(
            "SELECT attributes FROM logs WHERE event_name = ? AND span_id = ?",
            (semconv.CONTENT_EVENT, f"{event.span_id:016x}"),
        ).fetchall()
    assert json.dumps(json.loads(stored)["gen_ai.output.messages"]) == json.dumps([answer])


def test_switched_on_the_token_ids_are_in_the_run_data(tmp_path: Path) -> None:
    options = {"capture_message_content": "SPAN_ONLY", "capture": "full"}
    telemetry, _, output = run(options, tmp_path / "runs.db")
    found = run_data_of(telemetry).items()
    tokens = [values.tolist() for name, values in found if name.endswith(" tokens")]
    assert tokens[0] == output
    likely = [values for name, values in found if name.endswith(" alternative_token")]
    assert likely[0].shape == (len(output), 5)


def test_who_has_the_model_cannot_tell_the_prompt_but_where_content_is_on(tmp_path: Path) -> None:
    """From the surprisal of every token it can be told one after the other, so that this is content, too."""
    model, names = tiny_model(scale=2.0), set[str]()
    for mode in ("no_content", "span_only"):
        options = {"capture": "full", "prompt_analysis": "full", "capture_message_content": mode}
        telemetry, prompt, _ = run(options, tmp_path / f"{mode}.db")
        found = {name.split()[1]: values for name, values in run_data_of(telemetry).items()}
        names = {name for name in found if name.startswith("prompt_")} - names
    assert names == {"prompt_surprisal"}, "what content adds"
    told = prompt[:1]
    for value in found["prompt_surprisal"].tolist():
        with torch.no_grad():
            candidates = -model(torch.tensor([told])).logits[0, -1].log_softmax(-1) / np.log(2)
        told.append(int((candidates - value).abs().argmin()))
    assert told == prompt


def test_content_of_an_error_is_there_when_switched_on(tmp_path: Path) -> None:
    telemetry, _, _ = run({"capture_message_content": "span_only"}, tmp_path / "runs.db", error=True)
    failed = telemetry.spans[0]
    (event,) = [event for event in failed.events if event.name == "exception"]
    assert "quotes zq" in str((event.attributes or {})["exception.message"])
    assert "Traceback" in str((event.attributes or {})["exception.stacktrace"])
    assert "quotes zq" in str(failed.status.description)
