"""Flags, risk, failure risk, blame, warnings and narrative of a run never contradict each other."""

import importlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT
from opentelemetry_instrumentation_corevital.run import FINISH_REASONS, Run, StopReason
from tests.support.contradictions import FORBIDDEN, STATEMENTS, contradictions, judged, shown
from tests.support.known_models import known
from tests.support.made_runs import NOT_REPEATING, ROLLED_BACK, STOPPED, add_layers, make_run

FOLDER = Path(__file__).parents[2] / "benchmarks"
LAYERS = 9


def nothing_contradicts(runs: Iterable[Run]) -> Counter[str]:
    """Assert that, and return how often each statement of the table held."""
    held: Counter[str] = Counter()
    for run in runs:
        assert contradictions(run) == [], shown(run)
        held.update(name for name, holds in STATEMENTS.items() if holds(run))
    return held


def test_each_pair_is_of_statements_and_stands_once() -> None:
    assert len(set(FORBIDDEN)) == len(FORBIDDEN)
    for pair in FORBIDDEN:
        assert {pair.one, pair.other} <= STATEMENTS.keys(), pair


# --- runs that are made ------------------------------------------------------------------------------------------


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Return a run with any mixture of loops, numbers that are not finite, odd layers and ways to end."""
    steps = draw(st.integers(0, 90))
    period, begin = draw(st.integers(1, 20)), draw(st.integers(0, 60))
    kind = draw(st.sampled_from(["fresh", "loop", "few", "changed loop"]))
    index = np.arange(steps)
    tokens = NOT_REPEATING[:steps].copy()
    if kind == "few":
        tokens = np.random.default_rng(begin).integers(0, 4, steps)
    elif kind != "fresh":
        tokens = np.where(index < begin, tokens, NOT_REPEATING[1000 + (index - begin) % period])
        if kind == "changed loop" and steps:
            tokens[draw(st.integers(0, steps - 1))] = 77_777
    level = draw(st.sampled_from([0.2, 1.0, 3.0, 5.0]))
    rng = np.random.default_rng(steps)
    run = add_layers(make_run(steps, tokens=tokens, entropy=level * rng.gamma(2, 0.5, steps)), LAYERS)
    for _ in range(draw(st.integers(0, 3)) if steps else 0):
        spoil(draw, run)
    reason: StopReason | None = draw(st.sampled_from([None, *FINISH_REASONS]))
    run.stop_reason, run.finish_reason = reason, None if reason is None else FINISH_REASONS[reason]
    run.interventions = tuple(draw(st.sampled_from([[], [STOPPED], [ROLLED_BACK], [ROLLED_BACK, STOPPED] * 2])))
    return run


def spoil(draw: st.DrawFn, run: Run) -> None:
    """Plant a fault."""
    step, layer = draw(st.integers(0, run.steps - 1)), draw(st.integers(0, LAYERS - 1))
    what = draw(st.sampled_from(["nan", "inf", "logits", "-inf", "norm", "heads", "margin"]))
    if what in ("nan", "inf"):
        lasts = draw(st.booleans())
        run.columns[f"hidden_{what}"][step : None if lasts else step + 1, layer:] = 3
        run.columns["hidden_l2_norm"][step : None if lasts else step + 1, layer:] = np.nan
        if draw(st.booleans()):  # the logits, too
            run.columns["logits_nan"][step:] = 9
            run.columns["entropy"][step:] = np.nan
    elif what == "logits":
        run.columns[draw(st.sampled_from(["logits_nan", "logits_posinf"]))][step] = 1
    elif what == "-inf":
        run.columns["logits_neginf"][step] = 2
    elif what == "norm":
        run.columns["hidden_l2_norm"][step, layer] *= 40
    elif what == "heads":
        run.columns["collapsed_head_rate"][step:, layer:] = 0.9
    else:
        run.columns["margin"][step:] = 0.01


@given(run=runs())
@settings(max_examples=300, deadline=None)
def test_no_verdicts_of_a_made_run_contradict_each_other(run: Run) -> None:
    nothing_contradicts([judged(run)])


# --- the committed runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sets() -> Iterator[Any]:
    """The modules of the committed run sets, which lie in folders that are no packages."""
    if not FOLDER.is_dir():
        pytest.skip("only a checkout has the benchmarks")
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        names = {
            "runset": "runset.store",
            "replay": "judged.replay",
            "zoo": "judged.zoo_model",
        }
        yield SimpleNamespace(**{as_: importlib.import_module(name) for as_, name in names.items()})
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.startswith(("judged", "runset", "zoo")):
                del sys.modules[name]


ENDS: tuple[StopReason, ...] = ("length", "time", "criterion", "policy", "cancelled")


def test_nor_do_those_of_the_run_set(sets: Any) -> None:
    """Whoever cut a run off: each end in turn."""
    made = []
    for sample in sets.runset.load()[::3]:
        run = sets.replay.as_run(sample)
        run.stop_reason = "eos" if sample.stopped else ENDS[sample.number % len(ENDS)]
        run.finish_reason = FINISH_REASONS[run.stop_reason]
        made.append(judged(run))
    held = nothing_contradicts(made)
    assert held["raised repetition_loop_detected"] > 100
    assert held["told to have ended by itself"] > 100


@pytest.mark.parametrize("profiled", [False, True])
def test_nor_do_those_of_planted_faults(sets: Any, profiled: bool) -> None:
    """Of a model with learned positions and of SmolLM2."""
    held: Counter[str] = Counter()
    for name in ("gpt2", "smollm2"):
        try:
            model = sets.zoo.ZooModel(name)
        except FileNotFoundError:
            pytest.skip("the zoo's runs are not here")
        healthy = [run for _, run in model.of("healthy", "baseline")[:60]]
        thresholds = known(healthy, margin=1.2) if profiled else DEFAULT
        every = [run for _, run in [*model.of("fault"), *model.held_out[::6]]]
        held += nothing_contradicts(judged(run, thresholds) for run in every[:: 1 if profiled else 2])
    assert held["raised nan_detected"] > 10
    assert held["raised inf_detected"] > 10
    assert held["blames a layer"] > (300 if profiled else 30)
