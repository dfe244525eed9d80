"""The call of `generate()` that the doctor makes: real, through the user's set-up, and nothing is left of it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from opentelemetry_instrumentation_corevital._internal.user_error import UserError
from opentelemetry_instrumentation_corevital.baselines.learned_files import baselines_folder
from opentelemetry_instrumentation_corevital.doctor import call_findings
from opentelemetry_instrumentation_corevital.doctor.brief import brief
from opentelemetry_instrumentation_corevital.doctor.findings import Area, note, ok, problem
from opentelemetry_instrumentation_corevital.doctor.tried_call import TOKENS, try_generate
from opentelemetry_instrumentation_corevital.loading import tiny_model
from tests.support.subprocesses import stored_spans
from tests.support.terminals import terminal, wide

LISTEN: Callable[[Any, Any], None] = TracerProvider.add_span_processor


def tried(**options: Any) -> tuple[list[Any], dict[str, Any]]:
    return try_generate(TracerProvider(sampler=ALWAYS_OFF), LISTEN, {"profile": None, **options})


def told_of(ran: dict[str, Any]) -> dict[str, Any]:
    return {each.subject: each for each in call_findings.check({"said": [], **ran})}


def test_it_is_measured_with_the_users_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_CAPTURE", "full")
    (span,), ran = tried(kernels="off")
    assert span.name == "text_completion corevital-doctor"
    assert span.attributes["gen_ai.usage.output_tokens"] == TOKENS
    assert span.attributes["corevital.capture.mode"] == "full"
    assert any(name.startswith("corevital.layers.") for name in span.attributes), "what is inside is seen"
    found = told_of(ran)
    assert {each.level for each in found.values()} == {"ok"}
    assert found.keys() == {"device", "kernels", "compiled", "generate()"}
    assert "OTEL_COREVITAL_KERNELS=off" in found["kernels"].text
    assert "torch 2." in found["device"].text


def test_nothing_is_learned_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_COREVITAL_BASELINE")
    assert len(tried()[0]) == 1
    folder = Path(baselines_folder())
    assert not folder.exists() or not any(folder.iterdir())


def test_no_risk_and_no_flag_of_it_alarm_anybody() -> None:
    for _ in range(5):  # other weights each time
        (span,), _ = tried()
        assert span.attributes["corevital.risk.score"] < 0.3
        assert span.attributes["corevital.warnings"] == ()
        assert not any(value is True for name, value in span.attributes.items() if ".health." in name)


def test_a_call_that_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(tiny_model.TinyModel, "generate", fails)
    spans, ran = tried()
    assert spans == []
    (found,) = told_of(ran).values()
    assert found.level == "problem"
    assert "RuntimeError: no kernel image is available" in found.text


def test_what_others_tell_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({"capture": "al"}, {}):
        if not options:
            monkeypatch.setitem(sys.modules, "torch", None)
            with pytest.raises(UserError):
                tiny_model.TinyModel()
        (found,) = told_of(tried(**options)[1]).values()
        assert found.level == "note"
        assert "was not called" in found.text


def test_what_is_switched_off_makes_no_span_and_no_second_problem() -> None:
    spans, ran = tried(enabled=False)
    assert spans == []
    assert "generate()" not in told_of(ran)
    assert told_of({**ran, "enabled": True})["generate()"].level == "problem"


@pytest.mark.parametrize(
    ("changed", "subject", "text"),
    [
        ({"kernels": "on", "kind": "cuda"}, "kernels", "Triton"),
        ({"kernels": "none", "kind": "cuda"}, "kernels", "do not run here"),
        ({"compiled": True}, "compiled", "are absent"),
        ({"verdict": {"risk": None, "absent": {"risk": "why not"}}}, "generate()", "why not"),
    ],
)
def test_what_a_machine_tells(changed: dict[str, Any], subject: str, text: str) -> None:
    usual = {"device": "d", "kind": "cpu", "kernels": "none", "compiled": False, "enabled": True, "tokens": TOKENS}
    found = told_of({**usual, "verdict": {"risk": 0.0, "absent": {}}, **changed})
    assert text in found[subject].text


def test_it_arrives_and_all_is_told_on_one_screen(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    every = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "corevital_sqlite")
    with terminal(
        "doctor", columns=80, folder=tmp_path, OTEL_COREVITAL_SQLITE_PATH=str(database), OTEL_SERVICE_NAME="s", **every
    ) as shown:
        assert shown.ended(150) == 0, shown.screen
    lines = [line for line in shown.screen if line]
    text = " ".join(" ".join(lines).split())
    assert "stored the span 'text_completion corevital-doctor'; it was read back and removed" in text
    for told in ("the store as OTEL_TRACES_EXPORTER says", "device", "kernels", "compiled no", f"{database}, "):
        assert told in text or told.replace(" ", "") in text.replace(" ", ""), told
    assert len(lines) <= 30, lines
    assert wide(lines) <= 80
    assert stored_spans(database) == []


# --- in few lines --------------------------------------------------------------------------------------------------


def test_problems_and_advice_are_never_shortened() -> None:
    long = "x " * 200
    given = [
        ok(Area.INSTALLED, "corevital", "1, Python 3"),
        problem(Area.INSTALLED, "torch", long, "mend it"),
        ok(Area.INSTRUMENTED, "a", "b"),
        ok(Area.INSTRUMENTED, "c", "d"),
        note(Area.INSTRUMENTED, "not seen", ", ".join(["name"] * 100)),
        note(Area.LIMITS, "batches", long, "set it"),
    ]
    found = list(brief(given))
    assert [each for each in found if each.level == "problem"] == [given[1]]
    assert given[-1] in found
    assert len(found) == len(given) - 1
    assert len(next(each for each in found if each.subject == "not seen").text) < 120


def test_exporters_with_one_destination_are_told_together() -> None:
    given = [
        ok(Area.EXPORTERS, "traces: SQLiteSpanExporter to /a to b.db", "batches of 512"),
        ok(Area.EXPORTERS, "logs: SQLiteLogExporter to /a to b.db", "batches of 512"),
        ok(Area.EXPORTERS, "metrics: OTLPMetricExporter over grpc to h:1", "configured"),
        ok(Area.EXPORTERS, "store", "/a to b.db, 3.0 KiB"),
    ]
    assert [(each.subject, each.text) for each in brief(given)] == [
        ("traces and logs", "to the store /a to b.db, 3.0 KiB"),
        ("metrics", "OTLPExporter over grpc to h:1"),
    ]
