"""Steps are judged with the baseline as it stands when the call begins, and the finished run with the same one."""

from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import CoreVitalMonitor, Run, StepEvent
from opentelemetry_instrumentation_corevital.assessment.thresholds import Thresholds
from opentelemetry_instrumentation_corevital.baselines.lookup import FoundProfile, Profiles
from opentelemetry_instrumentation_corevital.calibration import fit_profile
from opentelemetry_instrumentation_corevital.emission.judgements import EarlyWarningProcessor
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.made_runs import make_run
from tests.support.tiny_models import prompt, tiny_model

STEPS = 40


class Learning(Profiles):
    """Baselines that change between any two questions: of a sure model first, then of one that is never sure."""

    def __init__(self) -> None:
        super().__init__("off")
        self.asked = 0

    def of(self, model: Any) -> FoundProfile:
        del model
        self.asked += 1
        margin = 0.9 if self.asked == 1 else 0.0
        made = fit_profile([make_run(60, margin=margin, entropy=1.0) for _ in range(10)])
        return FoundProfile(made, source="learned", runs=50 * self.asked, tokens=3000)


@pytest.fixture
def watched() -> tuple[list[StepEvent], Run, Learning]:
    profiles, keep, events = Learning(), Keep(), list[StepEvent]()
    judgements = [EarlyWarningProcessor(Thresholds(), profiles), keep]
    with instrumented(Telemetry(), judgements=judgements):
        monitor = CoreVitalMonitor(on_step_callback=events.append)
        monitor.run(tiny_model(), prompt(), max_new_tokens=STEPS, do_sample=False, eos_token_id=None)
    return events, keep.runs[0], profiles


def test_what_was_told_is_what_the_run_says(watched: tuple[list[StepEvent], Run, Learning]) -> None:
    events, run, profiles = watched
    assert run.early_warning is not None
    assert "margin_collapsing" in run.early_warning.signals
    assert [event.warning_signals for event in events] == [run.early_warning.active.get(at, ()) for at in range(STEPS)]
    assert [event.risk_so_far for event in events] == pytest.approx(run.early_warning.risk_so_far.tolist())
    assert profiles.asked == 1, "as it stood before the run"
