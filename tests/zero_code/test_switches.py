"""What switches CoreVital or the SDK off, thins it or limits it, under `opentelemetry-instrument`."""

import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.semconv import SCOPE_NAME
from tests.support.subprocesses import exporting, json_objects, run, stored_spans
from tests.support.tiers import heavy
from tests.support.zero_code_programs import program


@pytest.fixture(scope="module")
def plain_tokens() -> str:
    """What the program prints without OpenTelemetry."""
    return run(program("tiny")).stdout


@pytest.mark.parametrize(
    "variables",
    [
        heavy({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "corevital"}, id="OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"),
        heavy({"OTEL_SDK_DISABLED": "true"}, id="OTEL_SDK_DISABLED"),
        {"OTEL_COREVITAL_ENABLED": "false"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_what_is_switched_off_is_off(variables: dict[str, str], plain_tokens: str, tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    found = run(
        [*exporting("corevital_sqlite"), *program("tiny")], OTEL_COREVITAL_SQLITE_PATH=str(database), **variables
    )
    assert found.stdout == plain_tokens
    assert not database.exists() or not [span for span in stored_spans(database) if span.scope == SCOPE_NAME]
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("sampler", "argument", "kept"),
    [
        ("always_off", "", []),
        ("always_on", "", [None, "sampled", "not sampled"]),
        heavy("traceidratio", "0", []),
        heavy("parentbased_always_on", "", [None, "sampled"]),
        heavy("parentbased_traceidratio", "0", ["sampled"]),
    ],
)
def test_samplers_decide_what_is_recorded(sampler: str, argument: str, kept: list[str | None], tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    found = run(
        [*exporting("corevital_sqlite", "console"), *program("sampled")],
        OTEL_COREVITAL_SQLITE_PATH=str(database),
        OTEL_TRACES_SAMPLER=sampler,
        OTEL_TRACES_SAMPLER_ARG=argument or "1",
    )
    spans = stored_spans(database) if database.exists() else []
    parents = {f"{0xAB + 1:032x}": "sampled", f"{0xAB:032x}": "not sampled"}
    assert [parents.get(span.trace_id) for span in spans] == kept
    (runs,) = [
        metric["data"]["data_points"]
        for item in json_objects(found.stdout)
        for resource in item.get("resource_metrics", ())
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
        if metric["name"] == "corevital.runs"
    ]
    captured = {point["attributes"]["corevital.captured"]: point["value"] for point in runs}
    assert captured.get(True, 0) == len(kept)
    assert captured.get(False, 0) == 3 - len(kept)


def test_the_declarative_file_configures_corevital_and_its_limits(tmp_path: Path) -> None:
    configuration = tmp_path / "otel.yaml"
    configuration.write_text(
        """
        file_format: "1.0"
        resource:
          attributes: [{name: service.name, value: declared}]
        tracer_provider:
          limits: {event_count_limit: 8, attribute_count_limit: 40}
          processors:
            - simple: {exporter: {console: {}}}
        instrumentation/development:
          python:
            corevital: {capture: full, layers: "0"}
        """
    )
    found = run([exporting("x")[0], *program("tiny")], OTEL_CONFIG_FILE=str(configuration), NEW_TOKENS="20")
    spans = [item for item in json_objects(found.stdout) if item.get("name", "").startswith("text_completion")]
    assert len(spans) == 2
    for span in spans:
        attributes = span["attributes"]
        assert span["resource"]["attributes"]["service.name"] == "declared"
        assert len(span["events"]) == attributes["corevital.steps.recorded"] == 8
        assert len(attributes) <= 40
        for name in ("gen_ai.operation.name", "gen_ai.request.model", "corevital.risk.score", "corevital.narrative"):
            assert name in attributes, "the verdict survives"
        assert all(attributes[f"corevital.health.{flag}_detected"] is False for flag in ("nan", "inf"))


STOPPED = ("policy", "stop", "risk>=0", 2)


def ends(output: str) -> list[tuple[object, ...]]:
    """Return how each run on the console ended."""
    spans = [item for item in json_objects(output) if item.get("name", "").startswith("text_completion")]
    names = ("stop_reason", "intervention.kind", "intervention.trigger", "steps.recorded")
    return [tuple(span["attributes"].get(f"corevital.{name}") for name in names) for span in spans]


def test_a_process_stops_on_what_its_environment_says() -> None:
    found = run([*exporting("console"), *program("tiny")], OTEL_COREVITAL_STOP_ON="nan,risk>=0", NEW_TOKENS="20")
    assert ends(found.stdout) == [STOPPED] * 2


@pytest.mark.acceptance
def test_a_bad_condition_is_one_line_and_the_program_goes_on(plain_tokens: str) -> None:
    value = "nan,loop"
    found = run([*exporting("console"), *program("tiny")], OTEL_COREVITAL_STOP_ON=value)
    assert ends(found.stdout) == []
    assert "".join(found.stdout.split()).startswith("".join(plain_tokens.split()))
    (line,) = [line for line in found.stderr.splitlines() if "OTEL_COREVITAL_STOP_ON" in line]
    assert value in line
    assert "stays off" in line


def test_the_declarative_file_says_what_stops_a_run(tmp_path: Path) -> None:
    configuration = tmp_path / "otel.yaml"
    configuration.write_text(
        """
        file_format: "1.0"
        tracer_provider:
          processors:
            - simple: {exporter: {console: {}}}
        instrumentation/development:
          python:
            corevital: {stop_on: "risk>=0", max_interventions: 1, capture: full}
        """
    )
    found = run([exporting("x")[0], *program("tiny")], OTEL_CONFIG_FILE=str(configuration), NEW_TOKENS="20")
    assert ends(found.stdout) == [STOPPED] * 2


@pytest.mark.acceptance
def test_a_bad_condition_in_the_declarative_file_is_named(tmp_path: Path) -> None:
    configuration = tmp_path / "otel.yaml"
    configuration.write_text(
        'file_format: "1.0"\ninstrumentation/development:\n  python:\n    corevital: {stop_on: loop}\n'
    )
    found = run([exporting("x")[0], *program("tiny")], OTEL_CONFIG_FILE=str(configuration))
    assert "option 'stop_on'" in found.stderr
    assert "'loop'" in found.stderr
    assert "corevital.risk" not in found.stdout


def test_a_bad_option_in_the_declarative_file_is_one_line(tmp_path: Path, plain_tokens: str) -> None:
    configuration = tmp_path / "otel.yaml"
    configuration.write_text(
        'file_format: "1.0"\ninstrumentation/development:\n  python:\n    corevital: {captur: full}\n'
    )
    found = run([exporting("x")[0], *program("tiny")], OTEL_CONFIG_FILE=str(configuration))
    assert found.stdout == plain_tokens
    (line,) = [line for line in found.stderr.splitlines() if "captur" in line]
    assert "did you mean 'capture'" in line
    assert "corevital.risk" not in found.stdout


@pytest.mark.parametrize("enabled", [True, False])
def test_the_declarative_file_switches_off_and_names_the_store(enabled: bool, tmp_path: Path) -> None:
    configuration, database = tmp_path / "otel.yaml", tmp_path / "declared.db"
    configuration.write_text(
        f"""
        file_format: "1.0"
        tracer_provider:
          processors:
            - batch: {{exporter: {{corevital_sqlite: {{}}}}}}
        instrumentation/development:
          python:
            corevital: {{enabled: {str(enabled).lower()}, sqlite_path: "{database}"}}
        """
    )
    code = """if True:
        from opentelemetry import trace
        from opentelemetry_instrumentation_corevital.instrumentation.patched_methods import process_recorder
        print(process_recorder() is not None)
        trace.get_tracer("program").start_span("span").end()
    """
    found = run(
        [exporting("x")[0], sys.executable, "-c", code],
        OTEL_CONFIG_FILE=str(configuration),
        XDG_DATA_HOME=str(tmp_path / "data"),
    )
    assert found.stdout.strip() == str(enabled)
    assert database.exists() is enabled, "else it is stored in the data folder, as without the option"


@pytest.mark.acceptance
def test_lowered_limits_leave_the_verdict_and_a_true_count(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    run(
        [*exporting("corevital_sqlite"), *program("tiny")],
        OTEL_COREVITAL_SQLITE_PATH=str(database),
        OTEL_COREVITAL_CAPTURE="full",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="48",
        OTEL_SPAN_EVENT_COUNT_LIMIT="5",
        NEW_TOKENS="20",
    )
    runs = [span for span in stored_spans(database) if span.scope == SCOPE_NAME]
    assert len(runs) == 2
    for span in runs:
        assert span.attributes["corevital.steps.recorded"] == 5
        assert {"corevital.risk.score", "corevital.risk.level", "gen_ai.operation.name"} <= span.attributes.keys()


def test_without_the_distro_one_line_says_that_nothing_is_exported(tmp_path: Path, plain_tokens: str) -> None:
    """The same environment, but for the package `opentelemetry-distro`."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        if not item.name.startswith("opentelemetry_distro"):
            (site / item.name).symlink_to(item)
    start = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    found = run([str(python), "-c", start, "--traces_exporter=console", str(python), program("tiny")[1]])
    assert found.stdout == plain_tokens, "no exporter has printed anything"
    assert found.stderr.count("opentelemetry-distro") == 1


@pytest.mark.acceptance
def test_transformers_may_be_imported_first(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    run(
        [*exporting("corevital_sqlite"), *program("imports_first")],
        OTEL_COREVITAL_SQLITE_PATH=str(database),
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="corevital",
    )
    (span,) = stored_spans(database)
    assert span.attributes["corevital.capture.mode"] == "full"
    assert span.attributes["corevital.steps.total"] == 3
