"""Answers with known truth: how they are graded, collected and kept, and what is committed of them."""

import importlib
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.toy_corpus import write_toy_corpus

FOLDER = Path(__file__).parents[2] / "benchmarks"
PARTS = "asking collecting grading making made_questions overview rauq shard smollm2_questions store word_lists"
PARTS_OF_ZOO = "container corpus plan"
PILOTED = ("definition", "synonym", "choosing", "look-up", "copying", "counting")
ONE_SIDED: set[tuple[str, str, str]] = set()
"""Model, task and form of which fewer than three answers are right, or wrong."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks")


@pytest.fixture(scope="module")
def answers() -> Iterator[Any]:
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        mine = {name: importlib.import_module(f"answers.{name}") for name in (*PARTS.split(), "zoo_questions")}
        zoo = {name: importlib.import_module(f"zoo.{name}") for name in PARTS_OF_ZOO.split()}
        yield SimpleNamespace(**mine, **zoo)
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.startswith(("answers", "zoo", "runset")):
                del sys.modules[name]


# --- questions and grading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grade", "text", "right"),
    [
        ("short", " Calf, of course\n\nQ: cow", True),
        ("short", " a calf.", True),
        ("short", " calf and cow", False),
        ("short", "\n calf", True),
        ("short", " calves", False),
        ("line", " calf \nQuestion", True),
        ("line", " a calf", False),
        ("contains", "A young cow is called a Calf.", True),
        ("contains", "Two calfskins.", False),
        ("begins", "Calf! It is one.", True),
        ("begins", "It is a calf.", False),
        ("begins", "", False),
    ],
)
def test_an_answer_is_graded_by_whole_words(answers: Any, grade: str, text: str, right: bool) -> None:
    assert answers.grading.GRADES[grade](text, ("calf", "heifer")) is right


def test_every_question_can_be_answered_right_and_is_not_answered_by_itself(answers: Any) -> None:
    asked = answers.smollm2_questions.questions(20, 17)
    assert asked == answers.smollm2_questions.questions(20, 17), "made anew from the seed"
    assert len({one.number for one in asked}) == len(asked)
    for one in asked:
        assert one.form in answers.asking.FORMS
        assert all(one.right(f"{answer}.") for answer in one.answers), one
        if one.form in ("chat", "sentence"):
            assert one.prompt.messages[-1]["role"] == "user"
        else:
            assert one.prompt.text.count("\nA:") == 1 + answers.smollm2_questions.SHOTS
    names = {one.task for one in asked}
    assert not {name for name in names if "capital" in name or "arithmetic" in name}


def test_models_are_asked_where_they_are_mostly_right_and_where_not(answers: Any) -> None:
    shares = (1.0, 0.9, 0.4, 0.0)
    right = {(task, level): share for task in ("definition", "synonym") for level, share in enumerate(shares)}
    right |= {("copying", level): 1.0 for level in range(4)}
    pilot = {key: right.get(key, 0.0) for task in PILOTED for key in ((task, level) for level in range(4))}
    chosen = answers.zoo_questions.levels_on_both_sides(pilot)
    assert chosen["definition"] == [1, 2]
    assert chosen["copying"] == [2, 3], "the hardest where all is right"
    assert chosen["counting"] == [0, 1], "the easiest where nothing is"


# --- RAUQ --------------------------------------------------------------------------------------------------------


def test_rauq_follows_its_definition(answers: Any) -> None:
    draw = np.random.default_rng(1)
    surprisal, previous = draw.uniform(0, 4, 7), draw.uniform(0, 1, (7, 3, 2))
    found = []
    for layer in range(3):
        head = max(range(2), key=lambda head: previous[1:, layer, head].mean())
        carried = [2 ** -surprisal[0]]
        for step in range(1, 7):
            carried.append(0.2 * 2 ** -surprisal[step] + 0.8 * previous[step, layer, head] * carried[-1])
        found.append(-sum(np.log(carried)) / 7)
    assert answers.rauq.rauq(surprisal, previous) == pytest.approx(max(found))
    assert answers.rauq.rauq(surprisal[:1], previous[:1] * np.nan) == pytest.approx(surprisal[0] * np.log(2))
    assert np.isnan(answers.rauq.rauq(surprisal[:0], previous[:0]))


# --- a collection ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collected(answers: Any, tmp_path_factory: pytest.TempPathFactory) -> Namespace:
    """A toy model, asked."""
    folder = tmp_path_factory.mktemp("answers")
    write_toy_corpus(answers.corpus, folder / "corpus.xz")
    options = Namespace(
        name="llama",
        out=folder / "out",
        corpus=folder / "corpus.xz",
        device="cpu",
        toy=True,
        questions=3,
        work=folder / "work",
    )
    answers.making.collect(options)
    return options


def test_a_collection_is_kept_with_what_its_runs_measured(answers: Any, collected: Namespace) -> None:
    runs = answers.store.load(folder=collected.out)
    assert len(runs) == 6 * 2 * 3
    assert {run.task for run in runs} == set(PILOTED)
    for run in runs:
        assert set(run.columns) == {"entropy", "surprisal", "margin", "top1_prob"}
        assert len({len(values) for values in run.columns.values()}) == 1
        assert 1 <= run.line_steps <= run.steps
        assert len(run.samples) == (5 if run.number % 3 == 0 else 0)
        if run.form == "unstopped":
            assert (run.steps, run.end) == (32 if run.task == "copying" else 12, "length")
        assert run.rauq[0] > 0
        assert 0 <= run.score <= 1
    by_form = [{run.number for run in runs if run.form == form} for form in ("stopped", "unstopped")]
    assert by_form[0] == by_form[1], "the same questions in both forms"
    usual = answers.store.ordinary("llama", collected.out)
    assert all(len(values) == 99 and (np.diff(values) >= 0).all() for values in usual.values())


def test_a_collection_that_was_cut_off_goes_on(
    answers: Any, collected: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    before = answers.store.load(folder=collected.out)
    kept = sorted(collected.work.rglob("answers-*.pickle"))
    kept[0].unlink()
    untouched = {file: file.stat().st_mtime_ns for file in kept[1:]}
    answers.making.collect(collected)
    assert {file: file.stat().st_mtime_ns for file in kept[1:]} == untouched
    after = answers.store.load(folder=collected.out)
    assert [run.right for run in after] == [run.right for run in before]
    assert "36 answers" in capsys.readouterr().out


def test_what_is_packed_is_nearly_what_was_collected(
    answers: Any, collected: Namespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.shard.pack(collected.out, tmp_path, ["llama"])
    assert "together" in capsys.readouterr().out
    for one, other in zip(answers.store.load(folder=collected.out), answers.store.load(folder=tmp_path), strict=True):
        np.testing.assert_allclose(other.columns["surprisal"], one.columns["surprisal"], rtol=0.008)
        assert (one.right, one.rauq) == (other.right, pytest.approx(other.rauq, rel=0.009))
        assert other.score == pytest.approx(one.score, rel=0.009)
        assert [sample.answer for sample in one.samples] == [sample.answer for sample in other.samples]
    assert "llama" in answers.overview.overview(tmp_path)


# --- what is committed -------------------------------------------------------------------------------------------


def test_every_task_that_is_committed_has_both_outcomes(answers: Any) -> None:
    runs = answers.store.load()
    assert {run.model for run in runs} == {*answers.plan.MODELS}
    found = answers.overview.by_task(runs)
    assert len(runs) > 4000
    assert len(found) > 12 * 6 + 12
    one_sided = set()
    for key, some in found.items():
        assert len(some) >= 40, key
        assert sum(len(run.samples) == 5 for run in some) >= len(some) // 3, "every third question has samples"
        if not 3 <= sum(run.right for run in some) <= len(some) - 3:
            one_sided.add(key)
    assert one_sided == ONE_SIDED
    asked = {(task.name, task.form) for task in answers.smollm2_questions.TASKS}
    assert {(task, form) for model, task, form in found if model == "smollm2"} == asked


def test_what_is_committed_is_small_and_holds_no_text(answers: Any) -> None:
    files = list(answers.store.FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) <= 600 * 1024
    for file in files:
        arrays = answers.container.read(file)
        assert [key for key, values in arrays.items() if values.dtype.kind not in "fiu"] == ["meta"]
        assert not any("token" in key or "text" in key for key in arrays)


def test_what_is_committed_says_what_ran(answers: Any) -> None:
    for name in answers.store.names():
        known, runs = answers.store.about(name), answers.store.load(name)
        assert known["model"] == name
        assert name == "smollm2" or known["report"]["complete"], "the whole training"
        assert all(np.isfinite(values).all() for run in runs for values in run.columns.values())
        assert (np.diff(answers.store.ordinary(name)["entropy"]) >= 0).all()
