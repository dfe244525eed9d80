"""Over the Collector into Jaeger: a run's span and its step events are read back through Jaeger's query API."""

import json
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import semconv
from tests.support.collectors import collector, telemetry_of
from tests.support.in_memory import instrumented
from tests.support.processes import get_json, jaeger_server, wait_until
from tests.support.tiny_models import prompt, sharpen, tiny_model

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]


@pytest.mark.acceptance
def test_a_run_is_read_back_from_jaeger(otelcol: str, jaeger: str, tmp_path: Path) -> None:
    with instrumented(capture="full") as kept:
        sharpen(tiny_model()).generate(prompt(), max_new_tokens=20, do_sample=False, eos_token_id=None)
    assert kept.span.context is not None
    with (
        jaeger_server(jaeger, tmp_path / "jaeger.log") as server,
        collector(otelcol, tmp_path, "no-store", "jaeger", COREVITAL_JAEGER_ENDPOINT=server.http) as between,
    ):
        between.send(telemetry_of(kept))
        url = f"{server.query}/api/traces/{kept.span.context.trace_id:032x}"
        ((span,),) = [trace["spans"] for trace in wait_until(lambda: get_json(url)["data"])]
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    attributes = kept.span.attributes or {}
    assert len(attributes) > 30
    for name, value in attributes.items():
        # Jaeger has arrays as JSON.
        assert (json.loads(tags[name]) if isinstance(value, tuple) else tags[name]) == (
            list(value) if isinstance(value, tuple) else value
        ), name
    events = [{field["key"]: field["value"] for field in log["fields"]} for log in span["logs"]]
    assert [event.pop("event") for event in events] == [event.name for event in kept.span.events]
    assert [event[semconv.STEP_INDEX] for event in events] == list(range(20))
    for event, original in zip(events, kept.span.events, strict=True):
        assert event == {
            name: json.dumps(value) if isinstance(value, tuple) else value
            for name, value in (original.attributes or {}).items()
        }
