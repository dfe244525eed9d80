"""`plot()`: a run's timelines and layers as a figure, without a screen and without pyplot."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.store import StoredRun
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.made_runs import add_layers, make_run
from tests.support.reported_runs import looping, report
from tests.support.stored_runs import stored_with

pytest.importorskip("matplotlib")


def judged(run: Run) -> Run:
    report(InMemoryTelemetry(), run)
    return run


@pytest.fixture
def run() -> Run:
    return judged(add_layers(looping(), 6))


@pytest.fixture
def kept(tmp_path: Path, run: Run) -> StoredRun:
    return stored_with(tmp_path, run)


def test_a_figure_has_the_numbers_of_the_run(run: Run) -> None:
    run.columns["hidden_nan"][7, 2] = 1
    figure = run.plot("entropy", "attention_entropy")
    line, layers = figure.axes[:2]
    np.testing.assert_array_equal(np.asarray(line.lines[0].get_ydata()), run.columns["entropy"])
    values = np.ma.getdata(layers.collections[0].get_array()).reshape(6, 120)
    np.testing.assert_array_equal(values, run.columns["attention_entropy"].T.astype(float))
    np.testing.assert_array_equal(layers.collections[1].get_offsets(), [[7, 2]])
    assert layers.get_ylim() == (5.5, -0.5), "the first layer is at the top"
    assert [axis.get_title(loc="left") for axis in (line, layers)] == [
        "entropy of the next token",
        "attention entropy, mean over heads",
    ]
    assert "repetition loop (step " in figure.get_suptitle()
    assert len(line.lines) > 1, "a line for each that began"


def test_without_names_it_draws_what_tells_the_most(run: Run, kept: StoredRun) -> None:
    titles = [axis.get_title(loc="left") for axis in run.plot().axes if axis.get_title(loc="left")]
    assert len(titles) == 5
    assert [axis.get_title(loc="left") for axis in kept.plot().axes if axis.get_title(loc="left")] == titles
    assert run.plot("risk_so_far", "margin", "hidden_max_abs").axes


def test_a_notebook_gets_a_picture(run: Run, tmp_path: Path) -> None:
    assert run.plot()._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    run.model = replace(run.model, name="$\\frac{")
    run.plot().savefig(tmp_path / "run.svg")
    assert (tmp_path / "run.svg").stat().st_size > 1_000


def test_bad_names_and_empty_runs_get_an_error_that_says_what_to_do(run: Run) -> None:
    with pytest.raises(
        ValueError, match=r"no signal 'entropi'; did you mean 'entropy'\? There are .*entropy.*hidden_l2_norm"
    ):
        run.plot("entropi")
    with pytest.raises(ValueError, match=r"the run has no hidden_l2_norm: .*capture=full"):
        make_run(5).plot("hidden_l2_norm")
    with pytest.raises(ValueError, match="nothing to plot"):
        make_run(0).plot()


def test_without_matplotlib_the_error_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry_instrumentation_corevital.presentation.run_figure", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'opentelemetry-instrumentation-corevital\[plot\]'"):
        run.plot()


def test_pyplot_and_a_screen_are_not_needed() -> None:
    code = """
        import os, sys
        os.environ.pop("DISPLAY", None)
        from tests.support.made_runs import add_layers, make_run
        made = add_layers(make_run(9), 3).plot()
        made._repr_png_()
        assert "matplotlib.pyplot" not in sys.modules
    """
    code = "\n".join(line.strip() for line in code.splitlines())
    program, root = [sys.executable, "-c", code], Path(__file__).parents[2]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
