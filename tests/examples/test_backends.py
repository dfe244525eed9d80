"""The programs of examples/backends with the demo model: each one's run is where its reader looks for it."""

import contextlib
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environments import python_beside, python_with
from tests.support.example_programs import EXAMPLES, run_here
from tests.support.otlp_receivers import Received, http_receiver
from tests.support.processes import free_port, get_json, jaeger_server, process, wait_until
from tests.support.subprocesses import run
from tests.support.zero_code_programs import attributes_of

pytestmark = [pytest.mark.real_model, pytest.mark.acceptance, pytest.mark.xdist_group("beside")]

PROGRAMS = EXAMPLES / "backends"
SDKS = ("langfuse==5.0.4", "ddtrace==4.16.0")
# The instrumentations that OpenLIT asks for have to be of one version; named, pip finds it at once.
OPENLIT = ("openlit==1.45.0", "opentelemetry-instrumentation==0.66b1")
AGENT = "ddapm-test-agent==1.69.1"
"""Datadog's own stand-in for its Agent."""


@pytest.fixture(autouse=True)
def model(demo_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", demo_folder)


def test_every_program_is_run() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    phoenix = (Path(__file__).parents[1] / "phoenix" / "test_phoenix.py").read_text(encoding="utf-8")
    for program in PROGRAMS.glob("*.py"):
        assert f'"{program.name}"' in here + phoenix, program.name


@pytest.mark.wire
def test_jaeger_has_the_run(
    jaeger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with jaeger_server(jaeger, tmp_path / "log") as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{server.grpc}")
        run_here(PROGRAMS / "to_jaeger.py", monkeypatch)
        url = f"{server.query}/api/traces?service=to-jaeger"
        ((span,),) = [trace["spans"] for trace in wait_until(lambda: get_json(url)["data"])]
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    assert span["operationName"] == "chat SmolLM2-135M-Instruct"
    assert tags["corevital.narrative"] == capsys.readouterr().out.strip()
    assert len(span["logs"]) == tags["gen_ai.usage.output_tokens"] == 16


@contextlib.contextmanager
def prometheus_server(binary: str, folder: Path, scraped: int) -> Iterator[str]:
    port = free_port()
    job = {"job_name": "corevital", "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with process([*command, f"--web.listen-address=127.0.0.1:{port}"], folder / "prometheus.log", {}):
        yield f"http://127.0.0.1:{port}/api/v1/query?query="


def test_prometheus_scrapes_the_counters(prometheus: str, tmp_path: Path) -> None:
    scraped = free_port()
    program = [sys.executable, str(PROGRAMS / "to_prometheus.py")]
    with (
        process(program, tmp_path / "log", {"PORT": str(scraped)}),
        prometheus_server(prometheus, tmp_path, scraped) as query,
    ):
        expression = urllib.parse.quote('corevital_runs_total{corevital_risk_level="low"}')
        (found,) = wait_until(lambda: get_json(query + expression)["data"]["result"], 60)
    assert float(found["value"][1]) >= 1
    assert found["metric"]["job"] == "corevital"


def sent(python: Path, program: str, **variables: str) -> Received:
    """Return what a program sends by OTLP over HTTP; it tells a verdict."""
    with http_receiver() as received:
        names = ("LANGFUSE_BASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")
        out = run([str(python), str(PROGRAMS / program)], **dict.fromkeys(names, received.endpoint), **variables).stdout
    assert "its risk is low" in out
    return received


def test_langfuse_gets_the_run_below_the_observation_with_its_texts() -> None:
    keys = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-2"}
    received = sent(python_beside("sdks", SDKS), "to_langfuse.py", **keys)
    by_name = {span.name: span for span in received.spans()}
    answered = by_name["chat SmolLM2-135M-Instruct"]
    assert answered.parent_span_id == by_name["question"].span_id
    attributes = attributes_of(answered)
    assert "Name three primary colours." in attributes["gen_ai.input.messages"].string_value
    assert attributes["corevital.assessment"].string_value.startswith("low 0.")
    assert {path for path, _ in received.requests} == {"/api/public/otel/v1/traces"}
    assert {headers["authorization"][:6] for _, headers in received.requests} == {"Basic "}


def test_openlits_span_is_the_parent_of_the_run_and_both_sets_of_metrics_are_sent() -> None:
    received = sent(python_beside("openlit", OPENLIT), "to_openlit.py")
    theirs, ours = sorted(received.spans(), key=lambda span: bool(span.parent_span_id))
    assert attributes_of(theirs)["telemetry.sdk.name"].string_value == "openlit"
    assert ours.parent_span_id == theirs.span_id
    assert attributes_of(ours)["corevital.assessment"].string_value.startswith("low 0.")
    assert "Name three primary colours." not in str([*received.spans(), *received.log_records()])
    assert received.metric_names() >= {"corevital.runs", "gen_ai.usage.cost"}
    assert "gen_ai.evaluation.result" in received.event_names()


def test_datadogs_agent_gets_the_run_below_the_programs_span(tmp_path: Path) -> None:
    port, grpc, http = free_port(), free_port(), free_port()
    agent = [str(python_with(AGENT).with_name("ddapm-test-agent")), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with process([*agent, "--otlp-http-port", str(http), "--otlp-grpc-port", str(grpc)], tmp_path / "log", {}):
        wait_until(lambda: get_json(f"{url}/info"), 60)
        python = str(python_beside("sdks", SDKS))
        run([python, str(PROGRAMS / "to_datadog.py")], DD_TRACE_AGENT_URL=url, DD_SERVICE="to-datadog")
        spans: list[dict[str, Any]] = [span for trace in get_json(f"{url}/test/traces") for span in trace]
    by_name = {span["resource"]: span for span in spans}
    answered = by_name["chat SmolLM2-135M-Instruct"]
    assert answered["parent_id"] == by_name["question"]["span_id"]
    assert answered["service"] == "to-datadog"
    assert answered["meta"]["corevital.risk.level"] == "low"
    assert 0 <= answered["metrics"]["corevital.risk.score"] < 0.3
