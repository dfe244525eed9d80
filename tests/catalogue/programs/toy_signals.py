"""A program that looks for the signals of `catalogue_additions.py` wherever a run goes.

Run by test_toy_signals.py, in a copy.

`toy_signals.py TREE STORE`. Nothing here knows them but by their names. A family of its own has layers of its own: the
others are holes.
"""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

import opentelemetry_instrumentation_corevital
from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.assessment.layer_arrays import layer_attributes
from opentelemetry_instrumentation_corevital.baselines.profiled_signals import STEP_SIGNALS
from opentelemetry_instrumentation_corevital.capture.row.layout import LOGIT_WIDTH, Layout, every_step_columns
from opentelemetry_instrumentation_corevital.capture.session import session
from opentelemetry_instrumentation_corevital.catalogue import signals
from opentelemetry_instrumentation_corevital.catalogue.signal_checks import check
from opentelemetry_instrumentation_corevital.cli import read_commands
from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.presentation import heat_map, timeline
from opentelemetry_instrumentation_corevital.run import Run
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter, open_store
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry, capture_runs
from tests.support.made_runs import make_run
from tests.support.tiny_models import prompt, tiny_model

BACKENDS = {"logs": "TorchBackend", "span": "BatchedBackend"}
"""Value of `step_events` -> what makes the rows on a CPU."""


def a_run_has_them(step_events: str) -> InMemoryTelemetry:
    model, made = tiny_model(num_hidden_layers=3), []
    chosen = session.backend_for
    session.backend_for = lambda *given, **named: made.append(chosen(*given, **named)) or made[-1]  # type: ignore[func-returns-value]
    with capture_runs(capture="full", step_events=step_events) as telemetry:
        answer = model.generate(prompt(), max_new_tokens=10, do_sample=False, eos_token_id=None)
        run, span, metrics = telemetry.run, telemetry.span, telemetry.metrics()
    session.backend_for = chosen
    assert [type(each).__name__ for each in made] == [BACKENDS[step_events]]
    assert answer.shape[1] == 16
    columns = run.columns
    assert columns["toy_smallest"].shape == columns["hidden_l2_norm"].shape == (10, 3)
    np.testing.assert_array_equal(columns["toy_step"], 2 * columns["margin"])
    assert (columns["toy_smallest"] <= columns["hidden_max_abs"]).all()
    attributes: Mapping[str, Any] = span.attributes or {}
    assert len(attributes["corevital.layers.toy_smallest"]) == 3
    assert attributes["corevital.toy_step.max"] == float(columns["toy_step"].max())
    assert len(attributes["corevital.series.toy_step"]) == 10
    events = [event.attributes or {} for event in span.events if event.name == semconv.STEP_EVENT]
    if step_events == "logs":
        events = [record.log_record.attributes for record in telemetry.log_exporter.get_finished_logs()]
    assert any({"corevital.step.toy_step", "corevital.step.toy_smallest"} <= set(each) for each in events)
    assert run.health is not None
    assert run.health.toy_detected is attributes["corevital.health.toy_detected"] is True
    assert len(metrics["corevital.layer.toy_smallest"]) == 3
    stored = run_columns(run, content=False)
    assert stored["toy_smallest"].dtype == np.float16
    assert heat_map.layer_map(stored, "toy_smallest") is not None
    others = {"entropy", "hidden_l2_norm", "hidden_cosine", "attention_entropy", "attention_previous_heads"}
    assert others <= set(columns), "and everything else is where it was"
    return telemetry


def a_store_gives_them_back(telemetry: InMemoryTelemetry, store: str) -> None:
    for exporter, records in (
        (SQLiteSpanExporter(store), telemetry.spans),
        (SQLiteLogExporter(store), telemetry.log_exporter.get_finished_logs()),
    ):
        exporter.export(records)
        exporter.shutdown()
    with open_store(store) as opened:
        columns = opened.columns(opened.run("last"))
    assert columns is not None
    measured = telemetry.run.columns
    np.testing.assert_array_equal(columns["toy_step"], measured["toy_step"])
    np.testing.assert_array_equal(columns["toy_smallest"], measured["toy_smallest"].astype(np.float16))
    page = Path(store).with_suffix(".html")
    assert "smallest absolute value" in command("show", "last", "--layers", "--signal", "toy_smallest", "--db", store)
    assert "toy" in command("show", "last", "--steps", "--db", store)
    command("show", "last", "--html", str(page), "--db", store)
    text = page.read_text(encoding="utf-8")
    assert "smallest absolute value" in text
    assert "twice the margin" in text


def command(*arguments: str) -> str:
    """Return what a command prints."""
    with redirect_stdout(StringIO()) as printed:
        assert run_command(list(arguments)) == 0, arguments
    return printed.getvalue()


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
    assert list(heat_map.SIGNALS)[:4] == ["hidden_l2_norm", "toy_smallest", "hidden_max_abs", "toy_routed"]
    assert next(iter(timeline.SIGNALS)) == "toy_step"
    assert "toy" in read_commands._STEP_COLUMNS
    assert STEP_SIGNALS[2] == "toy_step"
    assert signals.leave_out()[:2] == ("toy_smallest", "toy_routed")
    import generate  # docs/
    import run_schema
    import templated

    assert "| `corevital.layers.toys_index` | int[] |" in generate.attributes_page()
    assert "### `toy_smallest`\n" in templated.page("metrics.md")
    assert "## Toys: one number per step and layer\n\n### `toy_routed`" in templated.page("metrics.md")
    assert "| `toy_routed` | T, L | float32 |" in templated.page("run-data.md")
    assert '"corevital.toy_step.max"' in run_schema.pages()[f"run-{semconv.SCHEMA_VERSION}.json"]


def its_definition_is_the_slow_one() -> None:
    import torch

    from opentelemetry_instrumentation_corevital.capture.definitions.hidden_states import hidden_statistics
    from tests.support.reference import hidden_reference

    vector = torch.randn(64)
    found, expected = hidden_statistics(vector), hidden_reference(vector.tolist())
    assert float(found["toy_smallest"]) == expected["toy_smallest"]


if __name__ == "__main__":
    assert Path(opentelemetry_instrumentation_corevital.__file__).is_relative_to(sys.argv[1]), "this is the copy"
    check()
    its_definition_is_the_slow_one()
    for step_events in BACKENDS:
        kept = a_run_has_them(step_events)
    a_store_gives_them_back(kept, sys.argv[2])
    a_family_of_its_own_leaves_holes(make_run(2))
    lists_and_pages_have_them()
    print("found everywhere")
