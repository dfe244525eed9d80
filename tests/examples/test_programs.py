"""The programs of examples/ that need no other server, run as their readers run them: with the demo model."""

import contextlib
import importlib.util
import os
import re
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import uvicorn
from transformers import GenerationMixin

from opentelemetry_instrumentation_corevital import open_store
from opentelemetry_instrumentation_corevital.store import StoredRun
from tests.support.example_programs import EXAMPLES, run_here
from tests.support.in_memory import instrumented
from tests.support.processes import free_port, listening, process, wait_until
from tests.support.subprocesses import exporting, run, stored_spans

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("real_model")]

ELSEWHERE = {"manual", "monitor", "notebook", "zero_code", "backends"}
"""Folders whose programs other tests run: tests/zero_code, tests/monitor, tests/presentation, test_backends.py."""


@pytest.fixture(autouse=True)
def few_tokens(demo_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL", demo_folder)
    monkeypatch.setenv("MAX_NEW_TOKENS", "6")


def last_run() -> StoredRun:
    with open_store("runs/corevital.db") as store:
        return store.run("last")


def test_every_folder_of_examples_is_run_and_has_a_page() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    for name in folders - ELSEWHERE:
        assert f'"{name}" / ' in here, name
    for name in folders - {"manual"}:
        assert (EXAMPLES / name / "README.md").exists(), name


def test_a_batch_job_tells_the_verdict_of_every_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(EXAMPLES / "batch" / "answer_all.py", monkeypatch) == 0
    *lines, end = capsys.readouterr().out.splitlines()
    asked = (EXAMPLES / "batch" / "prompts.jsonl").read_text("utf-8")
    assert [line.split("  ")[-1] for line in lines] == re.findall(r'"prompt": "(.+)"', asked)
    assert all(re.match(r"low    0\.[0-2]\d  length  ", line) for line in lines)
    assert re.fullmatch("5 prompts, 0 of high risk; the runs are in .*runs/corevital.db", end)
    with open_store("runs/corevital.db") as store:
        assert len(store.runs()) == 5


@pytest.mark.acceptance
def test_a_batch_job_fails_where_a_run_went_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "set.jsonl").write_text('{"prompt": "Say yes."}\n\n')
    generate = GenerationMixin.generate
    looping = {"max_new_tokens": 60, "prefix_allowed_tokens_fn": lambda batch, ids: [5]}
    monkeypatch.setattr(GenerationMixin, "generate", lambda self, **given: generate(self, **{**given, **looping}))
    assert run_here(EXAMPLES / "batch" / "answer_all.py", monkeypatch, "set.jsonl") == 3
    assert "length  Say yes.\n1 prompts, 1 of high risk" in capsys.readouterr().out


def test_what_was_retrieved_is_read_back_from_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(EXAMPLES / "rag" / "app.py", monkeypatch)
    out = capsys.readouterr().out
    assert "corevital.rag.document_count: 2" in out
    assert "corevital.rag.context_token_count: 3" in out
    attributes = last_run().attributes
    assert "kb-" not in str(attributes), "ids are content, which is off"
    assert attributes["gen_ai.usage.output_tokens"] == 6


# --- the service -----------------------------------------------------------------------------------------------------


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The service, imported anew."""
    spec = importlib.util.spec_from_file_location("service_app", EXAMPLES / "service" / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def served(app: object) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.acceptance
def test_the_service_streams_and_ends_the_run_of_a_client_that_has_gone(service: ModuleType) -> None:
    question = {"question": "Name three primary colours."}
    with instrumented() as telemetry, served(service.app) as url:
        with httpx.stream("GET", f"{url}/answers", params=question, timeout=60) as response:
            assert "".join(response.iter_text()).startswith("The primary colours are")
        whole = telemetry.span
        assert whole.attributes["corevital.stop_reason"] == "length"
        service.LIMIT = 5000
        with httpx.stream("GET", f"{url}/answers", params=question, timeout=60) as response:
            assert next(response.iter_text())
        wait_until(lambda: len(telemetry.spans) == 2, 60)
    gone = telemetry.spans[1].attributes
    assert gone["corevital.stop_reason"] == "criterion"
    assert gone["gen_ai.usage.output_tokens"] < 5000


@pytest.mark.acceptance
def test_zero_code_puts_an_answer_below_its_request(demo_folder: str, tmp_path: Path) -> None:
    port, database = free_port(), tmp_path / "runs.db"
    settings = {"PORT": str(port), "OTEL_COREVITAL_SQLITE_PATH": str(database)}
    command = [*exporting("corevital_sqlite"), sys.executable, str(EXAMPLES / "service" / "app.py")]
    with process(command, tmp_path / "log", settings) as server:
        wait_until(lambda: listening(port), 120)
        answer = httpx.get(
            f"http://127.0.0.1:{port}/answers", params={"question": "Name three primary colours."}, timeout=120
        )
        server.terminate()
        server.wait(30)
    assert answer.text.startswith("The primary colours are")
    spans = {each.name: each for each in stored_spans(database)}
    request, answered = spans["GET /answers"], spans["chat SmolLM2-135M-Instruct"]
    assert answered.trace_id == request.trace_id
    assert answered.parent_span_id == request.span_id


# --- workers ---------------------------------------------------------------------------------------------------------


@pytest.mark.acceptance
def test_workers_record_into_one_store(tmp_path: Path) -> None:
    out = run([sys.executable, str(EXAMPLES / "workers" / "app.py")]).stdout
    assert out.count("low risk, 6 tokens, run ") == 3
    assert "Name three primary colours. The primary colours are" in out
    connection = sqlite3.connect(tmp_path / "runs" / "corevital.db")
    try:
        (count,) = connection.execute("SELECT count(*) FROM runs").fetchone()
    finally:
        connection.close()
    assert count == 3
    assert os.listdir(tmp_path) == ["runs"]
