"""A real `transformers serve` under `opentelemetry-instrument`, with the real model and a client's requests."""

import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.semconv import SCOPE_NAME
from tests.support.processes import free_port, process, wait_until
from tests.support.subprocesses import exporting, script, stored_spans

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("real_model")]

QUESTION = "Name three primary colours."


def post(url: str, body: dict[str, Any]) -> str:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        text: str = response.read().decode()
        return text


def leave_early(url: str, body: dict[str, Any]) -> None:
    """Close the connection when the first piece of an answer has come."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        while b'"content"' not in response.readline():
            pass


def healthy(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as response:
        return bool(response.status == 200)


def recorded(database: Path) -> list[Any]:
    """Return the spans of runs."""
    return [span for span in stored_spans(database) if span.scope == SCOPE_NAME]


@pytest.mark.acceptance
def test_transformers_serve(demo_folder: str, tmp_path: Path) -> None:
    database, log, port = tmp_path / "runs.db", tmp_path / "serve.log", free_port()
    serve = [script("transformers"), "serve", demo_folder, "--host", "127.0.0.1", "--port", str(port)]
    settings = {
        "OTEL_COREVITAL_SQLITE_PATH": str(database),
        "HF_HUB_OFFLINE": "1",
    }
    with process([*exporting("corevital_sqlite"), *serve, "--device", "cpu"], log, settings) as server:
        wait_until(lambda: healthy(port), 120)
        chat = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 8, "model": demo_folder}
        url = f"http://127.0.0.1:{port}/v1"
        streamed = post(f"{url}/chat/completions", {**chat, "stream": True})
        post(f"{url}/chat/completions", chat)
        post(f"{url}/completions", {"model": demo_folder, "prompt": "The sea is", "max_tokens": 6})
        story = [{"role": "user", "content": "Write a long story about the sea."}]
        asked = {**chat, "messages": story, "max_tokens": 500, "stream": True}
        leave_early(f"{url}/chat/completions", asked)
        wait_until(lambda: len(recorded(database)) == 4, 60)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) in (0, -signal.SIGTERM), log.read_text()
    assert streamed.count('"content"') > 1
    spans = stored_spans(database)
    named = {span.span_id: span for span in spans}
    *runs, left = recorded(database)
    assert left.attributes["corevital.stop_reason"] == "cancelled"
    assert left.attributes["gen_ai.usage.output_tokens"] < 500
    assert (left.status_code, "error.type" in left.attributes) == (0, False)
    assert [span.attributes["corevital.stop_reason"] for span in runs] == ["length"] * 3
    assert [span.attributes["gen_ai.operation.name"] for span in runs] == ["chat", "chat", "text_completion"]
    assert [span.attributes["gen_ai.usage.output_tokens"] for span in runs] == [8, 8, 6]
    hashes = [span.attributes["corevital.fingerprint.prompt_hash"] for span in runs]
    assert hashes[0] == hashes[1] != hashes[2]
    sources = [span.attributes["corevital.fingerprint.prompt_hash_source"] for span in runs]
    assert sources == ["text"] * 3
    requests = [named[span.parent_span_id or ""] for span in runs]  # FastAPI's instrumentation made these
    routes = [request.attributes["http.route"] for request in requests]
    assert routes == ["/v1/chat/completions"] * 2 + ["/v1/completions"]
    assert len({request.trace_id for request in requests}) == 3
