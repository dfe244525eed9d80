"""`corevital doctor` in every situation: what it says, what it advises, how it ends, and what it leaves behind."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.doctor import installed, instrumented
from opentelemetry_instrumentation_corevital.doctor.advice import after_failure
from opentelemetry_instrumentation_corevital.doctor.redaction import without_secrets
from opentelemetry_instrumentation_corevital.doctor.sdk_limits import _ATTRIBUTES, _EVENT_ATTRIBUTES, _EVENTS, _LENGTH
from opentelemetry_instrumentation_corevital.instrumentation import patched_methods, uninstrumented
from opentelemetry_instrumentation_corevital.semconv import content_attributes
from tests.support.command_line import Cli
from tests.support.described_spans import emit, long_run
from tests.support.made_runs import add_layers
from tests.support.processes import free_port, get_json, process, wait_until
from tests.support.spans import make_spans
from tests.support.subprocesses import exporting, script, stored_spans
from tests.support.tiers import heavy

SECRET = "c2VjcmV0LXRva2Vu"


class Doctor:
    """Runs the command with variables of the environment set."""

    def __init__(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cli = cli
        self._monkeypatch = monkeypatch

    def __call__(self, *options: str, **environment: str) -> tuple[int, dict[str, Any]]:
        code, out = self.text("--json", *options, **environment)
        told = json.loads(out)
        assert told["ok"] is (code == 0) is all(each["level"] != "problem" for each in told["findings"])
        return code, told

    def text(self, *options: str, **environment: str) -> tuple[int, str]:
        """Without the call of `generate()`, which takes seconds, unless the option `call` is there."""
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)
        given = [each for each in options if each != "call"]
        code, out, _ = self._cli("doctor", *given, *([] if "call" in options else ["--quick"]))
        assert SECRET not in out
        return code, out


@pytest.fixture
def doctor(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.delenv("OTEL_COREVITAL_BASELINE")  # the tests' own
    return Doctor(cli, monkeypatch)


def traces_to(name: str) -> dict[str, str]:
    return {"OTEL_TRACES_EXPORTER": name, "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


def problems(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in told["findings"] if each["level"] == "problem"]


def the_problem(told: dict[str, Any]) -> dict[str, Any]:
    (found,) = problems(told)
    assert found["advice"]
    return found


def finding(told: dict[str, Any], subject: str) -> dict[str, Any]:
    (found,) = (each for each in told["findings"] if subject in each["subject"])
    return found


# --- all is well -------------------------------------------------------------------------------------------------


def test_a_store_takes_the_span_and_is_as_it_was(doctor: Doctor, cli: Cli) -> None:
    cli.store(make_spans(2))
    before = stored_spans(cli.db)
    every = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "corevital_sqlite")
    code, out = doctor.text(OTEL_COREVITAL_SQLITE_PATH=str(cli.db), OTEL_SERVICE_NAME="mine", **every)
    assert code == 0, out
    assert "traces, metrics and logs  stored the span 'corevital doctor'; it was read back and removed" in out
    assert f"traces, metrics and logs  to the store {cli.db}, " in out
    assert out.endswith("A run would be recorded and arrive.\n")
    assert stored_spans(cli.db) == before


def test_what_is_old_stays_in_the_store(doctor: Doctor, cli: Cli) -> None:
    cli.store(make_spans(2))  # of 2023: a program's exporter would remove them
    setting = {"OTEL_COREVITAL_SQLITE_PATH": str(cli.db), "OTEL_COREVITAL_SQLITE_RETENTION_DAYS": "0.00001"}
    code, _ = doctor(**traces_to("corevital_sqlite"), **setting)
    assert code == 0
    assert len(stored_spans(cli.db)) == 2


def test_a_console_prints_nothing_into_the_answer(doctor: Doctor) -> None:
    code, told = doctor(
        **dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "console")
    )
    assert code == 0
    tested = [each for each in told["findings"] if each["area"] == "test telemetry"]
    assert [each["level"] for each in tested] == ["ok"] * 3
    assert all("Console" in each["subject"] for each in tested)


@pytest.mark.parametrize("signal", ["TRACES", heavy("METRICS"), heavy("LOGS")])
def test_a_store_that_cannot_be_written_is_a_problem_whatever_goes_there(
    doctor: Doctor, signal: str, tmp_path: Path
) -> None:
    code, told = doctor(**{f"OTEL_{signal}_EXPORTER": "corevital_sqlite"}, OTEL_COREVITAL_SQLITE_PATH=str(tmp_path))
    assert code == 1
    (tested,) = [each for each in told["findings"] if each["area"] == "test telemetry" and "SQLite" in each["subject"]]
    assert tested["level"] == "problem"
    assert "is a folder" in tested["text"]


def test_behind_the_programs_own_start(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    environment = {**os.environ, "OTEL_COREVITAL_SQLITE_PATH": str(database)}
    found = subprocess.run(
        [
            *exporting("console,corevital_console,corevital_sqlite"),
            *(script("corevital"), "doctor", "--quick", "--verbose"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "the store and console and corevital_console  as OTEL_TRACES_EXPORTER says" in found.stdout
    assert "ConsoleSpanExporter  printed the span 'corevital doctor'" in found.stdout
    assert "ConsoleRunExporter  prints runs to standard output, and no other span" in found.stdout
    assert f"SQLiteSpanExporter to {database}  stored the span" in found.stdout
    assert stored_spans(database) == []


def test_torch_is_not_loaded_and_it_is_quick(tmp_path: Path) -> None:
    code = """
        import sys, time
        from opentelemetry_instrumentation_corevital.cli.app import run_command
        begin = time.monotonic()
        assert run_command(["doctor", "--json", "--quick"]) == 0
        assert not {"torch", "transformers"} & set(sys.modules)
        print(time.monotonic() - begin, file=sys.stderr)
    """
    found = subprocess.run(
        [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines())],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **traces_to("console")},
    )
    assert found.returncode == 0, found.stderr
    assert float(found.stderr.splitlines()[-1]) < 30
    assert json.loads(found.stdout)["ok"]


# --- what is installed and instrumented --------------------------------------------------------------------------


def test_the_methods_it_looks_for_are_those_that_are_patched() -> None:
    patched: dict[str, dict[str, tuple[str, ...]]] = {}
    for module, make in patched_methods._patches._makers.items():
        if module in (*uninstrumented.OWN_GENERATE, uninstrumented.CONTINUOUS_BATCHING_MODULE):
            continue  # patched to say that they are not seen
        for class_name, patch in make():
            classes = patched.setdefault(module, {})
            classes[class_name] = (*classes.get(class_name, ()), patch.name)
    looked_for: dict[str, dict[str, tuple[str, ...]]] = {}
    for table in (instrumented.NEEDED, instrumented.HELPFUL):
        for module, classes in table.items():
            for class_name, methods in classes.items():
                known = looked_for.setdefault(module, {})
                known[class_name] = (*known.get(class_name, ()), *methods)
    assert patched == looked_for


def test_a_transformers_without_a_method_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "transformers" / "generation"
    folder.mkdir(parents=True)
    for name in (folder.parent, folder):
        (name / "__init__.py").touch()
    (folder / "utils.py").write_text("class GenerationMixin:\n    def generate(self): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    found = list(instrumented.check())
    assert [each.text for each in found if each.level == "problem"] == [
        "has no _get_logits_processor, _get_stopping_criteria"
    ]
    assert sum(each.level == "note" for each in found) == len(instrumented.HELPFUL)


def test_what_is_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"transformers": "4.40.0", "opentelemetry-sdk": "1.45.2", "torch": "2.13.0+cpu"}

    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(installed, "version", version)
    monkeypatch.setattr(installed, "entry_points", lambda **_: ())
    found = {each.subject: each for each in installed.check()}
    assert found["torch"].level == found["opentelemetry-sdk"].level == "ok"
    assert found["transformers"].level == "problem"
    assert "4.40.0" in found["transformers"].text
    assert ">=4.57, <6" in found["transformers"].text
    assert "pip install" in found["transformers"].advice
    assert "nothing is exported" in found["opentelemetry-distro"].text
    assert "[distro]" in found["opentelemetry-distro"].advice
    assert found["opentelemetry-api"].level == "problem"


def test_switched_off(doctor: Doctor) -> None:
    code, told = doctor(
        OTEL_SDK_DISABLED="True", OTEL_COREVITAL_ENABLED="false", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="a, corevital"
    )
    assert code == 1
    assert {each["subject"] for each in problems(told)} == {
        "OTEL_SDK_DISABLED",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        "enabled",
    }


def test_other_instrumentations_may_be_switched_off(doctor: Doctor) -> None:
    code, told = doctor(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="requests,flask", **traces_to("console"))
    assert code == 0
    assert finding(told, "OTEL_PYTHON_DISABLED")["level"] == "ok"


# --- settings ----------------------------------------------------------------------------------------------------


def test_a_bad_value_and_a_misspelt_variable(doctor: Doctor) -> None:
    code, told = doctor(
        COREVITAL_KERNELS="off",
        OTEL_COREVITAL_CAPTURE="everything",
        OTEL_COREVITAL_MAX_STEP_EVENT="3",
        **traces_to("console"),
    )
    assert code == 1
    beginning, misspelt, bad = problems(told)
    assert beginning["subject"] == "COREVITAL_KERNELS"
    assert beginning["advice"] == "did you mean OTEL_COREVITAL_KERNELS?"
    assert misspelt["subject"] == "OTEL_COREVITAL_MAX_STEP_EVENT"
    assert misspelt["advice"] == "did you mean OTEL_COREVITAL_MAX_STEP_EVENTS?"
    assert "OTEL_COREVITAL_CAPTURE" in bad["text"]
    assert "'everything'" in bad["text"]


def test_options_are_told_and_keys_are_not(doctor: Doctor) -> None:
    code, told = doctor(
        OTEL_COREVITAL_PROMPT_HASH="hmac",
        OTEL_COREVITAL_HASH_KEY=SECRET,
        OTEL_COREVITAL_CAPTURE_RATIO="0.5",
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true",
        **traces_to("console"),
    )
    assert code == 0
    assert finding(told, "options")["text"] == "capture_ratio=0.5, prompt_hash=hmac, hash_key=***"
    assert finding(told, "capture_ratio")["level"] == "note"
    assert "no content is captured" in finding(told, "CAPTURE_MESSAGE_CONTENT")["text"]


# --- exporters ---------------------------------------------------------------------------------------------------


def test_an_exporter_that_is_not_there(doctor: Doctor) -> None:
    code, told = doctor(**traces_to("consol"))
    assert code == 1
    found = the_problem(told)
    assert "'consol' not found" in found["text"]
    assert "console" in found["advice"]
    assert "corevital_sqlite" in found["advice"]


def test_no_exporter_and_no_sample(doctor: Doctor) -> None:
    code, told = doctor(**traces_to("none"), OTEL_TRACES_SAMPLER="parentbased_always_off")
    assert code == 1
    assert [each["subject"] for each in problems(told)] == ["traces", "sampler"]
    assert finding(told, "metrics")["level"] == finding(told, "logs")["level"] == "note"


def test_a_ratio_is_told(doctor: Doctor) -> None:
    code, told = doctor(**traces_to("console"), OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.25")
    assert code == 0
    assert "0.25" in finding(told, "sampler")["text"]


def test_nobody_listens(doctor: Doctor) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    code, told = doctor("--timeout", "1", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **traces_to("otlp"))
    assert code == 1
    found = the_problem(told)
    assert endpoint.removeprefix("http://") in found["subject"]
    assert "Connection refused" in found["text"]
    assert "corevital_sqlite" in found["advice"]
    batches = finding(told, "batches over gRPC")
    assert batches["advice"] == "set OTEL_BSP_MAX_EXPORT_BATCH_SIZE=64"


def test_somebody_who_never_answers_is_not_waited_for(doctor: Doctor) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        begin = time.monotonic()
        code, told = doctor(
            "--timeout",
            "1",
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_TIMEOUT="3600",
            **traces_to("otlp"),
        )
    assert code == 1
    assert the_problem(told)["text"] == "gave no answer within 1 s"
    assert time.monotonic() - begin < 30


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(404 if "/logs" in self.path else 401)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_answers_are_shown_and_secrets_are_not(doctor: Doctor, refusing: str) -> None:
    options = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:{SECRET}@{refusing}",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://{refusing}/v1/logs?api_key={SECRET}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Basic%20{SECRET},X-Tenant=t",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "otlp",
    }
    code, told = doctor(**options)
    assert code == 1
    traces, logs = problems(told)
    assert "401" in traces["text"]
    assert "OTEL_EXPORTER_OTLP_HEADERS" in traces["advice"]
    assert logs["advice"] == "a backend that takes no logs: set OTEL_LOGS_EXPORTER=none"
    configured = next(each for each in told["findings"] if each["subject"] == traces["subject"])
    assert configured["text"] == "batches of 512, headers authorization, x-tenant"
    assert f"http://***@{refusing}/v1/traces" in configured["subject"]
    assert doctor.text(**options)[0] == 1  # and no secret in the text


@pytest.mark.parametrize("scheme", ["http://", heavy("")])
def test_a_grpc_endpoints_user_and_password_are_secret(doctor: Doctor, scheme: str) -> None:
    endpoint = f"{scheme}ada:{SECRET}@127.0.0.1:9"
    options = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    code, told = doctor("--timeout", "3", **options, **traces_to("otlp"))
    assert code == 1
    assert "***@127.0.0.1:9" in the_problem(told)["subject"]
    assert "ada" not in the_problem(told)["text"]


def test_a_configuration_files_secrets_are_secret(doctor: Doctor, refusing: str, tmp_path: Path) -> None:
    exporter = {
        "endpoint": f"http://ada:{SECRET}@{refusing}/v1/traces",
        "headers": [{"name": "x-key", "value": SECRET}],
    }
    file = {"file_format": "1.0", "tracer_provider": {"processors": [{"batch": {"exporter": {"otlp_http": exporter}}}]}}
    path = tmp_path / "otel.json"
    path.write_text(json.dumps(file))
    code, told = doctor(OTEL_CONFIG_FILE=str(path))
    assert code == 1
    assert f"http://***@{refusing}" in the_problem(told)["subject"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("to ada:pa55word@host:4317, error", "to ***@host:4317, error"),
        ("to token-of-mine@host:4317", "to ***@host:4317"),
        ("grpcs://ada:pa55word@[::1]:4317/x", "grpcs://***@[::1]:4317/x"),
        ("failed for ada%3Apa55word%40host and pa55word", "failed for ***%40host and ***"),
        ("http://host/v1?key=abc", "http://host/v1?***"),
        ("ProxyError('https://me:hunter22@proxy:3128')", "ProxyError('https://***@proxy:3128')"),
        ("hunter22 and p@ss/word", "*** and ***"),
        ("x-key was k-123456", "x-key was ***"),
        ("a@b c", "***@b c"),
        ("http://eve:left/right@host:4318/v1", "http://***@host:4318/v1"),
        ("http://eve:left?right@host", "http://***@host"),
        ("http://eve:left#right@host/v1", "http://***@host/v1"),
        ("http://host:4318/v1/@me", "http://host:4318/v1/@me"),
        ("12 runs @ 3 s, batches of 512", "12 runs @ 3 s, batches of 512"),
    ],
)
def test_secrets_are_left_out_of_a_line(line: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ada:pa55word@host:4317")
    monkeypatch.setenv("HTTPS_PROXY", "https://me:hunter22@proxy:3128")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ada:p@ss/word@host:4318")
    assert without_secrets(line, ["k-123456"]) == shown


@pytest.mark.parametrize(
    ("exporter", "said", "advice"),
    [
        (("grpc", "h:4318"), "", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        (("http", "http://h:4317/v1/traces"), "", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        (("grpc", "h:1"), "Trying to connect an http1.x server", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        (("http", "http://h:1"), "('Connection aborted.', ...)", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        (("http", "http://h:1"), "code: 404, reason: Not Found", "the part before /v1/traces"),
        (("grpc", "h:1"), "StatusCode.UNAUTHENTICATED", "OTEL_EXPORTER_OTLP_HEADERS"),
        (("grpc", "h:1"), "Tls handshake failed", "http or https"),
        (("grpc", "h:1"), "Connection refused", "start a receiver"),
        ((None, None), "OSError: disk full", "its answer says"),
    ],
)
def test_advice_follows_the_answer(exporter: tuple[str | None, str | None], said: str, advice: str) -> None:
    protocol, where = exporter
    assert advice in after_failure({"signal": "traces", "protocol": protocol, "where": where}, said)


def test_a_store_that_cannot_be_written(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("this is no database" * 100)
    code, told = doctor(**traces_to("corevital_sqlite"), OTEL_COREVITAL_SQLITE_PATH=str(tmp_path / "no.db"))
    assert code == 1
    assert "no.db" in the_problem(told)["text"]


# --- limits ------------------------------------------------------------------------------------------------------


def test_lowered_limits_are_measured(doctor: Doctor) -> None:
    limits = {
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "99",
        "OTEL_SPAN_EVENT_COUNT_LIMIT": "",
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "4",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "64",
    }
    code, told = doctor(**traces_to("console"), **limits)
    assert code == 1
    found = {each["subject"]: each for each in problems(told)}
    assert set(found) == {"attributes of a span", "attributes of an event", "characters of a value"}
    assert found["attributes of a span"]["text"].startswith("99, but a run may have 100")
    assert found["attributes of a span"]["advice"] == "set OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=128 or more"
    assert found["characters of a value"]["advice"] == "unset OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
    assert finding(told, "events of a span")["text"].startswith("no limit")


def test_the_limits_are_enough_for_the_largest_span() -> None:
    run = add_layers(long_run(), 80)
    run.columns["hidden_l2_norm"][100, :40] = 1e6
    run.columns["hidden_nan"][5, :] = 3
    for capture in ("full", "summary"):
        span = emit(run, capture=capture)
        attributes = dict(span.attributes or {})
        assert len(attributes) + len(content_attributes()) <= _ATTRIBUTES
        assert len(span.events) <= _EVENTS
        assert all(len(event.attributes or {}) <= _EVENT_ATTRIBUTES for event in span.events)
        texts = [value for value in attributes.values() if isinstance(value, str)]
        texts += [
            text for value in attributes.values() if isinstance(value, tuple) for text in value if isinstance(text, str)
        ]
        assert max(map(len, texts)) < _LENGTH


def test_a_number_that_is_none_is_said_before_anything_else() -> None:
    found = subprocess.run(
        [script("corevital"), "doctor", "--quick"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"},
    )
    assert found.returncode == 1
    assert found.stderr.startswith("Error: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be")


# --- the declarative configuration file --------------------------------------------------------------------------

FILE = """
file_format: "1.0"
resource: {attributes: [{name: service.name, value: declared}]}
tracer_provider:
  limits: {attribute_count_limit: 50}
  processors:
    - batch: {max_export_batch_size: 32, exporter: {corevital_sqlite: {path: "%s"}}}
    - simple: {exporter: {console: {}}}
