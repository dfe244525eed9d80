"""What leaves fits its declared type, whatever a caller, a config or a judgement of somebody else's gives."""

import json
import logging
import math
import sqlite3
from contextlib import closing, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital._internal.values import integer, number, plain, text, texts
from opentelemetry_instrumentation_corevital.catalogue.fitting import fitting, unfit
from opentelemetry_instrumentation_corevital.instrumentation.call_context import PromptHint, prompt_hint
from opentelemetry_instrumentation_corevital.run import EarlyWarning, Risk
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, open_store
from opentelemetry_instrumentation_corevital.store.otlp_json import read_lines, split, to_line
from tests.support.described_spans import assert_described
from tests.support.in_memory import Telemetry, instrumented
from tests.support.spans import make_spans, rows
from tests.support.tiny_models import padded_batch, prompt, tiny_model

SURROGATE = "cut \ud83d\x00 off"


class Colour(StrEnum):
    RED = "red"


class Name(str):
    def __str__(self) -> str:
        return "another"


class Words:
    def decode(self, tokens: Any, **_: Any) -> str:
        del tokens
        return SURROGATE


def assert_encodes(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """All of it becomes OTLP, and no encoder has anything to say about it."""
    spans, logs = telemetry.spans, telemetry.log_exporter.get_finished_logs()
    data = telemetry.reader.get_metrics_data()
    assert data is not None
    with caplog.at_level(logging.WARNING):
        encoded = encode_spans(spans)
        encode_logs(logs).SerializeToString()
        encode_metrics(data).SerializeToString()
    assert not caplog.records
    (group,) = encoded.resource_spans
    for span, sent in zip(spans, group.scope_spans[0].spans, strict=True):
        assert_described(span)
        assert {each.key for each in sent.attributes} == set(span.attributes or {})
    for record in telemetry.logs:
        for name, value in (record.attributes or {}).items():
            if not name.endswith(".messages"):
                assert fitting({name: value}) == {name: list(value) if isinstance(value, tuple) else value}


@pytest.mark.parametrize(
    ("options", "expected", "left_out"),
    [
        ({"max_length": int(1e30)}, {}, {"max_tokens"}),  # tokenizer.model_max_length of many models
        ({"max_length": math.inf}, {}, set()),
        ({"max_new_tokens": np.int64(4)}, {"max_tokens": 4}, set()),
        ({"max_new_tokens": torch.tensor(4)}, {"max_tokens": 4}, set()),
        ({"do_sample": True, "top_k": 10**25, "max_new_tokens": 4}, {"temperature": 1.0}, {"top_k"}),
        ({"do_sample": True, "top_k": 7, "max_new_tokens": 4}, {"top_k": 7}, set()),
        ({"do_sample": True, "top_k": 7.0, "max_new_tokens": 4}, {"top_k": 7}, set()),
        ({"do_sample": True, "temperature": 2, "max_new_tokens": 4}, {"temperature": 2.0}, set()),
        ({"do_sample": True, "temperature": torch.tensor(2.0), "max_new_tokens": 4}, {"temperature": 2.0}, set()),
        ({"do_sample": True, "top_p": np.float32(0.5), "max_new_tokens": 4}, {"top_p": 0.5}, set()),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_a_call_asks_for_fits(
    options: dict[str, Any], expected: dict[str, Any], left_out: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model()

    def enough(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((len(ids),), ids.shape[1] >= 10)

    with instrumented(capture="full") as telemetry:
        with suppress(ValueError):  # transformers refuses some of them
            model.generate(prompt(), stopping_criteria=[enough], **options)
        assert_encodes(telemetry, caplog)
    attributes = telemetry.span.attributes or {}
    asked = {f"gen_ai.request.{name}": value for name, value in expected.items()}
    assert {name: attributes.get(name) for name in asked} == asked
    missing = {f"gen_ai.request.{name}" for name in left_out}
    assert missing.isdisjoint(attributes)
    absent = json.loads(str(attributes["corevital.capture.absent"]))
    assert {name for name, why in absent.items() if "does not fit" in why} == missing


@pytest.mark.parametrize(
    ("seed", "told"), [(-7, -7), (np.int64(7), 7), (torch.tensor(7), 7), (2**64 - 1, None), (True, None), ("7", None)]
)
def test_a_seed_fits_or_is_left_out(seed: Any, told: int | None, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    with instrumented() as telemetry, prompt_hint(PromptHint("text", seed=seed)):
        model.generate(prompt(), max_new_tokens=2, do_sample=False)
        assert_encodes(telemetry, caplog)
    assert (telemetry.span.attributes or {}).get("gen_ai.request.seed") == told
    assert "corevital.fingerprint.run_hash" in (telemetry.span.attributes or {}), "an odd seed costs no judgement"


def test_what_a_config_says_of_its_model_fits(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    model.config._name_or_path = "/models/mod\ud800el"
    model.config.num_attention_heads = 2**70
    model.config._commit_hash = Path("a/path")
    model.config._attn_implementation_internal = "sdpa"
    with instrumented(capture="full", capture_message_content="span_and_event", run_data="on") as telemetry:
        with prompt_hint(PromptHint(SURROGATE, tokenizer=Words())):
            model.generate(prompt(), max_new_tokens=4, do_sample=False)
            with pytest.raises(ZeroDivisionError):
                model.generate(prompt(), logits_processor=[_fails], max_new_tokens=4)
        assert_encodes(telemetry, caplog)
    attributes = telemetry.spans[0].attributes or {}
    assert attributes["gen_ai.request.model"] == "mod?el"
    assert "corevital.model.head_count" not in attributes
    answer = json.loads(str(attributes["gen_ai.output.messages"]))[0]["parts"][0]["content"]
    assert answer == "cut ?\x00 off", "what UTF-8 cannot hold is replaced, what it can stays"


def _fails(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    raise ZeroDivisionError(SURROGATE)


class Odd:
    """A risk judgement of somebody else's."""

    role = "risk"

    def __init__(self, score: Any) -> None:
        self.score = score

    def on_run_ending(self, span: Any, run: Run) -> None:
        run.risk = Risk(self.score, "high", (), "mine")
        run.warn([SURROGATE])
        run.narrative = SURROGATE
        run.absent["mine"] = np.float32(1.5)  # type: ignore[assignment]
        run.early_warning = EarlyWarning(
            np.full(run.steps, np.nan, np.float32), np.full(run.steps, np.nan, np.float32), (), None, {}, math.nan
        )


@pytest.mark.foreign_verdict
@pytest.mark.parametrize("score", [np.float32(0.5), 1, torch.tensor(0.25), 0.42857142857142855, math.nan])
def test_a_verdict_of_somebody_else_fits_everywhere(score: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    with instrumented(capture="full", judgements=[Odd(score)]) as telemetry:
        model.generate(**padded_batch(), max_new_tokens=4, do_sample=False)
        assert_encodes(telemetry, caplog)
    call = telemetry.spans[-1].attributes or {}
    expected = number(score)
    assert call.get("corevital.risk.score") == expected
    verdicts = [record for record in telemetry.logs if record.event_name == semconv.EVALUATION_EVENT]
    assert [record.attributes.get(semconv.EVALUATION_SCORE) for record in verdicts] == [expected] * 3
    points = telemetry.metrics().get("corevital.risk.score", [])
    assert [point.value for point in points] == ([] if expected is None else [expected])


def test_values_by_themselves() -> None:
    assert [integer(x) for x in (5, 5.0, np.uint8(5), np.array([5]), torch.tensor(5))] == [5] * 5
    assert [integer(x) for x in (True, np.bool_(True), 5.5, "5", None, 2**63, -(2**63) - 1, math.inf)] == [None] * 8
    assert (integer(2**63 - 1), integer(-(2**63))) == (2**63 - 1, -(2**63))
    assert [number(x) for x in (5, np.float32(5), torch.tensor(5.0))] == [5.0] * 3
    assert [number(x) for x in (True, math.nan, -math.inf, 10**400, "5", [5.0], torch.ones(2))] == [None] * 7
    assert [text(x) for x in (Colour.RED, Path("a") / "b", np.str_("c"), Name("d"), 5)] == ["red", "a/b", "c", "d", "5"]
    assert {type(text(x)) for x in (Colour.RED, Name("d"), np.str_("c"))} == {str}
    assert [text(x) for x in (None, b"x", {}, ["a"])] == [None] * 4
    assert texts(["a", b"b", 5, "\ud800"]) == ("a", "?")
    assert texts("a") == ("a",)
    assert texts(5) == texts(None) == ()
    odd = {
        semconv.BLAME_LAYERS: [1, True],
        semconv.BLAME_SEVERITIES: np.array([0.5, np.nan]),
        semconv.WARNINGS: "one",
        semconv.HEALTH_NAN: 1,
        semconv.LABEL_LAYER: 2**63,
    }
    assert fitting(odd) == {}
    assert unfit(odd).keys() == odd.keys()
    assert fitting({semconv.LAYERS_NONFINITE: np.array([1, 2]), semconv.HEALTH_NAN: np.bool_(False)}) == {
        semconv.LAYERS_NONFINITE: [1, 2],
        semconv.HEALTH_NAN: False,
    }
    assert plain({"a": np.int64(1), "b": [math.inf], "c": 2**63, "d": {"e": b"\xff"}}) == {"a": 1, "d": {"e": "/w=="}}


# --- into the store and out of it --------------------------------------------------------------------------------


def _foreign_span() -> ReadableSpan:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("somebody").start_span("another")
    span.set_attributes({"big": 10**30, "list": [1, 2**70], "small": 2**63 - 1})
    span.add_event("event", {"big": -(10**30), "small": 1})
    span.end()
    return span  # type: ignore[return-value]


def test_a_store_never_writes_another_number(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.db", tmp_path / "copy.jsonl"
    exporter = SQLiteSpanExporter(path)
    exporter.export([_foreign_span(), *make_spans()])
    exporter.shutdown()
    with open_store(path) as store:
        written = [to_line(message) for message in store.otlp(None)]
    assert str(10**30) not in str(rows(path, "SELECT attributes FROM spans"))
    with closing(sqlite3.connect(path)) as connection, connection:  # as an earlier version has stored it
        older = json.dumps({"big": 10**30, "list": [1, 2**70], "small": 3})
        connection.execute("UPDATE spans SET attributes = ? WHERE name = 'another'", (older,))
    with open_store(path) as store:
        written += [to_line(message) for message in store.otlp(None)]
    copy.write_text("\n".join(written))
    assert not [name for name in ("big", "list") if f'"{name}"' in copy.read_text()]
    assert str(2**63 - 1) in copy.read_text()
    for line in read_lines(str(copy)):
        assert not line.problem
        assert not split(line.records)[1]
