"""The answer risk that is shipped is what the committed answers give, and the figures are those of its command."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped

ROOT = Path(__file__).parents[2]
PARTS = ("figures", "fitting", "labels", "left_out", "ordinary")
FOLDER = ROOT / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks")


@pytest.fixture(scope="module")
def here() -> Iterator[Any]:
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        names = {name: importlib.import_module(f"answer_risk.{name}") for name in PARTS}
        table = importlib.import_module("answer_risk.table").table_of(importlib.import_module("answers.store").load())
        yield SimpleNamespace(**names, table=table)
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("answer_risk", "answers", "judged", "zoo", "runset"):
                del sys.modules[name]


def test_the_shipped_model_is_the_fit(here: Any) -> None:
    made, known = here.fitting.as_model(here.fitting.fit(here.table), here.table), shipped()
    assert (made.most_tokens, made.runs, made.models) == (known.most_tokens, known.runs, known.models)
    for ours, theirs in zip(made.terms, known.terms, strict=True):
        assert ours.feature == theirs.feature
        assert ours.model_dump(exclude={"feature"}) == pytest.approx(theirs.model_dump(exclude={"feature"}), abs=2e-4)


def test_the_figures_are_those_of_the_command(here: Any) -> None:
    committed = json.loads((ROOT / "docs/results/answer-risk.json").read_text("utf-8"))
    assert _near(
        here.figures.figures(here.table), {name: value for name, value in committed.items() if name != "ordinary"}
    )
    assert here.ordinary.figures(["smollm2"])["by model"]["smollm2"] == committed["ordinary"]["by model"]["smollm2"]


def test_what_labels_gain_is_that_of_the_command(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = json.loads((ROOT / "docs/results/answer-labels.json").read_text("utf-8"))
    monkeypatch.setattr(here.labels, "FOLDS", 2)
    few = here.table.where(np.isin(here.table.model, ["olmo2", "gpt2"]))
    made = here.labels.figures(few, draws=1)
    assert made.keys() == committed.keys()
    assert made["labels"] == committed["labels"]
    assert made["all labels, out of fold"]["answers"] == len(few.wrong)
    assert made["mean over models"]["AUROC over all answers, with"] > 0.7


def _near(made: Any, known: Any) -> bool:
    if isinstance(known, dict):
        return made.keys() == known.keys() and all(_near(made[name], known[name]) for name in known)
    return bool(abs(made - known) <= 2e-3)


def test_a_score_that_is_the_length_is_chance_at_one_length(here: Any) -> None:
    table = here.table.where(here.table.model == "smollm2")
    assert here.figures.matched(table.tokens, table) == 0.5
    assert here.figures.ranked(table.wrong, table) == here.figures.matched(table.wrong, table) == 1.0


def test_a_run_that_is_left_out_has_no_part_in_its_fit(here: Any) -> None:
    table = here.table.where(np.isin(here.table.model, ["smollm2", "gpt2"]))
    seen = []

    def fitted(some: Any) -> Any:
        seen.append({*zip(some.model.tolist(), some.task.tolist(), strict=True)})
        return here.fitting.fit(some)

    here.left_out.left_out(table, fitted=fitted)
    pairs = sorted({*zip(table.model.tolist(), table.task.tolist(), strict=True)})
    assert len(seen) == len(pairs)
    for (model, task), of in zip(pairs, seen, strict=True):
        assert not any(model == other or task == asked for other, asked in of)
