"""The run set and its figures: labels on texts made by hand, what is packed, and the goals on the committed runs."""

import importlib
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList

from opentelemetry_instrumentation_corevital.baselines.profile_limits import limit_of_profile
from opentelemetry_instrumentation_corevital.calibration import read_profile
from tests.support.in_memory import Keep, instrumented
from tests.support.tiny_models import tiny_model

FOLDER = Path(__file__).parents[2] / "benchmarks"
DOCS = FOLDER.parent / "docs"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks")

ARITHMETIC = re.compile(r"\d\s*[-+*/x=]\s*\d|\b(plus|minus|multipl\w*|divided|subtract\w*|sum of|square root)\b", re.I)

SENTENCE = "the owl's presence was a reminder of the importance of the natural world. "


@pytest.fixture(scope="module")
def parts() -> Iterator[Any]:
    """The benchmark's modules, which lie in folders that are no packages."""
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        names = ("judged.figures", "judged.fitting", "judged.replay", "runset.collect", "runset.labels", "runset.store")
        found = {name.split(".")[1]: importlib.import_module(name) for name in names}
        others = {"zoo": "judged.zoo_model", "packaged": "packaged_profile", "page": "judgement"}
        others["verdicts"] = "judged.verdicts"
        yield SimpleNamespace(**found, **{as_: importlib.import_module(name) for as_, name in others.items()})
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.startswith(("judged", "judgement", "packaged_profile", "runset", "zoo")):
                del sys.modules[name]


@pytest.fixture(scope="module")
def samples(parts: Any) -> list[Any]:
    return list(parts.store.load())


# --- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        (SENTENCE * 3, True),
        (SENTENCE * 2, False),
        ("A long beginning without any loop. " + "no, " * 40, True),
        ("A beginning. " + "".join(f"{number}. {SENTENCE}" for number in range(1, 6)), True),
        (SENTENCE * 4 + "And then the story went on to something that had never been told before in it.", False),
        (", ".join(str(number) for number in range(1, 80)), False),
        (
            "| fruit | colour |\n|---|---|\n| apple | green |\n| plum | blue |\n| cherry | red |\n| fig | purple |",
            False,
        ),
        ("Nothing here is said twice.", False),
        ("", False),
    ],
)
def test_a_loop_is_text_that_stood_twice_before(parts: Any, text: str, loop: bool) -> None:
    onset = parts.labels.loop_onset(parts.labels.fold(text))
    assert (onset is not None) == loop


def test_the_onset_is_where_the_second_copy_begins(parts: Any) -> None:
    lead = "it had been raining for days when we met. "
    onset = parts.labels.loop_onset(parts.labels.fold(lead + SENTENCE * 4))
    assert onset == pytest.approx(len(lead + SENTENCE), abs=3), "the blank before it may stand there by chance"


def test_pieces_are_the_longest_that_stood_often_enough_before(parts: Any) -> None:
    text = "abcabcabcxabc"
    for earlier in (1, 2):
        found = parts.labels.pieces(text, earlier)
        assert "".join(text[begin : begin + length] for begin, length in found) == text
        for begin, length in found:

            def stood(size: int, begin: int = begin, earlier: int = earlier) -> bool:
                return sum(text[i : i + size] == text[begin : begin + size] for i in range(begin)) >= earlier

            assert length == 1 or stood(length)
            assert begin + length == len(text) or not stood(length + 1)


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("It is Mars.", ["mars"], True),
        ("It is Smarties.", ["mars"], False),
        ("False. Though True would be nicer.", ["False"], True),
        ("True, not False.", ["False"], False),
        ("There are 12 of them, not 2", ["2"], False),
        ("2", ["2"], True),
        ("Nothing", ["2"], False),
        ("and, a, you", ["and, a, you"], True),
    ],
)
def test_answers(parts: Any, answer: str, expected: list[str], right: bool) -> None:
    assert parts.labels.is_correct(answer, expected) is right


# --- the set -----------------------------------------------------------------------------------------------------


def test_the_set_is_whole(parts: Any, samples: list[Any]) -> None:
    assert len(samples) >= 1500
    assert sum(sample.degenerate for sample in samples) >= 200
    assert sum(sample.prompt["class"] == "repeat" for sample in samples) >= 300
    assert {sample.label.correct for sample in samples} == {None, False, True}
    for sample in samples:
        assert len(sample.tokens) <= sample.plan["max_new_tokens"]
        assert {len(column) for column in sample.columns.values()} == {len(sample.tokens)}
        assert np.isfinite(sample.columns["entropy"]).all()


