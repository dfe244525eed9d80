"""Layer arrays and gauges: one value per layer, holes named, nothing that is not finite."""

import math
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.assessment.layer_arrays import layer_attributes
from tests.support.in_memory import instrumented
from tests.support.made_runs import add_layers, make_run
from tests.support.tiny_models import prompt, sharpen, tiny_model


def test_arrays_are_means_over_steps_maxima_and_counts() -> None:
    run = add_layers(make_run(30), 4, every=8)
    run.columns["hidden_nan"][3, 2] = 5
    run.columns["hidden_inf"][9, 2] = 2
    attributes = layer_attributes(run)
    columns = run.columns
    assert attributes[semconv.LAYERS_L2_NORM] == pytest.approx(columns["hidden_l2_norm"].mean(0), rel=1e-5)
    assert attributes[semconv.LAYERS_MAX_ABS] == pytest.approx(columns["hidden_max_abs"].max(0), rel=1e-5)
    assert attributes[semconv.LAYERS_NONFINITE] == [0, 0, 7, 0]
    looked_at = columns["attention_entropy"][::8]
    assert attributes[semconv.LAYERS_ATTENTION_ENTROPY] == pytest.approx(looked_at.mean(0), rel=1e-5)
    assert not [name for name in attributes if name.endswith("index")]


def test_layers_without_a_value_are_left_out_and_the_others_named() -> None:
    run = add_layers(make_run(30), 6)
    for name in run.columns:
        if name.startswith("hidden_") and name != "hidden_cosine":
            run.columns[name][:, 5] = np.nan  # not looked at
    run.columns["hidden_l2_norm"][:, 4] = math.inf  # at no step finite
    run.columns["hidden_max_abs"][:, 4] = math.inf
    run.columns["hidden_inf"][:, 4] = 3
    for name in ("attention_entropy", "attention_entropy_std", "collapsed_head_rate"):
        run.columns[name][:, [0, 2]] = np.nan  # layers without attention
    attributes = layer_attributes(run)
    assert attributes[semconv.LAYERS_INDEX] == [0, 1, 2, 3, 4]
    assert attributes[semconv.LAYERS_NONFINITE] == [0, 0, 0, 0, 90]
    assert attributes[semconv.LAYERS_NORM_INDEX] == [0, 1, 2, 3]
    assert len(attributes[semconv.LAYERS_L2_NORM]) == len(attributes[semconv.LAYERS_MAX_ABS]) == 4
    assert attributes[semconv.LAYERS_ATTENTION_INDEX] == [1, 3, 4, 5]
    assert len(attributes[semconv.LAYERS_ATTENTION_ENTROPY]) == 4


def test_what_was_not_measured_has_no_array() -> None:
    assert layer_attributes(make_run()) == {}
    short = add_layers(make_run(8), 3)
    short.columns["collapsed_head_rate"][:] = np.nan
    assert semconv.LAYERS_COLLAPSED_HEAD_RATE not in layer_attributes(short)
    assert semconv.LAYERS_ATTENTION_ENTROPY in layer_attributes(short)


def points(telemetry: Any, name: str) -> dict[int, float]:
    return {point.attributes["corevital.layer"]: point.value for point in telemetry.metrics()[name]}


def test_gauges_hold_the_last_runs_layers_and_end_with_the_instrumentation() -> None:
    model = sharpen(tiny_model(num_hidden_layers=3))
    with instrumented(attention_every=1) as telemetry:
        for length in (6, 30):
            model.generate(prompt(length), max_new_tokens=20, do_sample=False, eos_token_id=None)
        attributes = telemetry.spans[-1].attributes or {}
        for gauge, array in (
            ("corevital.layer.l2_norm", "corevital.layers.l2_norm"),
            ("corevital.layer.attention_entropy", "corevital.layers.attention_entropy"),
            ("corevital.layer.collapsed_head_rate", "corevital.layers.collapsed_head_rate"),
        ):
            expected = dict(enumerate(attributes[array]))  # type: ignore[arg-type]
            assert points(telemetry, gauge) == pytest.approx(expected, rel=1e-5)
    assert "corevital.layer.l2_norm" not in telemetry.metrics()


@pytest.mark.parametrize(("capture", "attention_every"), [("summary", 8), ("full", 1), ("on_risk", 1)])
def test_how_much_was_looked_at_is_on_the_span(capture: str, attention_every: int) -> None:
    model = tiny_model(num_hidden_layers=3)
    with instrumented(capture=capture) as telemetry:
        model.generate(prompt(), max_new_tokens=4, do_sample=False)
    attributes = telemetry.span.attributes or {}
    assert attributes["corevital.capture.attention_every"] == attention_every
    assert "corevital.capture.layers" not in attributes
    assert "corevital.capture.ratio" not in attributes
    with instrumented(capture=capture, attention_every=3, layers="0,-1", capture_ratio=0.999999) as telemetry:
        model.generate(prompt(), max_new_tokens=4, do_sample=False)
    attributes = telemetry.span.attributes or {}
    assert attributes["corevital.capture.attention_every"] == 3
    assert attributes["corevital.capture.layers"] == "0,-1"
    assert attributes["corevital.capture.ratio"] == 0.999999
    assert attributes["corevital.layers.index"] == (0, 2)


def test_calls_that_the_ratio_leaves_out_have_their_tokens_and_say_so() -> None:
    model = tiny_model()
    with instrumented(capture_ratio=0.5) as telemetry:
        for _ in range(60):
            model.generate(prompt(), max_new_tokens=3, do_sample=False, eos_token_id=None)
    measured = [span for span in telemetry.spans if "corevital.entropy.mean" in (span.attributes or {})]
    left_out = [span for span in telemetry.spans if span not in measured]
    assert 12 < len(measured) < 48
    for span in telemetry.spans:
        assert span.context is not None
        low_half = (span.context.trace_id & (2**64 - 1)) < 2**63
        assert low_half == (span in measured), "by the trace id"
    for span in left_out:
        attributes = span.attributes or {}
        assert attributes["gen_ai.usage.output_tokens"] == 3
        assert "capture_ratio=0.5" in str(attributes["corevital.capture.absent"])
        assert "corevital.risk.score" not in attributes
    values = {point.attributes["corevital.captured"]: point.value for point in telemetry.metrics()["corevital.runs"]}
    assert values == {True: len(measured), False: len(left_out)}
