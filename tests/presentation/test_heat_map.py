"""`corevital show --layers`: heat maps of the run data, values per layer without them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from opentelemetry_instrumentation_corevital._internal.npz import from_npz, to_npz
from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.presentation.heat_map import SIGNALS, buckets, heat_maps
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter
from tests.support.in_memory import instrumented
from tests.support.made_runs import add_layers, make_run
from tests.support.tiny_models import prompt, sharpen, tiny_model


def drawn(columns: Any, width: int = 80, *signals: str) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(heat_maps(columns, width, signals))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def columns_of(steps: int = 30, layers: int = 4) -> dict[str, Any]:
    return from_npz(to_npz(run_columns(add_layers(make_run(steps), layers), content=False)))


def test_a_jump_stands_out_in_its_layer_at_its_step() -> None:
    columns = columns_of()
    columns["hidden_l2_norm"][12, 2] *= 50
    title, *lines = drawn(columns, 80, "hidden_l2_norm")
    assert "L2 norm over the layer's own median" in title
    assert "logarithmic" in title
    assert [line.split("│")[0].strip() for line in lines[:4]] == ["0", "1", "2", "3"]
    cells = [line.split("│")[1].ljust(30) for line in lines[:4]]
    assert cells[2][12] == "█"
    assert sum(row.count("█") for row in cells) == 1


def test_what_is_not_finite_is_marked() -> None:
    columns = columns_of()
    columns["hidden_nan"][20:, 1:] = 3
    columns["hidden_l2_norm"][20:, 1:] = np.nan
    lines = drawn(columns, 80, "hidden_l2_norm")
    assert lines[2].split("│")[1].count("!") == 10
    assert "NaN or infinity" in lines[-1]


def test_long_runs_fit_the_terminal_and_keep_their_extremes() -> None:
    columns = columns_of(3000)
    columns["attention_entropy"][:] = 0.5
    columns["attention_entropy"][1234, 3] = 0.0
    lines = drawn(columns, 60, "attention_entropy")
    assert max(map(len, lines)) <= 60
    assert "0 to 0.5" in lines[0]
    assert lines[4].split("│")[1].count(" ") == 1
    assert lines[-1].endswith("2999")
    values = np.random.default_rng(0).normal(size=(500, 3))
    values[77, 1] = 40
    assert buckets(values, 20)[:, 1].max() == 40


def test_steps_that_were_not_looked_at_are_left_out() -> None:
    columns = columns_of(33)
    columns["attention_entropy"][np.arange(33) % 8 != 0] = np.nan
    lines = drawn(columns, 80, "attention_entropy")
    assert len(lines[1].split("│")[1]) == 5
    assert drawn({"entropy": np.ones(3)}, 80, "attention_entropy") == [f"{SIGNALS['attention_entropy']}: not measured"]


def test_routers_are_shown_where_there_are_some() -> None:
    columns = columns_of()
    assert not any("router" in line for line in drawn(columns))
    columns["router_entropy"] = np.full((30, 4), 0.5)
    columns["router_entropy"][:, 1] = np.nan  # a dense layer
    lines = drawn(columns)
    at = next(number for number, line in enumerate(lines) if line.startswith("router entropy"))
    assert "░" not in lines[at + 2]
    assert lines[at + 2].count("·") == 30
    assert drawn(columns_of(), 80, "router_entropy") == ["router entropy: not measured"]


@pytest.mark.parametrize("capture", ["full", "summary"])
def test_a_stored_run_is_shown(capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    path = str(tmp_path / "runs.db")
    traces, logs = TracerProvider(), LoggerProvider()
    traces.add_span_processor(SimpleSpanProcessor(SQLiteSpanExporter(path)))
    logs.add_log_record_processor(SimpleLogRecordProcessor(SQLiteLogExporter(path)))
    model = sharpen(tiny_model(num_hidden_layers=3))
    with instrumented(tracer_provider=traces, logger_provider=logs, capture=capture):
        model.generate(prompt(), max_new_tokens=24, do_sample=False, eos_token_id=None)
    traces.shutdown()
    logs.shutdown()
    assert run_command(["show", "last", "--layers", "--db", path]) == 0
    out = capsys.readouterr().out
    if capture == "full":
        for title in ("L2 norm", "attention entropy", "share of collapsed heads"):
            assert title in out
        assert out.count("   2 │") == 3
        assert run_command(["show", "last", "--signal", "attention_mass_sink", "--db", path]) == 0
        assert "attention on the sinks" in capsys.readouterr().out
    else:
        assert "attention entropy" in out
        assert "No run data" in out
    assert run_command(["show", "last", "--signal", "colour", "--db", path]) == 1
    assert "signals are hidden_l2_norm" in capsys.readouterr().err