def test_what_is_committed_of_the_benchmarks_stays_small() -> None:
    """The zoo's runs, the run set and all code: 24 MiB, of which half a MiB is left for what comes."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."]
    found = subprocess.run(git, cwd=FOLDER, capture_output=True, check=False)
    if found.returncode:
        pytest.skip("only a git checkout knows what is committed")
    files = {FOLDER / name.decode() for name in found.stdout.split(b"\0") if name}
    files |= set((FOLDER / "zoo" / "runs").glob("*.npz.xz*"))
    assert sum(file.stat().st_size for file in files if file.is_file()) < 23.5 * 2**20


def test_the_numbers_of_the_set_are_those_that_corevital_records(parts: Any) -> None:
    model, keep = tiny_model(), Keep()
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12]]
    inputs = parts.collect.padded(prompts, 0, "cpu")
    measure = parts.collect.Measure(model.model.layers[-1])
    plan = parts.collect.Plan("sampled", (), 24, temperature=0.7, top_p=0.95)
    torch.manual_seed(3)
    with instrumented(judgements=[keep], capture="full"):
        ids = model.generate(
            **inputs,
            **plan.options(),
            max_new_tokens=24,
            pad_token_id=0,
            logits_processor=LogitsProcessorList([measure]),
        )
    tokens = ids[:, 5:]
    rows = measure.take(tokens[:, -1])
    steps, _ = parts.collect.lengths(tokens.numpy(), model.generation_config.eos_token_id)
    assert [run.steps for run in keep.runs] == steps.tolist()
    for index, run in enumerate(keep.runs):
        assert run.tokens.tolist() == tokens[index, : run.steps].tolist()
        for column, name in enumerate(parts.collect.MEASURED):
            np.testing.assert_allclose(
                rows[index, : run.steps, column], run.columns[name], rtol=1e-5, atol=1e-6, err_msg=name
            )


def test_the_halves_share_no_prompt_and_what_stays_unseen_is_not_in_the_set(samples: list[Any]) -> None:
    groups: dict[str, set[str]] = {"fit": set(), "report": set()}
    for sample in samples:
        groups[sample.half].add(sample.prompt["group"])
        said = " ".join(turn["content"] for turn in sample.prompt.get("messages", ())) + sample.prompt.get("text", "")
        assert "capital" not in said.lower()
        assert not ARITHMETIC.search(said), said
        assert "gemma" not in sample.plan["model"].lower()
    assert groups["fit"].isdisjoint(groups["report"])
    assert min(map(len, groups.values())) > 0.4 * sum(map(len, groups.values()))


def test_what_is_packed_comes_back(parts: Any, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = {
        "half": draw.normal(size=(7, 3)).astype(np.float16),
        "single": draw.normal(size=5).astype(np.float32),
        "tokens": np.array([0, 255, 256, 65535], np.uint16),
        "flags": np.array([True, False]),
        "empty": np.empty((0, 4), np.float32),
        "text": np.array("{}"),
    }
    parts.store.pack_file(tmp_path / "some.npz.xz", arrays)
    found = parts.store.unpack_file(tmp_path / "some.npz.xz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert [file.name for file in tmp_path.iterdir()] == ["some.npz.xz"]


# --- figures -----------------------------------------------------------------------------------------------------


def test_wilson_gives_published_intervals(parts: Any) -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: method 3.
    for hits, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert parts.figures.wilson(hits, total) == pytest.approx((low, high), abs=5e-5)
    assert all(map(math.isnan, parts.figures.wilson(0, 0)))


def test_auroc_is_the_chance_that_a_positive_scores_higher(parts: Any) -> None:
    draw = np.random.default_rng(1)
    scores, positive, weights = draw.integers(0, 6, 60), draw.random(60) < 0.4, draw.random(60)
    pairs = [
        (weights[i] * weights[j], (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
        for i in np.flatnonzero(positive)
        for j in np.flatnonzero(~positive)
    ]
    expected = sum(weight * higher for weight, higher in pairs) / sum(weight for weight, _ in pairs)
    assert parts.figures.auroc(scores, positive, weights) == pytest.approx(expected)


def test_a_missed_goal_is_shown_as_missed(parts: Any) -> None:
    section = parts.figures.Section("A", [parts.figures.share("x", 9, 10, least=0.95)])
    assert "**missed**" in parts.figures.render("Page", "", [section])


def test_the_logistic_regression_finds_the_coefficients_of_its_data(parts: Any) -> None:
    draw = np.random.default_rng(2)
    features = np.stack((np.ones(20_000), draw.random(20_000), draw.integers(0, 2, 20_000)), 1)
    chance = 1 / (1 + np.exp(-features @ np.array([-1.0, 2.0, 0.5])))
    found = parts.fitting.logistic(features, (draw.random(20_000) < chance).astype(float), np.ones(20_000))
    assert found == pytest.approx([-1.0, 2.0, 0.5], abs=0.15)


def test_the_flag_meets_its_goals_on_the_half_that_nothing_was_chosen_on(parts: Any, samples: list[Any]) -> None:
    replays = [SimpleNamespace(sample=sample) for sample in samples]
    found = parts.fitting.tried(replays, "report", parts.fitting.DEFAULT)
    assert found.hits + found.misses > 150
    assert found.recall >= 0.97
    assert found.precision >= 0.97
    ordinary = sum(sample.half == "report" and sample.prompt["class"] != "repeat" for sample in samples)
    assert found.alarms <= 0.01 * (ordinary - found.hits - found.misses)


def test_a_sample_is_judged_as_a_run(parts: Any, samples: list[Any]) -> None:
    degenerate = next(sample for sample in samples if sample.degenerate and sample.label.onset)
    one = parts.replay.replay(degenerate)
    assert one.flagged
    assert one.run.risk.level == "high"
    assert len(one.told) == len(one.recurring) == len(degenerate.tokens)
    assert not one.ordinary


# --- the packaged profile, on the zoo's runs of its model --------------------------------------------------------


@pytest.fixture(scope="module")
def smollm2(parts: Any) -> Any:
    try:
        return parts.zoo.ZooModel("smollm2")
    except FileNotFoundError:
        pytest.skip("the zoo's runs are not here")


@pytest.fixture(scope="module")
def judge(parts: Any) -> Any:
    """Return a judge with the packaged profile."""
    (file,) = parts.packaged.FOLDER.iterdir()
    profile = read_profile(file)
    limit, _ = limit_of_profile(profile)
    assert limit is not None
    return parts.verdicts.Judge(parts.verdicts.Baseline("packaged", profile, limit))


def test_the_packaged_profile_is_made_of_the_committed_runs(parts: Any, smollm2: Any) -> None:
    (file,) = parts.packaged.FOLDER.iterdir()
    packaged, made = read_profile(file), parts.packaged.made(smollm2.folder)
    assert packaged == made.model_copy(update={"made": packaged.made})
    assert (packaged.made.runs, packaged.made.steps) == (made.made.runs, made.made.steps)
    temperatures = {one.temperature for one, _ in smollm2.of("healthy", "baseline")}
    assert temperatures == {0.0, 0.7, 1.0}


@pytest.mark.parametrize("profiled", [False, True])
def test_healthy_runs_raise_no_flag_of_a_layer_and_blame_nobody(
    parts: Any, smollm2: Any, judge: Any, profiled: bool
) -> None:
    """Of all kinds of prompts: a profile of a few kinds blames layers for the others."""
    assert len({one.kind for one, _ in smollm2.held_out}) >= 10
    judge = judge if profiled else parts.verdicts.Judge()
    runs = [judge.layers(run) for _, run in smollm2.held_out]
    assert sum(bool(parts.verdicts.flags_of_layers(run)) for run in runs) <= 0.02 * len(runs)
    assert sum(bool(run.blame) for run in runs) <= 0.02 * len(runs)


def test_hot_runs_are_not_warned_of_more_than_others(smollm2: Any, judge: Any) -> None:
    """A profile of cooler runs alone warns of a third of them."""
    hot = [judge.all(run) for one, run in smollm2.held_out if one.temperature == 1]
    assert len(hot) > 90
    assert sum(bool(run.warnings) for run in hot) <= 0.1 * len(hot)


def test_planted_faults_are_blamed_on_their_layer(parts: Any, smollm2: Any, judge: Any) -> None:
    hits: dict[str, list[bool]] = {}
    for one, run in smollm2.grave:
        hits.setdefault(one.fault, []).append(parts.verdicts.first_blamed(judge.layers(run)) == one.layer)
    assert len(hits) == 9
    hidden = hits.pop("cache of zeros")  # in layers that hardly read their cache there is nothing to see
    assert np.mean(hidden) >= 0.5
    assert np.mean([hit for each in hits.values() for hit in each]) >= 0.9


@pytest.mark.acceptance
def test_the_page_of_results_is_what_the_committed_runs_give(parts: Any) -> None:
    """All of it but the cost, which is that of a machine, and the zoo's sections before it, which take minutes."""
    made = without_cost(parts.page.page(zoo=None))
    assert without_cost((DOCS / "results" / "judgement.md").read_text("utf-8"))[-len(made) :] == made


def without_cost(page: str) -> list[str]:
    """Return the page's sections, without the first lines, which name the machine."""
    return [section for section in page.split("\n## ")[1:] if not section.startswith("Cost")]
