"""A run whose numbers disagree: it says so, once in the log, always on the span and in the metric, and goes on."""

import json
import logging
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital._internal.safety import breaker_open
from opentelemetry_instrumentation_corevital.capture.session.run_maker import RunMaker
from opentelemetry_instrumentation_corevital.doctor import call_findings, stores
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from tests.support.in_memory import Telemetry, instrumented
from tests.support.spans import make_spans
from tests.support.tiny_models import prompt, tiny_model

SAID = "the numbers disagree: topk_mass >= top1_prob >= margin: "


def spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run come out of the capture with a number that cannot be."""
    measure = RunMaker._measure

    def wrong(self: RunMaker, run: Run, *args: Any) -> None:
        measure(self, run, *args)
        run.columns["margin"][1] = 2.0

    monkeypatch.setattr(RunMaker, "_measure", wrong)


def generated(calls: int = 1, **options: Any) -> Telemetry:
    model = tiny_model()
    with instrumented(**options) as telemetry:
        for _ in range(calls):
            model.generate(prompt(), max_new_tokens=4, do_sample=False, eos_token_id=None)
    return telemetry


def absent_of(telemetry: Telemetry) -> list[dict[str, str]]:
    return [json.loads(str((span.attributes or {}).get("corevital.capture.absent", "{}"))) for span in telemetry.spans]


@pytest.mark.parametrize("capture", ["summary", "full"])
def test_the_numbers_of_a_run_agree(capture: str, caplog: pytest.LogCaptureFixture) -> None:
    telemetry = generated(capture=capture)
    assert "consistency" not in absent_of(telemetry)[0]
    assert "disagree" not in caplog.text


def test_a_disagreement_is_logged_once_and_counted_and_no_run_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    spoilt(monkeypatch)
    telemetry = generated(12)
    found = absent_of(telemetry)
    assert len(found) == 12
    assert all(each["consistency"].startswith(SAID) and "margin 2 at step 1" in each["consistency"] for each in found)
    assert [line for line in caplog.messages if "disagree" in line and "margin 2 at step 1" in line] == [
        line for line in caplog.messages if "topk_mass >= top1_prob" in line
    ]
    assert sum("topk_mass >= top1_prob" in line for line in caplog.messages) == 1
    (dropped,) = [point for point in telemetry.metrics()["corevital.dropped"] if _kind(point) == "consistency"]
    assert dropped.value == 12
    assert not breaker_open(), "a run in doubt is better than none"


def _kind(point: Any) -> Any:
    return point.attributes["corevital.dropped.kind"]


def test_the_doctor_tells_of_its_own_call_and_of_stored_runs(tmp_path: Any) -> None:
    ran = {
        "device": "cpu",
        "kind": "cpu",
        "kernels": "none",
        "compiled": False,
        "enabled": True,
        "tokens": 8,
        "said": [],
        "verdict": {"risk": 0.0, "absent": {"consistency": f"{SAID}margin 2"}},
    }
    (problem,) = [each for each in call_findings.check(ran) if each.level == "problem"]
    assert problem.text == f"{SAID}margin 2"
    exporter = SQLiteSpanExporter(str(tmp_path / "runs.db"))
    exporter.export(make_spans(2))
    told = [{"exporters": [{"kind": "SQLiteSpanExporter", "where": str(tmp_path / "runs.db")}]}]
    assert [each.level for each in stores.check(told)] == ["ok"]
    exporter.export(make_spans(1, **{"corevital.capture.absent": json.dumps({"consistency": f"{SAID}margin 3"})}))
    exporter.shutdown()
    found = list(stores.check(told))
    assert [each.level for each in found] == ["ok", "note"]
    assert "1 of the newest 500 in" in found[1].text
    assert found[1].text.endswith(f"{SAID}margin 3")
