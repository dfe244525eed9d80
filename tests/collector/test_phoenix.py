"""Over the Collector into Arize Phoenix: a run's span and its step events are read back through Phoenix's REST API."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from tests.collector.collectors import collector, telemetry_of
from tests.collector.environments import python_with
from tests.support import instrumented, prompt, sharpen, tiny_model
from tests.wire.processes import free_port, get_json, listening, process, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.wire, pytest.mark.xdist_group("wire")]


@pytest.fixture
def phoenix(tmp_path: Path) -> Iterator[str]:
    """Phoenix's base URL: the one of COREVITAL_PHOENIX or the PATH, else installed for this test."""
    command = os.environ.get("COREVITAL_PHOENIX") or shutil.which("phoenix")
    if not command:
        command = str(python_with(tmp_path / "phoenix", "arize-phoenix==20.26.1").with_name("phoenix"))
    port = free_port()
    variables = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_WORKING_DIR": str(tmp_path / "working"),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PYTHONPATH": "",
    }
    with process([command, "serve"], tmp_path / "phoenix.log", variables):
        wait_until(lambda: listening(port), 120)
        yield f"http://127.0.0.1:{port}"
    shutil.rmtree(tmp_path / "phoenix", ignore_errors=True)  # almost a gigabyte


def test_a_run_is_read_back_from_phoenix(otelcol: str, phoenix: str, tmp_path: Path) -> None:
    with instrumented(capture="full") as kept:
        sharpen(tiny_model()).generate(prompt(), max_new_tokens=20, do_sample=False, eos_token_id=None)
    variables = {"PHOENIX_COLLECTOR_ENDPOINT": phoenix}
    with collector(otelcol, tmp_path / "collector", "no-store", "phoenix", **variables) as between:
        between.send(telemetry_of(kept))
        (span,) = wait_until(lambda: get_json(f"{phoenix}/v1/projects/default/spans")["data"])
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
