"""The eight judgements as public span processors: each alone, all together, given to `instrument()`, and without it."""

import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from opentelemetry.trace import Span

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital.assessment.verdict_attributes import verdict_attributes
from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped
from opentelemetry_instrumentation_corevital.baselines.run_numbers import RunLimit, Yardstick
from opentelemetry_instrumentation_corevital.baselines.windowed import TableRows
from opentelemetry_instrumentation_corevital.calibration import Profiles
from opentelemetry_instrumentation_corevital.emission.judgements import ROLES
from opentelemetry_instrumentation_corevital.instrumentation.call_context import PromptHint, prompt_hint
from opentelemetry_instrumentation_corevital.processors import (
    AnswerProcessor,
    BlameProcessor,
    CompoundProcessor,
    EarlyWarningProcessor,
    FingerprintProcessor,
    HealthProcessor,
    Judgement,
    NarrativeProcessor,
    RiskProcessor,
    Thresholds,
)
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.tiny_models import prompt, tiny_model

BITS = 0.5
STEPS = 24


def nothing_is_usual(layers: int) -> Yardstick:
    """Return what is known of a model of which no window is like another one."""
    rows = TableRows(layers)
    return Yardstick.of_quantiles(np.array([[-1e-3], [1e-6], [1e-3]]).repeat(rows.count, 1), rows)


OWN: dict[str, Judgement] = {
    "health": HealthProcessor(Thresholds(high_entropy_bits=-1.0)),
    "early_warning": EarlyWarningProcessor(Thresholds(margin_collapsed=2.0)),
    "compound": CompoundProcessor(Thresholds(high_entropy_bits=-1.0, confusion_margin=-1.0), Profiles("off")),
    "risk": RiskProcessor(Thresholds(risk_medium=-2.0, risk_high=-1.0)),
    "answer": AnswerProcessor(Thresholds(answer=shipped().model_copy(update={"method": "labels-1"}))),
    "blame": BlameProcessor(Thresholds(limit=RunLimit(1e-9, nothing_is_usual(6)))),
    "fingerprint": FingerprintProcessor(key="a key"),
    "narrative": NarrativeProcessor(Thresholds(high_entropy_bits=-7.0)),
}
"""One of each role, whose thresholds make another verdict of the same run."""

READS_IT = {
    "health": {"risk", "narrative"},
    "early_warning": {"narrative"},
    "risk": {"narrative"},
    "blame": {"narrative"},
}
"""Roles whose judgements are made of another one's."""

Calls = list[tuple[int, Judgement]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Note every judgement of every run, in order: the run's id and what judged it."""
    made: Calls = []

    def noting(judge: Any) -> Any:
        def on_run_ending(self: Judgement, span: Span, run: Run) -> None:
            made.append((id(run), self))
            judge(self, span, run)

        return on_run_ending

    for each in OWN.values():
        monkeypatch.setattr(type(each), "on_run_ending", noting(type(each).on_run_ending))
    return made


@cache
def six_layers() -> Any:
    return tiny_model(num_hidden_layers=6)


def judged(added: Sequence[Judgement] = (), given: Sequence[Judgement] = ()) -> tuple[Run, dict[str, Any]]:
    """Return a run, and its span's attributes; with processors on the provider, and given to `instrument()`."""
    telemetry, keep = Telemetry(), Keep()
    for each in added:
        telemetry.tracer_provider.add_span_processor(each)
    options: dict[str, Any] = {"judgements": [*given, keep], "high_entropy_bits": BITS, "profile": "off"}
    with instrumented(telemetry, **options), prompt_hint(PromptHint(text="a prompt")):
        six_layers().generate(prompt(), max_new_tokens=STEPS, do_sample=False, eos_token_id=None)
    return keep.runs[0], dict(telemetry.span.attributes or {})


@pytest.fixture(scope="module")
def usual() -> tuple[Run, dict[str, Any]]:
    """The same run without any processor of a user."""
    return judged()


def of_role(run: Run, attributes: dict[str, Any], role: Any) -> dict[str, Any]:
    return {name: attributes.get(name) for name in verdict_attributes(run, role)}


@pytest.mark.parametrize("way", ["added", "given"])
@pytest.mark.parametrize("role", ROLES)
def test_one_takes_the_place_of_ours_of_its_role_and_of_no_other(
    role: str, way: str, usual: tuple[Run, dict[str, Any]], calls: Calls
) -> None:
    own = OWN[role]
    run, attributes = judged(**{way: [own]})  # type: ignore[arg-type]
    assert [each.role for _, each in calls] == list(ROLES), "one judgement of each role, in their order"
    assert [each.role for _, each in calls if each in OWN.values()] == [role]
    assert of_role(run, attributes, role) != of_role(*usual, role), "its own thresholds are seen"
    for other in set(ROLES) - {role} - READS_IT.get(role, set()):
        assert of_role(run, attributes, other) == of_role(*usual, other), other
    assert all(of_role(run, attributes, other) for other in ROLES if of_role(*usual, other)), "the others are there"


def test_what_each_threshold_does_is_on_the_span() -> None:
    run, attributes = judged(list(OWN.values()))
    assert attributes[semconv.HEALTH_HIGH_ENTROPY_STEPS] == run.steps == STEPS
    assert "margin_collapsing" in attributes[semconv.EARLY_WARNING_SIGNALS]
    assert "confident_confusion" in [signal.name for signal in run.compound]
    assert attributes[semconv.RISK_LEVEL] == "high"
    assert run.blame
    assert f"{STEPS} of {STEPS} steps were above -7 bit" in attributes[semconv.NARRATIVE]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("way", ["added", "given"])
def test_the_seven_together_are_called_in_the_order_of_their_roles(way: str, backwards: bool, calls: Calls) -> None:
    seven = sorted(OWN.values(), key=lambda each: ROLES.index(each.role), reverse=backwards)
    judged(**{way: seven})  # type: ignore[arg-type]
    assert [each for _, each in calls] == [OWN[role] for role in ROLES]


def test_one_on_the_provider_wins_over_one_that_was_given(calls: Calls) -> None:
    given, added = RiskProcessor(), RiskProcessor()
    judged([added], [given])
    assert [each for _, each in calls if each.role == "risk"] == [added]


def test_each_sequence_of_a_call_is_judged_by_it(calls: Calls) -> None:
    telemetry = Telemetry()
    telemetry.tracer_provider.add_span_processor(OWN["risk"])
    with instrumented(telemetry):
        tiny_model().generate(prompt(), max_new_tokens=4, do_sample=True, num_return_sequences=3)
    by_own = [run for run, each in calls if each is OWN["risk"]]
    assert len(set(by_own)) == len(by_own) == 3


def test_without_corevital_they_do_nothing() -> None:
    telemetry = Telemetry()
    for each in OWN.values():
        telemetry.tracer_provider.add_span_processor(each)
    tracer = telemetry.tracer_provider.get_tracer("app")
    with tracer.start_as_current_span("other") as outer, tracer.start_as_current_span("inside"):
        tiny_model().generate(prompt(), max_new_tokens=2, do_sample=False)
        outer.set_attribute("a", 1)
    assert [dict(span.attributes or {}) for span in telemetry.span_exporter.get_finished_spans()] == [{}, {"a": 1}]
    assert telemetry.tracer_provider.force_flush()
    telemetry.tracer_provider.shutdown()


def test_they_are_imported_without_torch() -> None:
    program = "import sys, opentelemetry_instrumentation_corevital.processors as p; p.RiskProcessor()\n"
    program += "assert not {'torch', 'transformers', 'sqlite3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
