"""What the page of results makes of a zoo: runs made of windows, baselines, rules that are tried, and figures."""

import importlib
import json
import lzma
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.assessment.deviation import first_nonfinite
from opentelemetry_instrumentation_corevital.baselines import learned_files
from opentelemetry_instrumentation_corevital.baselines.learner import Learner
from opentelemetry_instrumentation_corevital.baselines.profiled_signals import layer_signals, step_signals
from opentelemetry_instrumentation_corevital.baselines.run_numbers import run_number
from opentelemetry_instrumentation_corevital.baselines.windowed import GROUPS, TableRows, parts
from opentelemetry_instrumentation_corevital.run import Run

FOLDER = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks")

ZOO = "corpus container making options pack plan rows store"
JUDGED = "choosing diagnosis excess lessons reading strange verdicts zoo_model zoo_rows zoo_runs zoo_sections figures"


@pytest.fixture(scope="module")
def here() -> Iterator[Any]:
    """The benchmark's modules, which lie in folders that are no packages."""
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        found = {name: importlib.import_module(f"zoo.{name}") for name in ZOO.split()}
        found |= {name: importlib.import_module(f"judged.{name}") for name in JUDGED.split()}
        found["zoo_model"].CHANGES = -1.0  # hardly any fault changes what a model says that has learned nothing
        yield SimpleNamespace(**found, page=importlib.import_module("judgement"))
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.startswith(("judged", "judgement", "runset", "zoo")):
                del sys.modules[name]


