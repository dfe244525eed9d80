"""Runs read back from a real Phoenix: through its API, and on its page in a real browser."""

import json
import math
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import ReadableSpan

from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from tests.support.browser import CHROMIUM, page
from tests.support.example_programs import EXAMPLES, run_here
from tests.support.phoenix import Phoenix, installed, serving
from tests.support.processes import get_json, wait_until
from tests.support.recording import recording
from tests.support.tiny_models import prompt, tiny_model

pytestmark = [pytest.mark.acceptance, pytest.mark.real_model, pytest.mark.xdist_group("phoenix")]

QUESTION = "Name three primary colours."


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    with serving(installed(), tmp_path_factory.mktemp("phoenix")) as started:
        yield started


@pytest.fixture(scope="module")
def sent(phoenix: Phoenix, smollm2: LoadedModel) -> list[ReadableSpan]:
    """A run of the real model, one with a layer full of NaN, and one whose logits all are; Phoenix has them."""
    torn, broken = tiny_model(seed=4, num_hidden_layers=6), tiny_model(seed=2)
    for module in (torn.model.layers[3], broken.lm_head):
        module.register_forward_hook(lambda module, inputs, output: output * math.nan)
    over_http, over_grpc = HttpExporter(f"{phoenix.url}/v1/traces"), GrpcExporter(phoenix.grpc, insecure=True)
    shown = {"capture_message_content": "span_only", "openinference": True}
    with recording(over_http, "phoenix-test", **shown) as first:
        chat = [{"role": "user", "content": QUESTION}]
        inputs = smollm2.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        smollm2.model.generate(**inputs, max_new_tokens=12, do_sample=False)
    with recording(over_grpc, "phoenix-test", status_on="high") as second:
        torn.generate(prompt(), max_new_tokens=7, do_sample=False)
        broken.generate(prompt(), max_new_tokens=5, do_sample=False)
    spans = [*first.spans, *second.spans]
    assert len(spans) == 3
    wait_until(lambda: len(phoenix.spans()) == len(spans), 30)
    return spans


def ids(span: ReadableSpan) -> tuple[str, str]:
    context = span.context
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def ours(attributes: Any) -> dict[str, Any]:
    """Return CoreVital's own attributes as JSON has them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in attributes.items()
        if name.startswith("corevital.")
    }


def test_spans_events_verdicts_and_arrays_are_read_back(phoenix: Phoenix, sent: list[ReadableSpan]) -> None:
    found = phoenix.spans()
    for span in sent:
        trace_id, span_id = ids(span)
        read = found[span_id]
        assert (read["name"], read["context"]["trace_id"], read["span_kind"]) == (span.name, trace_id, "LLM")
        assert ours(read["attributes"]) == ours(span.attributes)
        assert [(event["name"], event["attributes"]) for event in read["events"]] == [
            (event.name, dict(event.attributes or {})) for event in span.events
        ]
        times = [datetime.fromisoformat(event["timestamp"]).timestamp() for event in read["events"]]
        assert times == pytest.approx([event.timestamp / 1e9 for event in span.events], abs=2e-6)
    real, torn, broken = (found[ids(span)[1]] for span in sent)
    assert len(real["events"]) == 12
    assert real["attributes"]["llm.token_count.completion"] == 12, "Phoenix knows the GenAI names"
    assert real["attributes"]["llm.input_messages.0.message.content"] == QUESTION
    assert real["attributes"]["input.value"] == QUESTION
    assert real["attributes"]["output.value"] == real["attributes"]["llm.output_messages.0.message.content"]
    assert len(real["attributes"]["corevital.layers.l2_norm"]) == 30
    assert torn["attributes"]["corevital.layers.norm_index"] == [0, 1, 2], "a layer array with holes"
    assert len(torn["attributes"]["corevital.layers.l2_norm"]) == 3
    assert torn["attributes"]["corevital.blame.layers"][0] == 3
    assert broken["attributes"]["corevital.risk.level"] == "high"
    assert "nan_detected" in json.loads(broken["attributes"]["corevital.health.evidence"])
    assert [each["status_code"] for each in (real, torn, broken)] == ["UNSET", "ERROR", "ERROR"]
    assert broken["status_message"] == broken["attributes"]["corevital.assessment"]


@pytest.fixture(scope="module")
def pushed(phoenix: Phoenix, sent: list[ReadableSpan], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Push the verdicts of these runs out of a store, twice; return what the command said."""
    file = str(tmp_path_factory.mktemp("store") / "runs.db")
    exporter = SQLiteSpanExporter(file)
    exporter.export(sent)
    exporter.shutdown()
    said = StringIO()
    for _ in range(2):
        with redirect_stdout(said):
            assert run_command(["push", "phoenix", "--endpoint", phoenix.url, "--db", file]) == 0
    return said.getvalue()


