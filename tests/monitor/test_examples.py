"""Every program of examples/monitor, run as its users run it."""

import ast
import contextlib
import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn
from transformers import AutoModelForCausalLM

from opentelemetry_instrumentation_corevital.monitor.stream import Stream
from opentelemetry_instrumentation_corevital.semconv import SCOPE_NAME
from tests.support.cyclic_models import FIRST, save_cyclic
from tests.support.in_memory import instrumented
from tests.support.leftovers import leftovers
from tests.support.processes import free_port, listening, process, wait_until
from tests.support.subprocesses import ROOT, exporting, stored_spans

EXAMPLES = ROOT / "examples" / "monitor"
QUESTION = {"question": "w3"}


@pytest.fixture(scope="module")
def looping(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model whose runs are loops of ten tokens."""
    return save_cyclic(tmp_path_factory.mktemp("looping") / "looping", 10)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model whose runs end by their limit alone."""
    return save_cyclic(tmp_path_factory.mktemp("endless") / "endless", 120)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a program within this process; returns what it prints."""

    def run(name: str, *arguments: str, tokens: int) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.setenv("MAX_NEW_TOKENS", str(tokens))
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_example_is_run_here() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    programs = [path.stem for path in EXAMPLES.glob("*.py")]
    assert len(programs) == 4
    for name in programs:
        assert f"def test_{name}" in here


# --- stop.py ---------------------------------------------------------------------------------------------------------


def test_stop_has_15_lines() -> None:
    tree = ast.parse((EXAMPLES / "stop.py").read_text(encoding="utf-8"))
    lines = {line for node in tree.body[1:] for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    assert len(lines) <= 15


def test_stop_ends_a_loop(example: Any, looping: str) -> None:
    out = example("stop.py", looping, tokens=400)
    words, _, verdict = out.partition("\n\n")
    assert verdict.startswith("policy after ")
    count = int(verdict.split()[2])
    assert len(words.split()) == count
    assert 30 < count < 150
    assert "was stopped by a policy" in verdict


def test_stop_leaves_a_healthy_run_alone(example: Any, endless: str) -> None:
    assert "length after 130 tokens" in example("stop.py", endless, tokens=130)


@pytest.mark.real_model
@pytest.mark.xdist_group("real_model")
@pytest.mark.acceptance
def test_stop_as_a_program_of_its_own(demo_folder: str) -> None:
    environment = {**os.environ, "MAX_NEW_TOKENS": "10"}
    command = [sys.executable, str(EXAMPLES / "stop.py")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("The history of the universe")
    assert "length after 10 tokens" in found.stdout


# --- retry.py --------------------------------------------------------------------------------------------------------


def test_retry_tries_again_after_a_loop(example: Any, looping: str) -> None:
    with instrumented() as telemetry:
        out = example("retry.py", looping, tokens=400)
    # The model is so sure of itself that livelier sampling changes nothing: all attempts are used up.
    assert "by_policy: 2 retries, policy, risk 0.9" in out
    assert "by_hand: 2 retries, cancelled, risk 0.9" in out
    assert out.count("reason='repetition_loop_detected'") == 3
    spans = telemetry.spans
    assert len(spans) == 6
    assert [len(span.links) for span in spans] == [0, 1, 1, 0, 0, 0]
    assert spans[1].links[0].context.span_id == spans[0].context.span_id
    assert spans[1].attributes["gen_ai.request.temperature"] == 1.0


def test_retry_of_a_healthy_run_is_one_run(example: Any, endless: str) -> None:
    out = example("retry.py", endless, tokens=40)
    assert "by_policy: 0 retries, length, risk 0.0" in out
    assert "by_hand: 0 retries, length, risk 0.0" in out


@pytest.mark.real_model
@pytest.mark.xdist_group("real_model")
def test_retry_with_the_demo_model(example: Any, demo_folder: str) -> None:
    out = example("retry.py", demo_folder, tokens=6)
    assert out.count("0 retries, length") == 2
    assert out.count("The history of the universe") == 2


# --- two_models.py ---------------------------------------------------------------------------------------------------


def test_two_models_answer_at_once(example: Any, looping: str, endless: str) -> None:
    before = leftovers()
    out = example("two_models.py", looping, endless, tokens=150)
    assert "A, looping: risk 0.9, policy" in out
    assert "B, endless: risk 0.0, length" in out
    for name, period in (("A", 10), ("B", 120)):
        texts = re.findall(rf"^{name} +\d+ risk [\d.]+ '(.*)'$", out, re.MULTILINE)
        answer = re.search(rf"^{name}, .*\n(.*)$", out, re.MULTILINE)
        assert answer is not None
        assert "".join(texts) == answer[1], "its own steps, in order"
        numbers = [int(word[1:]) - FIRST for word in answer[1].split()]
        assert [after for _, after in pairwise(numbers)] == [(each + 1) % period for each in numbers[:-1]]
    assert leftovers() == before


@pytest.mark.real_model
@pytest.mark.xdist_group("real_model")
def test_two_models_with_the_demo_model(example: Any, demo_folder: str, endless: str) -> None:
    out = example("two_models.py", demo_folder, endless, tokens=6)
    assert "A, SmolLM2-135M-Instruct: risk" in out
    assert "The sea is" in out
    assert "B, endless: risk" in out


# --- serve.py --------------------------------------------------------------------------------------------------------


class Gate:
    """Lets a model's forward passes through but for one, which waits to be let through."""

    def __init__(self, number: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._number, self._passes = number, 0

    def __call__(self, *_: Any) -> None:
        self._passes += 1
        if self._passes == self._number:
            self.reached.set()
            assert self.go_on.wait(60), "nobody let it go on"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The service, imported anew."""
    monkeypatch.setenv("MAX_NEW_TOKENS", "20000")
    spec = importlib.util.spec_from_file_location("serve", EXAMPLES / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application on a port of its own; return its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Yield kind and data of each event, as a browser reads them."""
    kind = ""
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def test_serve_streams_an_answer_and_its_verdict(serve: ModuleType, looping: str) -> None:
    serve.MODEL = looping
    with served(serve.app) as url, httpx.stream("GET", f"{url}/answers", params=QUESTION, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        *tokens, (kind, verdict) = events(response)
    assert {name for name, _ in tokens} == {"token"}
    assert [data["text"].strip() for _, data in tokens[:3]] == ["w4", "w5", "w6"]
    assert tokens[-1][1]["warnings"] == ["repetition_risk"]
    assert kind == "end"
    assert verdict["stop_reason"] == "policy"
    assert "was stopped by a policy" in verdict["narrative"]


def test_serve_ends_the_run_of_a_client_that_has_gone(
    serve: ModuleType, endless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, streams = Gate(6), list[Stream]()
    serve.MODEL = AutoModelForCausalLM.from_pretrained(endless).eval()
    serve.MODEL.register_forward_pre_hook(gate)
    before = leftovers(serve.MODEL)
    begin = serve.monitor.stream
    monkeypatch.setattr(serve.monitor, "stream", lambda *args, **kw: streams.append(begin(*args, **kw)) or streams[-1])
    with instrumented() as telemetry, served(serve.app) as url:
        with httpx.stream("GET", f"{url}/answers", params=QUESTION, timeout=60) as response:
            incoming = events(response)  # dropped, it would close the connection
            assert [kind for kind, _ in islice(incoming, 4)] == ["token"] * 4
            assert gate.reached.wait(60)
        wait_until(streams[0]._worker.is_cancelled)  # the client has gone while the sixth step goes on
        gate.go_on.set()
        wait_until(lambda: telemetry.spans)
    (run,) = streams[0].runs
    assert run.stop_reason == "cancelled"
    assert run.steps == 6, "it ends with the step that went on"
    assert telemetry.span.attributes["gen_ai.usage.output_tokens"] == 6
    assert "and was cancelled" in telemetry.span.attributes["corevital.narrative"]
    assert telemetry.span.status.is_unset
    streams.clear()
    after = leftovers(serve.MODEL)
    assert after.pop("files") <= before.pop("files"), "loading a model may have left one that is closed meanwhile"
    assert after == before


@pytest.mark.real_model
@pytest.mark.xdist_group("real_model")
def test_serve_as_a_program_of_its_own(demo_folder: str, tmp_path: Path) -> None:
    port, database = free_port(), tmp_path / "runs.db"
    settings = {"MAX_NEW_TOKENS": "8", "PORT": str(port), "OTEL_COREVITAL_SQLITE_PATH": str(database)}
    command = [*exporting("corevital_sqlite"), sys.executable, str(EXAMPLES / "serve.py")]
    with process(command, tmp_path / "log", settings) as server:
        wait_until(lambda: listening(port), 120)
        url, question = f"http://127.0.0.1:{port}/answers", {"question": "Name three primary colours."}
        with httpx.stream("GET", url, params=question, timeout=120) as response:
            *tokens, (_, verdict) = events(response)
        server.terminate()
        server.wait(30)
    assert len(tokens) == 8
    assert verdict["stop_reason"] == "length"
    (span,) = [each for each in stored_spans(database) if each.scope == SCOPE_NAME]
    assert span.attributes["gen_ai.usage.output_tokens"] == 8
    assert span.trace_id == verdict["trace_id"]