@pytest.fixture(scope="module")
def corpus(here: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw, file = Random(1), tmp_path_factory.mktemp("corpus") / "corpus.xz"
    words = [f"{a}{b}{c}" for a in ("bra", "col", "den", "fir") for b in ("mu", "na", "ti") for c in ("to", "les", "r")]
    lines = [json.dumps({"packages": []})]
    lines += [json.dumps({"word": w, "definition": f"a thing of {w[::-1]}", "synonyms": [w[:5]]}) for w in words]
    lines += [
        json.dumps({"kind": kind, "text": " ".join(draw.choices(words, k=draw.randint(20, 60)))})
        for kind in ("dictionary", "code", "kernel")
        for _ in range(150)
    ]
    here.corpus.write(file, lines)
    return file


@pytest.fixture(scope="module")
def collected(here: Any, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy model's collection, with healthy runs enough for a baseline of 50."""
    folder = tmp_path_factory.mktemp("zoo")
    amounts = replace(here.plan.TOY_AMOUNTS, lengths={26: 20, 36: 20}, every_step=12, shortest=18, fault_tokens=28)
    command = ["train", "llama", folder / "out", "--corpus", corpus, "--toy", "--steps", 1, "--work", folder / "work"]
    options = here.options.parser().parse_args([str(part) for part in command])
    before = here.making.TOY_AMOUNTS
    here.making.TOY_AMOUNTS = amounts
    try:
        here.making.make(options)
    finally:
        here.making.TOY_AMOUNTS = before
    return folder / "out"


@pytest.fixture(scope="module")
def packed(here: Any, collected: Path) -> Path:
    """What of it would be committed."""
    folder = collected.parent / "packed"
    here.pack.pack_folder(collected, folder, ["llama"], every_step=6)
    return folder


@pytest.fixture(scope="module")
def toy(here: Any, packed: Path) -> Any:
    return here.zoo_model.ZooModel("llama", packed)


@pytest.fixture(scope="module")
def lesson(toy: Any) -> Any:
    return toy.lesson(50, 0)


def test_a_text_whose_end_is_repetitive_is_neither_a_loop_nor_plain(here: Any) -> None:
    repetitive = here.rows.is_repetitive
    plain = "the cat sat on the mat, and the dog saw it from the door of the old house by the river"
    assert not repetitive(plain)
    assert repetitive(plain + ", and sat, and sat, and sat, and sat, and")
    assert repetitive(plain + " 10 of 12, 11 of 13, 17 of 19, 20 of 25, 31 of 32"), "but for its numbers"


# --- runs --------------------------------------------------------------------------------------------------------


def test_a_run_made_of_windows_has_these_windows(here: Any, toy: Any) -> None:
    """Number for number, as production code sees them; of runs with NaN, too."""
    seen: Counter[str] = Counter()
    rows = TableRows(2)
    for one, run in zip(toy.zoo, toy.runs, strict=True):
        signals, tables = layer_signals(run), list(parts(run, rows))
        for name, kept in one.kept_windows.items():
            median, largest, place = here.container.windows(signals[name])
            assert np.array_equal(median, kept.median, equal_nan=True), name
            assert np.array_equal(largest, kept.largest, equal_nan=True), name
            assert np.array_equal(place[largest > median], kept.place[largest > median]), name
            (part,) = (each for each in tables if name in GROUPS[each.group])
            for view, numbers in (("windows", median), ("maxima", largest)):
                where = rows.of(view, name)
                table = part.table[:, where.start - part.rows.start : where.stop - part.rows.start]
                there = np.isfinite(table) & (part.starts + 8 <= first_nonfinite(run))[:, None]
                assert np.array_equal(table[there], numbers[(part.starts - 1) // 8][there]), (name, view)
            seen[one.group] += 1
    assert seen["healthy"] > 500
    assert seen["fault"] > 100


def test_what_was_kept_of_each_step_is_taken_as_it_is(here: Any, toy: Any) -> None:
    one = toy.of("fault")[0][0]
    kept = {name: np.linspace(0, 0.7, one.steps, dtype=np.float32) for name in ("prompt_focus", "collapsed_share")}
    run = here.zoo_runs.as_run(replace(one, columns={**one.columns, **kept}), toy.model)
    for name, values in kept.items():
        assert np.array_equal(step_signals(run)[name], values), name
    assert run.stop_reason == one.end
    assert run.model.layer_count == 2
    assert run.decoding.max_new_tokens == one.limit


def test_the_counts_of_what_was_not_finite_are_those_of_the_run(toy: Any) -> None:
    nan = [(one, run) for one, run in toy.faults if one.fault == "NaN"]
    assert nan
    for one, run in nan:
        assert np.argwhere(run.columns["hidden_nan"] > 0)[0].tolist() == [one.step, one.layer]
        assert not np.isfinite(run.columns["hidden_l2_norm"][one.step, one.layer])
        assert np.isfinite(run.columns["hidden_l2_norm"][: one.step]).all()


@pytest.fixture(scope="module")
def whole(here: Any, collected: Path) -> list[Run]:
    """The runs that were kept with every step."""
    model = here.zoo_model.ZooModel("llama", collected)
    return [run for one, run in zip(model.zoo, model.runs, strict=True) if one.layers and one.group != "task"]


def test_a_learned_baseline_sees_the_same_of_a_run_and_of_its_windows(here: Any, whole: list[Run]) -> None:
    """What is missing, too: a window in which a step has no number counts as none."""
    compared = 0
    for run in whole:
        if (run.columns["hidden_l2_norm"] == 0).any():
            continue  # windows do not keep where an output was zero
        end = first_nonfinite(run)
        first, second = parts(run, TableRows(2)), parts(here.zoo_runs.seen_as_windows(run), TableRows(2))
        for one, other in zip(first, second, strict=True):
            some = one.starts + 8 <= end
            width = TableRows(2).widths[one.group]
            ours, theirs = one.table[some][:, width:], other.table[some][:, width:]
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
            compared += ours.size
    assert compared > 1000


def test_runs_with_every_step_are_judged_as_their_windows_are(here: Any, whole: list[Run], lesson: Any) -> None:
    judge, runs = here.verdicts.Judge(lesson.baseline), whole
    told: Counter[str] = Counter()
    for run in runs:
        first, second = judge.all(run), judge.all(here.zoo_runs.seen_as_windows(run))
        same = here.verdicts.flags_of_layers(first) == here.verdicts.flags_of_layers(second)
        same &= here.verdicts.first_blamed(first) == here.verdicts.first_blamed(second)
        told["the same" if same else f"{first.blame} {second.blame}"] += 1
    assert len(runs) > 20
    assert told["the same"] >= 0.95 * len(runs), told


# --- baselines ---------------------------------------------------------------------------------------------------


def test_a_baseline_is_learned_as_a_service_learns_it(
    here: Any, toy: Any, lesson: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same runs in the same order through the product's learner, with its file."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    order = list(toy.students)
    Random(0).shuffle(order)
    learner = Learner()
    pupil = learner.pupil(order[0].run.model)
    handed = 0
    for student in order:
        usual = pupil.usual
        baseline = here.verdicts.Baseline("learned", usual.profile, usual.limit, usual.runs, usual.tokens)
        judged = here.verdicts.Judge(baseline).all(student.run)
        if handed == 50:
            break
        teaches = not judged.health.raised() and not student.looped
        learner.hand_over(pupil, student.run, teaches=teaches)
        handed += teaches
        learner.force_flush() if handed == 4 else learner._learn_all()
    learner.force_flush()
    known = learned_files.read_baseline(learned_files.file_of(pupil.new.identity))
    assert (known.runs, known.tokens) == (lesson.baseline.runs, lesson.baseline.tokens) == (50, known.tokens)
    assert known.limit().value == pytest.approx(lesson.baseline.limit.value, rel=1e-5)
    theirs, ours = known.sketches.quantiles([0.5])[0], lesson.ruler.centre
    assert np.array_equal(np.isnan(theirs), np.isnan(ours))
    assert np.nanmax(np.abs(theirs - ours)) < 1e-5


def test_draws_differ_and_say_so(toy: Any, lesson: Any) -> None:
    other, same = toy.lesson(50, 1), toy.lesson(50, 0)
    assert other.baseline.limit.value != lesson.baseline.limit.value == same.baseline.limit.value


def test_a_flagged_run_teaches_nothing(here: Any, toy: Any) -> None:
    some = toy.students[:20]
    flagged = [replace(student, raised=frozenset({"repetition_loop_detected"})) for student in some[:5]]
    looped = [replace(student, looped=True) for student in some[5:10]]
    found = here.lessons.learned([*flagged, *looped, *some[10:]], 50, 0)
    assert found.baseline.runs == len(some) - 10
    assert found.baseline.limit is None, "too few"


def test_a_calibrated_baseline_knows_all_runs_and_measures_each_without_itself(here: Any, toy: Any) -> None:
    fit = [student for student in toy.students if not student.raised and not student.looped]
    found = here.lessons.calibrated(toy.students)
    assert (found.source, found.runs) == ("calibrated", len(fit))
    rows = TableRows(2)
    within = [run_number(list(parts(student.run, rows)), found.limit.yardstick).value for student in fit]
    assert found.limit.value > max(within), "a run that taught is not as far out as one that did not"


# --- rules -------------------------------------------------------------------------------------------------------


def test_the_fast_tables_have_the_products_run_numbers(here: Any, toy: Any, lesson: Any) -> None:
    rule, yardstick = here.choosing.shipped(), lesson.baseline.limit.yardstick
    trial = toy.trial()
    scale = here.excess.Scale.of(lesson.ruler, rule.unit, trial.rows)
    worst = trial.healthy.worst(here.excess.excess(trial.healthy, scale)[:, rule.places].max((1, 2)))
    ours = worst / here.choosing.longer(trial.healthy.counts, rule)
    theirs = [run_number(parts(run, trial.rows), yardstick).value for _, run in toy.held_out]
    assert len(theirs) > 50
    assert ours == pytest.approx(theirs, rel=1e-4)
    measured = here.choosing.measured_with(trial, lesson, rule.unit)
    assert here.choosing.limit_by(measured, rule) == pytest.approx(lesson.baseline.limit.value, rel=1e-4)


def test_what_began_is_the_shallowest_layer_of_the_earliest_window(here: Any) -> None:
    values = np.zeros((6, 3), np.float32)
    values[1, 2], values[1, 1], values[2, 0] = 5, 4, 9
    values[5, 0] = 1.7
    stack = here.excess.Stack(np.zeros((6, 1, 3), np.float32), np.repeat([0, 1], 3), np.tile([1, 9, 17], 2), 2)
    rule = replace(here.choosing.shipped(), per_doubling=0.0, share=1.0)
    assert here.choosing.first_layers(stack, values, 2.0, rule).tolist() == [1, -1]
    assert here.choosing.first_layers(stack, values, 4.5, rule).tolist() == [2, -1]
    assert here.choosing.first_layers(stack, values, 4.5, replace(rule, share=0.8)).tolist() == [1, -1]
    assert here.choosing.first_layers(stack, values, 1.6, rule).tolist() == [1, 0]
    assert here.choosing.first_layers(stack, values, 1.6, replace(rule, per_doubling=1.0)).tolist() == [2, -1]


def test_a_balanced_rule_sees_a_quiet_layer_beside_a_loud_one(here: Any) -> None:
    """Numbers of the loud one alone would make the limit."""
    draw = np.random.default_rng(1)
    numbers = np.zeros((60, len(here.excess.PAIRS), 2), np.float32)
    numbers[:, 0] = draw.uniform(0.5, 1, (60, 2)) * [8, 1]
    faults = np.zeros((1, len(here.excess.PAIRS), 2), np.float32)
    faults[0, 0, 1] = 3
    windows, counts = np.zeros_like(faults), np.ones(60, np.intp)
    measured = here.choosing.Measured(numbers, np.full(60, 50), counts, numbers, faults)
    stack = here.excess.Stack(windows, np.zeros(1, np.intp), np.ones(1, np.intp), 1)
    trial = here.choosing.Trial(TableRows(2), stack, replace(stack, runs=60), stack, np.array([1]), np.array([-1]))
    rule = replace(here.choosing.shipped(), counted=(here.excess.PAIRS[0],))
    outcomes = {
        how: here.choosing._outcome(trial, measured, replace(rule, balance=how)).right for how in ("none", "layers")
    }
    assert outcomes == {"none": 0, "layers": 1}


def test_the_rule_that_places_most_is_chosen_among_those_that_keep_the_rate(here: Any) -> None:
    def chosen(*tried: tuple[int, int]) -> int:
        models = [[here.choosing.Tried(right, 100, alarms, 100) for right, alarms in tried]] * 2
        return here.choosing.choose(models, rules)

    ships = here.choosing.shipped()
    rules = [ships, replace(ships, share=0.7, balance="layers"), replace(ships, share=0.7), replace(ships, counted=())]
    assert chosen((50, 0), (70, 1), (60, 0), (60, 0)) == 1
    assert chosen((50, 0), (90, 9), (70, 1), (60, 1)) == 2, "too many alarms"
    assert chosen((50, 0), (90, 1), (88, 1), (60, 1)) == 2, "not to be told apart, and more like what ships"
    assert chosen((88, 0), (90, 1), (90, 1), (90, 1)) == 0
    assert chosen((10, 9), (50, 4), (40, 5), (40, 5)) == 1, "where none keeps the rate"


def test_every_rule_is_tried_on_every_model(here: Any, toy: Any, lesson: Any) -> None:
    found = here.choosing.tried(toy.trial(), lesson)
    assert len(found) == len(here.choosing.all_rules()) == len(set(here.choosing.all_rules()))
    assert {(one.faults, one.healthy) for one in found} == {(len(toy.grave), len(toy.held_out))}
    assert len({one.right for one in found}) > 1, "they do not differ"


def test_a_strange_run_costs_faults_only_where_it_counts(here: Any, toy: Any) -> None:
    baseline = here.lessons.calibrated(toy.students)
    runs = baseline.profile.runs
    freak = replace(
        baseline,
        profile=baseline.profile.model_copy(
            update={"runs": runs.model_copy(update={"values": [1e6, *runs.values[1:]]})}
        ),
    )
    faults = [(run, one.layer) for one, run in toy.grave]
    usual, found = (here.strange.strange(one, [run for _, run in toy.held_out], faults) for one in (baseline, freak))
    assert [one.faults for one in found] == [len(faults)] * len(here.strange.TIMES)
    assert found[-1].beyond == found[-1].beyond_fewer == 0, "everything is within a limit of a million"
    assert found[-1].right < found[-2].right == usual[-2].right


def test_the_smallest_that_keeps_the_rate_is_chosen(here: Any) -> None:
    def models(*fewer: float) -> Any:
        padded = [*fewer, *[0.0] * (len(here.strange.TIMES) - len(fewer))]
        return [[here.strange.Strange(1, 2, 0, 100, each) for each in padded]] * 2

    assert here.strange.chosen(models(3, 1.2, 0.9, 0.2)) == 2
    assert here.strange.chosen(models(0.5, 3)) == 0
    assert here.strange.chosen(models(*[5] * len(here.strange.TIMES))) == len(here.strange.TIMES) - 1


# --- figures -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures(here: Any, packed: Path) -> Any:
    return here.zoo_model.figures("llama", packed, here.zoo_model.SMALL)


def test_figures_are_counts_of_the_zoos_runs(here: Any, toy: Any, figures: Any) -> None:
    assert [draw["flag"].total for draw in figures.layers["50"]] == [len(toy.held_out)] * 2
    assert figures.layers["none"][0]["right"].total == len(toy.grave) > 4
    assert figures.layers["none"][0]["flag"].hits == 0
    assert sum(count.rate for count in figures.nonfinite.values()) == len(figures.nonfinite) == 3
    assert figures.contradictions["none"]["runs"] == len(toy.runs)
    assert figures.loops["all"].total == len(toy.of("loop")) >= figures.loops["clear"].total
    assert figures.loops["plain"].total + figures.loops["repetitive"].total == len(toy.held_out) + len(
        toy.of("healthy", "baseline")
    )
    assert {one.structured for one in figures.loop_limits.values()} == {
        sum(count.total for counts in (figures.structured, figures.made) for count in counts.values())
    }
    assert sum(count.total for count in figures.made.values()) == len(here.store.made_texts("llama", toy.folder))
    assert sum(figures.levels["none"].values()) == len(toy.held_out)
    assert figures.begun["none"]["tokens"] == sum(run.steps for _, run in toy.held_out)
    assert figures.agreement["blame"].total == 6


def test_a_first_blame_that_is_wrong_counts_as_wrong(here: Any, toy: Any) -> None:
    """Faults that are said to be elsewhere."""
    grave = [(replace(one, layer=1 - one.layer), run) for one, run in toy.grave]
    judged = here.zoo_model.Judged(toy, here.verdicts.NONE)
    counted = here.zoo_model.ModelFigures("llama")
    wrong, right = (
        here.zoo_model._layers(SimpleNamespace(held_out=[], grave=some), judged, counted, "none")
        for some in (grave, toy.grave)
    )
    assert (right["right"].hits, wrong["right"].hits, wrong["named"].total) == (6, 0, 0), "NaN, Inf, overflow"


def test_the_page_has_every_figure_of_the_zoo(here: Any, figures: Any) -> None:
    other = replace(figures, name="gpt2")
    page = here.figures.render("A", "b", here.zoo_sections.sections([figures, other]))
    for title in (
        "Healthy runs with any flag but the loop's",
        "Healthy runs that blame a layer",
        "Faults that change the output: first blamed layer is the right one",
        "Runs with a right blame",
        "NaN and infinity",
        "Loops",
        "Structured text called a loop",
        "Warnings without a baseline: limits chosen on the other models",
        "Chosen on the other models",
        "Where the excess of faults is",
        "Each signal alone",
    ):
        assert f"## {title}\n" in page
    assert "| >= 1 | met |" in page
    assert "learned from 50 runs: pooled" in page
    assert not re.search(r"\bnan\b", page), "a share of nothing"


def test_a_missed_goal_is_said(here: Any) -> None:
    count = here.zoo_model.Count
    assert here.zoo_rows.pooled("x", count(3, 100), most=0.02).met is False
    assert here.zoo_rows.pooled("x", count(1.5, 100), most=0.02).met is True
    assert here.zoo_rows.pooled("x", count(0, 0), least=0.5).met is False, "nothing was measured"


def test_warnings_are_counted_as_they_begin(here: Any) -> None:
    active = {3: ("a",), 4: ("a", "b"), 6: ("a",)}
    run = SimpleNamespace(early_warning=SimpleNamespace(active=active), warnings=["a", "b", "c"])
    assert Counter(here.zoo_model._begun(run)) == {"a": 2, "b": 1, "c": 1}


# --- texts -------------------------------------------------------------------------------------------------------


def test_runs_are_printed_with_the_text_that_the_model_wrote(
    here: Any, collected: Path, packed: Path, corpus: Path
) -> None:
    made = here.reading.texts(["llama"], packed, corpus, count=4)
    texts = json.loads(lzma.decompress((collected / "llama-texts.json.xz").read_bytes()))
    printed = made.split("\n## ")[1:]
    assert {part.split(":")[0] for part in printed} >= {"flagged", "blamed", "high"}
    for part in printed:
        number = part.partition("\n")[0].split()[-1]
        text = "\n".join(line[4:] for line in part.splitlines() if line.startswith("    "))
        assert text.split()[:5] == texts[number][3].split()[:5]
        assert "narrative: " in part
        assert "None" not in part


def test_another_corpus_is_refused(here: Any, packed: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"packages": []}), json.dumps({"kind": "code", "text": "other " * 40})]
    here.corpus.write(tmp_path / "other.xz", lines)
    with pytest.raises(SystemExit, match="llama was trained on another text"):
        here.reading.tokenizer_of("llama", tmp_path / "other.xz", packed)
    with pytest.raises(SystemExit, match="--corpus"):
        here.reading.tokenizer_of("llama", None, packed)
