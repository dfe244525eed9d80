"""A program that adds signals to the catalogue and looks for them wherever a run goes. Run by test_toy_signals.py.

What it adds is what somebody would write who adds a signal: declarations, and a definition that fills in a field. A
family of its own has layers of its own: the others are holes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital.catalogue import measured, signals
from opentelemetry_instrumentation_corevital.catalogue.signal import (
    Family,
    HeatMap,
    LayerArray,
    Signal,
    StepField,
    Summary,
    Timeline,
)

entry = replace(signals.signal("hidden_max_abs").entry, definition="the smallest absolute value")  # type: ignore[type-var]
LAYER = Signal(
    name="toy_smallest",
    family="hidden",
    shape="layer",
    definition="smallest absolute value",
    entry=entry,
    stored="float16",
    dropped=5,
    layer_array=LayerArray(meaning="mean over steps of the smallest absolute value", heading="toys"),
    step=StepField(meaning="mean over layers of it", detail=True),
    gauge="mean of it in the last run",
    heat_map=HeatMap(rank=15, title="smallest absolute value"),
)
STEP = Signal(
    name="toy_step",
    family="logits",
    shape="step",
    definition="twice the margin",
    entry=replace(entry, definition="twice the margin"),
    summaries=(Summary(statistic="max", meaning="largest toy"),),
    series="toys over steps",
    step=StepField(meaning="a toy", heading="toy"),
    timeline=Timeline(rank=5, title="twice the margin"),
    profile=25,
)
ROUTED = Signal(
    name="toy_routed",
    family="toys",
    shape="layer",
    definition="a number of some layers",
    entry=replace(entry, definition="a number of some layers"),
    dropped=6,
    layer_array=LayerArray(meaning="mean over steps of a number of some layers"),
    heat_map=HeatMap(rank=25, title="a number of some layers"),
)
at = [each.name for each in signals.FAMILIES].index("attention")
toys = Family(name="toys", title="Toys: one number per step and layer", group="toys", index="toys_index")
signals.FAMILIES = (*signals.FAMILIES[:at], toys, *signals.FAMILIES[at:])
signals.SIGNALS = (*signals.SIGNALS, LAYER, STEP, ROUTED)
measured.GROUPS = {**measured.GROUPS, "toys": "the toys"}  # type: ignore[misc]

# The definitions: each is one more field of what a function returns.
from opentelemetry_instrumentation_corevital.capture import signals as definitions  # noqa: E402

of_hidden, of_logits = definitions.hidden_statistics, definitions.numbers_of
definitions.hidden_statistics = lambda hidden: {**of_hidden(hidden), "toy_smallest": hidden.abs().amin(-1)}
definitions.numbers_of = lambda *logits: (found := of_logits(*logits)) | {"toy_step": 2.0 * found["margin"]}

# Nothing below knows the toys but by their names.
from opentelemetry_instrumentation_corevital import semconv  # noqa: E402
from opentelemetry_instrumentation_corevital.calibration.signals import STEP_SIGNALS  # noqa: E402
from opentelemetry_instrumentation_corevital.capture.layout import (  # noqa: E402
    LOGIT_WIDTH,
    Layout,
    every_step_columns,
)
from opentelemetry_instrumentation_corevital.catalogue.signal_checks import check  # noqa: E402
from opentelemetry_instrumentation_corevital.cli import heatmap, read, timeline  # noqa: E402
from opentelemetry_instrumentation_corevital.emission.layers import layer_attributes  # noqa: E402
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns  # noqa: E402
from opentelemetry_instrumentation_corevital.run import Run  # noqa: E402
from opentelemetry_instrumentation_corevital.testing import capture_runs  # noqa: E402
from tests.support import prompt, tiny_model  # noqa: E402


def a_run_has_them(kernels: str) -> None:
    model = tiny_model(num_hidden_layers=3)
    with capture_runs(capture="full", kernels=kernels) as telemetry:
        answer = model.generate(prompt(), max_new_tokens=10, do_sample=False, eos_token_id=None)
        run, span, metrics = telemetry.run, telemetry.span, telemetry.metrics()
    assert answer.shape[1] == 16
    columns = run.columns
    assert columns["toy_smallest"].shape == columns["hidden_l2_norm"].shape == (10, 3)
    np.testing.assert_array_equal(columns["toy_step"], 2 * columns["margin"])
    assert (columns["toy_smallest"] <= columns["hidden_max_abs"]).all()
    attributes: Mapping[str, Any] = span.attributes or {}
    assert len(attributes["corevital.layers.toy_smallest"]) == 3
    assert attributes["corevital.toy_step.max"] == float(columns["toy_step"].max())
    assert len(attributes["corevital.series.toy_step"]) == 10
    first = next(event for event in span.events if event.name == semconv.STEP_EVENT)
    assert first.attributes is not None
    assert {"corevital.step.toy_step", "corevital.step.toy_smallest"} <= set(first.attributes)
    assert len(metrics["corevital.layer.toy_smallest"]) == 3
    stored = run_columns(run, content=False)
    assert stored["toy_smallest"].dtype == np.float16
    assert heatmap.layer_map(stored, "toy_smallest") is not None
    others = {"entropy", "hidden_l2_norm", "hidden_cosine", "attention_entropy", "attention_previous_heads"}
    assert others <= set(columns), "and everything else is where it was"


def a_family_of_its_own_leaves_holes(run: Run) -> None:
    layout = Layout(5).having("hidden", (0, 1, 2, 3, 4)).having("toys", (1, 3)).having("attention", (0, 4))
    assert list(layout.blocks) == ["hidden", "toys", "attention"]
    assert layout.every_step_width == layout.blocks["toys"].end == LOGIT_WIDTH + layout.blocks["hidden"].width + 2
    rows = np.arange(2 * layout.full_width, dtype=np.float32).reshape(2, -1)
    columns = every_step_columns(rows, layout)
    place = layout.blocks["toys"].place(3)
    assert columns["toy_routed"][:, 3].tolist() == rows[:, place].tolist()
    assert np.isnan(columns["toy_routed"][:, [0, 2, 4]]).all()
    assert "toy_routed" not in every_step_columns(rows, layout, {"toys": "compiled"})
    run.columns = {"toy_routed": columns["toy_routed"]}
    told = layer_attributes(run)
    assert told["corevital.layers.toys_index"] == [1, 3]
    assert len(told["corevital.layers.toy_routed"]) == 2


def lists_and_pages_have_them() -> None:
    assert list(heatmap.SIGNALS)[:4] == ["hidden_l2_norm", "toy_smallest", "hidden_max_abs", "toy_routed"]
    assert next(iter(timeline.SIGNALS)) == "toy_step"
    assert "toy" in read._STEP_COLUMNS
    assert STEP_SIGNALS[2] == "toy_step"
    assert signals.leave_out()[:2] == ("toy_smallest", "toy_routed")
    import generate  # docs/
    import run_schema
    import templated

    assert "| `corevital.layers.toys_index` | int[] |" in generate.attributes_page()
    assert "### `toy_smallest`\n" in templated.page("metrics.md")
    assert "## Toys: one number per step and layer\n\n### `toy_routed`" in templated.page("metrics.md")
    assert "| `toy_routed` | T, L | float32 |" in templated.page("run-data.md")
    assert '"corevital.toy_step.max"' in run_schema.pages()["run-0.1.json"]


if __name__ == "__main__":
    check()
    for kernels in ("auto", "off"):
        a_run_has_them(kernels)
    from tests.assessment.runs import make_run

    a_family_of_its_own_leaves_holes(make_run(2))
    lists_and_pages_have_them()
    print("found everywhere")
