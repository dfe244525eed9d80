"""Over the Collector into Arize Phoenix: a run's span and its step events are read back through Phoenix's REST API."""

from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from tests.support.collectors import collector, telemetry_of
from tests.support.in_memory import instrumented
from tests.support.phoenix import installed, serving
from tests.support.processes import wait_until
from tests.support.tiny_models import prompt, sharpen, tiny_model

pytestmark = [pytest.mark.acceptance, pytest.mark.wire, pytest.mark.xdist_group("wire")]


def test_a_run_is_read_back_from_phoenix(otelcol: str, tmp_path: Path) -> None:
    with instrumented(capture="full") as kept:
        sharpen(tiny_model()).generate(prompt(), max_new_tokens=20, do_sample=False, eos_token_id=None)
    with (
        serving(installed(), tmp_path) as phoenix,
        collector(
            otelcol, tmp_path / "collector", "no-store", "phoenix", PHOENIX_COLLECTOR_ENDPOINT=phoenix.url
        ) as between,
    ):
        between.send(telemetry_of(kept))
        (span,) = wait_until(phoenix.spans).values()
    found: dict[str, Any] = span["attributes"]
    for name, value in (kept.span.attributes or {}).items():
        if name.startswith("corevital."):
            assert found[name] == (list(value) if isinstance(value, tuple) else value), name
    assert span["span_kind"] == "LLM"
    assert found["llm.model_name"] == "LlamaForCausalLM"
    assert (found["llm.token_count.prompt"], found["llm.token_count.completion"]) == (6, 20)
    assert [event["name"] for event in span["events"]] == [event.name for event in kept.span.events]
    assert [event["attributes"][semconv.STEP_INDEX] for event in span["events"]] == list(range(20))
    for event, original in zip(span["events"], kept.span.events, strict=True):
        attributes = (original.attributes or {}).items()
        assert event["attributes"] == {name: list(v) if isinstance(v, tuple) else v for name, v in attributes}