def test_each_run_has_one_annotation_however_often_it_is_pushed(
    phoenix: Phoenix, sent: list[ReadableSpan], pushed: str
) -> None:
    assert pushed == f"3 runs pushed to {phoenix.url}\n" * 2
    query = "&".join(f"span_ids={ids(span)[1]}" for span in sent)
    found = get_json(f"{phoenix.url}/v1/projects/default/span_annotations?{query}")["data"]
    by_span = {each["span_id"]: each for each in found}
    assert len(found) == len(by_span) == len(sent)
    for span in sent:
        each, attributes = by_span[ids(span)[1]], span.attributes or {}
        assert (each["name"], each["annotator_kind"], each["identifier"]) == ("corevital.risk", "CODE", "corevital")
        assert each["result"] == {
            "score": attributes["corevital.risk.score"],
            "label": attributes["corevital.risk.level"],
            "explanation": attributes["corevital.narrative"],
        }


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_person_sees_input_output_error_and_annotation_in_the_list(
    phoenix: Phoenix, sent: list[ReadableSpan], pushed: str, tmp_path: Path
) -> None:
    del pushed
    project = get_json(f"{phoenix.url}/v1/projects/default")["data"]["id"]
    broken = sent[2].attributes or {}
    with page(tmp_path, width=2000, height=900) as browser:
        browser.open(f"{phoenix.url}/projects/{project}/spans")
        text = browser.wait_for("corevital.risk", 60)
        browser.picture(tmp_path / "list.png")
        assert QUESTION in text
        answer = " ".join(str((sent[0].attributes or {})["output.value"]).split())
        assert answer[:24] in " ".join(text.split()), "the list has it in one line"
        assert str(broken["corevital.assessment"]) in text, "the error of the list is the verdict"
        browser.open(f"{phoenix.url}/redirects/traces/{ids(sent[2])[0]}")
        told = browser.wait_for(str(broken["corevital.assessment"]), 60)
        assert "corevital.risk" in told
        browser.picture(tmp_path / "risky.png")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_person_sees_the_run(phoenix: Phoenix, sent: list[ReadableSpan], tmp_path: Path) -> None:
    span = sent[0]
    attributes = span.attributes or {}
    with page(tmp_path) as browser:
        browser.open(f"{phoenix.url}/redirects/traces/{ids(span)[0]}")
        browser.wait_for("Events 12", 60)
        browser.picture(tmp_path / "run.png")
        assert span.name in browser.text()
        assert QUESTION in browser.text()
        browser.click("[role=tab]", "Attributes")
        text = browser.wait_for("corevital.risk.score")
        told = [line for line in text.splitlines() if line.strip()]
        for name in ("corevital.risk.score", "corevital.risk.level", "corevital.narrative"):
            assert told[told.index(name) + 1] == str(attributes[name])
        assert "corevital.layers.l2_norm.29" in told
        browser.scroll_to("corevital.risk.score")
        browser.picture(tmp_path / "attributes.png")
        browser.click("[role=tab]", "Events")
        browser.wait_for("corevital.step")
        browser.picture(tmp_path / "events.png")
        assert browser.text().count("corevital.step\n") == 12


def test_the_example_has_its_run_with_texts_in_a_project_of_its_own(
    phoenix: Phoenix, demo_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", phoenix.url)
    monkeypatch.setenv("MODEL", demo_folder)
    run_here(EXAMPLES / "backends" / "to_phoenix.py", monkeypatch)
    url = f"{phoenix.url}/v1/projects/to-phoenix/spans"
    (span,) = wait_until(lambda: get_json(url)["data"], 30)
    assert (span["name"], span["span_kind"]) == ("chat SmolLM2-135M-Instruct", "LLM")
    assert span["attributes"]["input.value"] == QUESTION
    assert span["attributes"]["corevital.assessment"].startswith("low 0.")
