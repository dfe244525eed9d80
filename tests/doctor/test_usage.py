"""What somebody wants to use, from variables, options and the default; what is not used is no problem."""

import sys
from types import ModuleType

import pytest

from opentelemetry_instrumentation_corevital.doctor import startup
from opentelemetry_instrumentation_corevital.doctor.usage import _START, Use, usage

TRACES, METRICS, LOGS = (f"OTEL_{signal}_EXPORTER" for signal in ("TRACES", "METRICS", "LOGS"))
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "named", "why", "otlp"),
    [
        ({}, "the store", "assumed: no variable names an exporter", False),
        ({ENDPOINT: "http://h"}, "OTLP", f"as {ENDPOINT} is set", True),
        ({METRICS: "none"}, "OTLP", f"the default, as {TRACES} is not set", True),
        ({TRACES: "corevital_sqlite"}, "the store", f"as {TRACES} says", False),
        ({TRACES: "otlp", ENDPOINT: "http://h"}, "OTLP", f"as {TRACES} says", True),
        ({TRACES: "otlp_proto_http"}, "OTLP", f"as {TRACES} says", True),
        ({TRACES: "otlp, corevital_sqlite"}, "the store and OTLP", f"as {TRACES} says", True),
        ({TRACES: "corevital_sqlite", METRICS: "otlp"}, "the store and OTLP", f"as {TRACES} and {METRICS} say", True),
        ({TRACES: "console", LOGS: "corevital_sqlite"}, "the store and console", f"as {TRACES} and {LOGS} say", False),
        ({TRACES: "none"}, "nothing", f"as {TRACES} says", False),
        ({"OTEL_CONFIG_FILE": "f.yaml", TRACES: "x"}, "what OTEL_CONFIG_FILE configures", "it is f.yaml", True),
    ],
)
def test_the_environment_says_it(environment: dict[str, str], named: str, why: str, otlp: bool) -> None:
    used = usage(None, environment)
    assert (used.named, used.why, used.otlp) == (named, why, otlp)


def test_what_the_distribution_sets_by_itself_is_not_what_somebody_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {TRACES: "corevital_sqlite", METRICS: "otlp", LOGS: "otlp"}
    assert usage(None, environment).otlp
    monkeypatch.setitem(sys.modules, _START, ModuleType(_START))
    assert not usage(None, environment).otlp
    assert usage(None, environment).named == "the store"
    assert usage(None, {**environment, ENDPOINT: "http://h"}).named == "the store and OTLP"
    assert usage(None, {**environment, TRACES: "otlp"}).named == "OTLP"


@pytest.mark.parametrize(
    ("use", "exporters"),
    [(Use.STORE, "corevital_sqlite"), (Use.OTLP, "otlp"), (Use.BOTH, "otlp,corevital_sqlite")],
)
def test_an_option_says_it(use: Use, exporters: str) -> None:
    environment = {"OTEL_CONFIG_FILE": "f.yaml", TRACES: "console", LOGS: "none", "HOME": "h"}
    used = usage(use, environment)
    assert used.why == f"as --use {use} says"
    assert used.environment == {TRACES: exporters, METRICS: exporters, LOGS: "none", "HOME": "h"}
    assert used.otlp is (use is not Use.STORE)


def test_an_exporter_that_nobody_asked_for_is_no_problem() -> None:
    exporter = {"signal": "logs", "kind": "OTLPLogExporter", "protocol": "grpc", "where": "localhost:4317"}
    answer = {"result": "no answer", "said": ["Connection refused"]}
    found = startup._answer(exporter, answer, 5)
    assert found.level == "problem"
    told = startup._if_used(found, exporter, usage(None, {TRACES: "corevital_sqlite"}))
    assert told.level == "note"
    assert told.advice == "set OTEL_LOGS_EXPORTER=corevital_sqlite, or none"
    assert startup._if_used(found, exporter, usage(None, {TRACES: "otlp"})) == found
    own = {**exporter, "kind": "SQLiteLogExporter", "protocol": None}
    failed = startup._answer(own, answer, 5)
    assert startup._if_used(failed, own, usage(None, {TRACES: "corevital_sqlite"})) == failed