instrumentation/development:
  python: {corevital: {capture: %s}}
"""


@pytest.mark.acceptance
def test_a_configuration_file(doctor: Doctor, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.configuration")
    file, database = tmp_path / "otel.yaml", tmp_path / "declared.db"
    file.write_text(FILE % (database, "full"))
    code, told = doctor(OTEL_CONFIG_FILE=str(file), OTEL_TRACES_EXPORTER="otlp")
    assert code == 1
    assert the_problem(told)["subject"] == "attributes of a span"
    assert "OTEL_CONFIG_FILE" in the_problem(told)["advice"]
    assert finding(told, "options")["text"] == "capture=full"
    assert finding(told, "service.name")["text"] == "declared"
    assert "not read" in finding(told, "OTEL_TRACES_EXPORTER")["text"]
    tested = [each for each in told["findings"] if each["area"] == "test telemetry"]
    assert [each["level"] for each in tested] == ["ok", "ok"]
    assert "read back and removed" in tested[0]["text"]
    assert stored_spans(database) == []

    file.write_text(FILE % (database, "fulll"))
    assert any("'fulll'" in each["text"] for each in problems(doctor()[1]))

    file.write_text("tracer_provider: [")
    code, told = doctor()
    assert code == 1
    assert the_problem(told)["subject"] == "start-up"


# --- real receivers ----------------------------------------------------------------------------------------------


@pytest.mark.wire
@pytest.mark.xdist_group("wire")
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_real_collector_takes_it(doctor: Doctor, otelcol: str, tmp_path: Path, protocol: str) -> None:
    port, written = free_port(), tmp_path / "spans.json"
    name = "grpc" if protocol == "grpc" else "http"
    config = {
        "receivers": {"otlp": {"protocols": {name: {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"file": {"path": str(written)}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                signal: {"receivers": ["otlp"], "exporters": ["file"]} for signal in ("traces", "metrics", "logs")
            },
        },
    }
    (tmp_path / "collector.yaml").write_text(json.dumps(config))
    log = tmp_path / "collector.log"
    with process([otelcol, "--config", str(tmp_path / "collector.yaml")], log, {}):
        wait_until(lambda: "Everything is ready" in log.read_text())
        code, told = doctor(
            "call",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_SERVICE_NAME="looked-at",
        )
        assert code == 0, problems(told)
        (line,) = wait_until(lambda: written.read_text().splitlines())
    assert "text_completion corevital-doctor" in line
    assert "corevital.risk.score" in line
    assert "looked-at" in line
    assert next(each for each in told["findings"] if "trace " in each["text"])["text"].split()[-1].rstrip(")") in line


@pytest.mark.wire
@pytest.mark.xdist_group("wire")
@pytest.mark.acceptance
def test_a_real_jaeger_takes_traces_only(doctor: Doctor, jaeger: str, tmp_path: Path) -> None:
    ports = [free_port() for _ in range(4)]
    names = ("collector.otlp.http", "collector.otlp.grpc", "query.http-server", "admin.http")
    options = [f"--{name}.host-port=127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)]
    others = ("collector.grpc-server", "collector.http-server", "query.grpc-server")
    options += [f"--{name}.host-port=127.0.0.1:{free_port()}" for name in others]
    with process([jaeger, *options], tmp_path / "jaeger.log", {"COLLECTOR_OTLP_ENABLED": "true"}):
        wait_until(lambda: get_json(f"http://127.0.0.1:{ports[2]}/api/services"))
        code, told = doctor(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{ports[0]}",
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_SERVICE_NAME="looked-at",
        )
        found = wait_until(lambda: get_json(f"http://127.0.0.1:{ports[2]}/api/traces?service=looked-at")["data"])
    assert code == 1
    assert [each["advice"].split()[-1] for each in problems(told)] == [
        "OTEL_METRICS_EXPORTER=none",
        "OTEL_LOGS_EXPORTER=none",
    ]
    assert found[0]["spans"][0]["operationName"] == "corevital doctor"
