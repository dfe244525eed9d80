"""Misspelt environment variables: what is taken for one, what is meant, and that it is told once."""

import logging
import re
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import config
from opentelemetry_instrumentation_corevital._internal.unknown_variables import OTHERS, unknown_variables
from opentelemetry_instrumentation_corevital.config import Settings, environment_variable, load_settings
from tests.support.subprocesses import exporting, run
from tests.support.zero_code_programs import program

ROOT = Path(__file__).parents[2]
OPTIONS = {option: environment_variable(option) for option in Settings.model_fields}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("OTEL_COREVITAL_CAPTRUE", "OTEL_COREVITAL_CAPTURE"),
        ("COREVITAL_CAPTURE", "OTEL_COREVITAL_CAPTURE"),
        ("COREVITAL_SQLITE_PATH", "OTEL_COREVITAL_SQLITE_PATH"),
        ("otel_corevital_sqlite_pth", "OTEL_COREVITAL_SQLITE_PATH"),
        ("OTEL_PYTHON_COREVITAL_ENABLED", "OTEL_COREVITAL_ENABLED"),
        ("OTEL_CORE_VITAL_RUN_DATA", "OTEL_COREVITAL_RUN_DATA"),
        ("OTEL_CORVITAL_RUN_DATA", "OTEL_COREVITAL_RUN_DATA"),
        ("OTEL_COREVITAL_CAPTURE_MESSAGE_CONTENT", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"),
        ("COREVITAL_COLLECT_TOKN", "COREVITAL_COLLECT_TOKEN"),
        ("OTEL_COREVITAL_COLLECT_TOKEN", "COREVITAL_COLLECT_TOKEN"),
        ("OTEL_COREVITAL_XYZZY", None),
    ],
)
def test_what_is_misspelt_and_what_is_meant(name: str, nearest: str | None) -> None:
    (found,) = unknown_variables({name: "a secret"}, OPTIONS)
    assert (found.name, found.nearest) == (name, nearest)


def test_what_is_read_and_what_is_others_is_not_misspelt() -> None:
    others = [
        *OPTIONS.values(),
        "otel_corevital_capture",
        "COREVITAL_COLLECT_TOKEN",
        *("COREVITAL_SERVICE_HOST", "COREVITAL_SERVICE_PORT", "COREVITAL_SERVICE_PORT_HTTP", "COREVITAL_PORT"),
        *("COREVITAL_PORT_4418_TCP", "COREVITAL_COLLECT_PORT_4418_TCP_ADDR", "COREVITAL_PORT_4418_TCP_PROTO"),
        *("OTEL_COLLECTOR_ENDPOINT", "OTEL_CONFIG_FILE", "COREUTILS_PATH", "COREVITAL"),
    ]
    assert unknown_variables(dict.fromkeys(others, ""), OPTIONS) == []


def test_the_collectors_variables_are_known() -> None:
    configurations = [ROOT / "collector-config.yaml", *(ROOT / "collector").rglob("*.y*ml")]
    named = {
        name for file in configurations for name in re.findall(r"\bCOREVITAL_[A-Z_]+[A-Z]\b", file.read_text("utf-8"))
    }
    assert len(named) > 30
    assert unknown_variables(dict.fromkeys(named, ""), OPTIONS) == []
    assert {name.split("_")[1] for name in named} - {"COLLECT", "DASHBOARD"} <= set(OTHERS)


def test_each_is_told_once_with_its_name_and_never_its_value(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(config, "_warned_of", set())
    monkeypatch.setenv("OTEL_COREVITAL_HASHKEY", "s3cret")
    monkeypatch.setenv("COREVITAL_CAPTURE", "s3cret")
    with caplog.at_level(logging.WARNING):
        load_settings()
        load_settings({"capture": "full"})
    assert [record.getMessage() for record in caplog.records] == [
        "CoreVital: nothing reads the environment variable COREVITAL_CAPTURE; did you mean OTEL_COREVITAL_CAPTURE?",
        "CoreVital: nothing reads the environment variable OTEL_COREVITAL_HASHKEY; "
        "did you mean OTEL_COREVITAL_HASH_KEY?",
    ]


def test_under_zero_code(tmp_path: Path) -> None:
    found = run(
        [*exporting("corevital_sqlite"), *program("tiny")],
        OTEL_COREVITAL_SQLITE_PATH=str(tmp_path / "runs.db"),
        OTEL_COREVITAL_CAPTRUE="s3cret",
    )
    assert found.stderr.count("OTEL_COREVITAL_CAPTRUE; did you mean OTEL_COREVITAL_CAPTURE?") == 1
    assert "s3cret" not in found.stderr
