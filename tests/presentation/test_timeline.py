"""Lines over the steps of a run, and what is marked on them."""

import json
import re

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.presentation.timeline import HEIGHT, WIDTH, Line, marks


@pytest.mark.parametrize("steps", [1, 3, 999, 5000])
def test_a_line_stays_in_its_box_and_keeps_its_extremes(steps: int) -> None:
    values = np.random.default_rng(steps).normal(size=steps).tolist()
    values[steps // 2] = 30.0
    line = Line("entropy", "entropy", "bit", range(steps), values)
    points = [tuple(map(float, each.split())) for each in re.findall(r"[ML]([^ML]+)", line.path(steps - 1))]
    assert len(points) <= 1000
    assert all(0 <= x <= WIDTH and -0.1 <= y <= HEIGHT + 0.1 for x, y in points)
    assert min(y for _, y in points) == 0.0
    assert line.path(steps - 1).count("M") == 1


def test_a_gap_breaks_a_line() -> None:
    line = Line("entropy", "entropy", "bit", range(5), [1.0, 2.0, float("nan"), 1.0, 0.0])
    assert [part.count("L") for part in line.path(4).split("M")[1:]] == [1, 1]


def test_an_early_warning_is_marked_where_it_warned_and_a_loop_where_it_began() -> None:
    attributes = {
        semconv.HEALTH_EVIDENCE: json.dumps({"repetition_loop_detected": {"onset_step": 12, "copies": 7}}),
        semconv.EARLY_WARNING_EVIDENCE: json.dumps({"repetition_risk": {"step": 20, "onset_step": 12}, "x": {}}),
    }
    assert marks(attributes) == [(12, "repetition loop"), (20, "repetition risk")]
