"""The warnings of runs without a baseline: their numbers are the product's rules, and limits come from other models."""

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.run import Run
from tests.support.made_runs import add_layers, make_run

FOLDER = Path(__file__).parents[2] / "benchmarks"
LAYERS = 6

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks")


@pytest.fixture(scope="module")
def here() -> Iterator[Any]:
    """The benchmark's modules, which lie in folders that are no packages."""
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        names = ("rough_rules", "rough_sections", "zoo_model", "verdicts", "figures")
        yield SimpleNamespace(**{name: importlib.import_module(f"judged.{name}") for name in names})
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.startswith(("judged", "zoo")):
                del sys.modules[name]


def some_run(seed: int) -> Run:
    """Return a run in whose middle one of the logits' signals, or attention, may change."""
    draw = np.random.default_rng(seed)
    steps = int(draw.integers(5, 90))
    later = np.arange(steps) >= steps * draw.uniform(0.3, 1.3)
    level, end = draw.uniform(1, 7), draw.uniform(1, 9.5)
    entropy = np.where(later, end, level) * draw.gamma(30, 1 / 30, steps)
    top1 = draw.beta(6, 4, steps) * np.where(later, draw.uniform(0.05, 1), 1)
    run = add_layers(
        make_run(
            steps,
            entropy=entropy,
            surprisal=entropy * draw.uniform(0.7, 1.3, steps),
            top1_prob=top1,
            margin=top1 * draw.beta(2, 2, steps) * np.where(later, draw.uniform(0, 1), 1),
        ),
        LAYERS,
        every=int(draw.choice([1, 1, 4])),
        seed=seed,
    )
    rise = np.where(later, draw.uniform(0, 0.4), 0)[:, None]
    run.columns["collapsed_head_rate"] = np.clip(run.columns["collapsed_head_rate"] + rise, 0, 1).astype(np.float32)
    if draw.random() < 0.2:
        run.columns["logits_nan"][-int(draw.integers(1, 4)) :] = 1
    return run


def test_a_run_is_beyond_what_ships_exactly_if_it_is_warned_about(here: Any) -> None:
    judge, counts = here.verdicts.Judge(), Counter[tuple[str, bool]]()
    for seed in range(400):
        run = judge.all(some_run(seed))
        failed = bool((run.columns["logits_nan"] > 0).any())
        for rule in here.rough_rules.RULES:
            if failed and rule.name == "high_entropy_share":
                continue  # what follows NaN warns of nothing
            warned = rule.name in run.warnings
            number = rule.number(run)
            if abs(number - rule.shipped) < 1e-6:
                continue  # rounding of float32
            assert (number > rule.shipped) == warned, (seed, rule.name, number)
            counts[rule.name, warned] += 1
    for rule in here.rough_rules.RULES:
        assert counts[rule.name, True] >= 3, f"{rule.name} never warned: {counts}"
        assert counts[rule.name, False] >= 3, f"{rule.name} always warned: {counts}"


def test_a_limit_is_crossed_by_the_share_and_no_more(here: Any) -> None:
    numbers = np.random.default_rng(0).normal(size=1000)
    limit = here.rough_rules.chosen([numbers[:300], numbers[300:]])
    assert (numbers > limit).sum() == 1000 * here.rough_rules.SHARE


def test_a_fault_sets_in_behind_the_beginning_of_a_healthy_run(here: Any) -> None:
    healthy, fault = add_layers(make_run(60, entropy=1.0), LAYERS), add_layers(make_run(30, entropy=9.0), LAYERS)
    healthy.decoding = replace(healthy.decoding, strategy="sample")
    (run,) = here.rough_rules.setting_in([make_run(20), healthy], [fault])
    before = here.rough_rules.BEFORE_FAULT
    assert run.columns["entropy"].tolist() == [1.0] * before + [9.0] * 30
    assert run.columns["hidden_l2_norm"].shape == (before + 30, LAYERS)
    assert len(run.tokens) == run.steps == before + 30
    rule = next(rule for rule in here.rough_rules.RULES if rule.name == "entropy_rising")
    assert rule.number(run) > rule.shipped > rule.number(fault), "it has no beginning to compare with"


def test_a_limit_is_chosen_without_the_model_that_it_is_held_against(here: Any) -> None:
    """One model of three is unsure by nature: its own runs do not move the limit that it is judged with."""
    models = []
    for name, level in (("a", 2.0), ("b", 2.0), ("c", 7.0)):
        runs = [make_run(60, entropy=level + place / 100) for place in range(100)]
        model = here.zoo_model.ModelFigures(name)
        model.rough = here.rough_rules.measured(runs, runs[:3], [])
        models.append(model)
    (section,) = here.rough_sections.sections(models)
    rows = {row.name: row.value for row in section.figures}
    assert rows["... `high_entropy_share`: worst model"] == "c 1.0000"
    assert rows["`high_entropy_share`: chosen on the others"].startswith("0.3333 (100 of 300")
    assert "c 0.299: 1.000" in rows["... `high_entropy_share`: each model, limit and rate"]
    assert rows["... `high_entropy_share`: as shipped"] == "ordinary runs 0.333 (100 of 300), faults 0.333 (3 of 9)"
    assert rows["any of these, as shipped: faults that set in"] == "no run"
    assert here.rough_sections.sections(models[:1]) == [], "there is no other model"
