"""`corevital calibrate --labels`: a model's own answer risk from labelled runs of a store."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.trace import INVALID_SPAN

from opentelemetry_instrumentation_corevital.assessment.answer_features import answer_features
from opentelemetry_instrumentation_corevital.assessment.answer_risk import answer_risk
from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped
from opentelemetry_instrumentation_corevital.calibration import Profiles, profiles_folder, read_profile
from opentelemetry_instrumentation_corevital.processors import AnswerProcessor
from opentelemetry_instrumentation_corevital.store import open_store
from opentelemetry_instrumentation_corevital.store.stored_distributions import stored_features
from tests.support.command_line import Cli
from tests.support.labelled_answers import answer, store_labelled

ANSWERS = [answer(seed) for seed in range(90)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("labelled") / "runs.db"
    store_labelled(file, [*ANSWERS, *((answer(seed)[0], None) for seed in range(900, 904))])
    return file


def copied(stored: Path, folder: Path) -> Path:
    """Return a copy of the store, with what is not yet in its main file."""
    shutil.copytree(stored.parent, folder / "copy")
    return folder / "copy" / stored.name


def test_from_labels_to_the_next_run(cli: Cli, stored: Path) -> None:
    code, out, err = cli("calibrate", "--labels", str(stored))
    assert code == 0, err
    assert "org/model: 90 labelled runs" in out
    assert "gain in AUROC: +" in out
    assert "answers of up to 32 tokens are judged" in out
    file = profiles_folder() / "org--model.json"
    assert str(file) in out
    own = read_profile(file).answer
    assert own is not None
    assert (own.method, own.runs) == ("labels-1", 90)
    run, _ = answer(5000)
    AnswerProcessor(profiles=Profiles()).on_run_ending(INVALID_SPAN, run)
    features = answer_features(run)
    assert not isinstance(features, str)
    assert run.answer == answer_risk(features, run.steps, own)
    assert run.answer.method == "labels-1"
    assert run.answer.probability != answer_risk(features, run.steps, shipped()).probability


def test_json_and_the_baseline_commands_say_the_same(cli: Cli, stored: Path) -> None:
    code, out, err = cli("calibrate", "--labels", "--db", str(stored), "--model", "model", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["runs"], found["correct"] + found["incorrect"], found["prompts"]) == (90, 90, 90)
    assert found["written"] is True
    assert found["out_of_fold"]["own"]["auroc"] > found["out_of_fold"]["shipped"]["auroc"]
    assert found["gain_interval"][0] < found["gain"] < found["gain_interval"][1]
    listed = json.loads(cli("baseline", "list", "--json")[1])["profiles"]
    assert [each["answer"] for each in listed] == [found["answer"]]
    assert listed[0]["runs"] is None, "it says nothing of what is usual"
    for command in (("list",), ("show", "org/model")):
        assert "own answer risk (labels-1) of 90 labelled runs" in cli("baseline", *command)[1].replace("\n", " ")


def test_too_few_are_refused_with_what_to_do(cli: Cli, stored: Path) -> None:
    code, _, err = cli("calibrate", "--labels", str(stored), "--limit", "30")
    said = " ".join(err.split())
    assert code == 1
    assert "at least 20 of each are needed" in said
    assert "corevital label" in said
    assert not profiles_folder().exists()
    code, _, err = cli("calibrate", "--labels", str(stored), "--model", "org/nobody")
    assert code == 1
    assert "0 correct and 0 incorrect answers among 0 labelled runs" in " ".join(err.split())


def test_several_models_are_named_and_one_is_chosen(cli: Cli, stored: Path, tmp_path: Path) -> None:
    file = copied(stored, tmp_path)
    others = [answer(seed, model="org/other") for seed in range(600, 604)]
    store_labelled(file, others)
    code, _, err = cli("calibrate", "--labels", str(file))
    assert code == 1
    assert "add --model: org/model 90, org/other 4" in " ".join(err.split())
    assert cli("calibrate", "--labels", str(file), "--model", "org/model", "--out", "p.json")[0] == 0
    assert "where OTEL_COREVITAL_BASELINE=" in cli(
        "calibrate", "--labels", str(file), "--model", "org/model", "--out", "p.json"
    )[1].replace("\n", "")


def test_runs_of_a_quantised_model_are_left_out(cli: Cli, stored: Path, tmp_path: Path) -> None:
    file = copied(stored, tmp_path)
    others = [answer(seed) for seed in range(700, 703)]
    for run, _ in others:
        run.model = dataclasses.replace(run.model, quantization="bitsandbytes-4bit")
    store_labelled(file, others)
    code, out, err = cli("calibrate", "--labels", str(file), "--json")
    assert code == 0, err
    assert json.loads(out)["left_out"] == {"of a model of that name that differs": 3}


def test_what_gains_nothing_is_not_written_unless_forced(cli: Cli, stored: Path, tmp_path: Path) -> None:
    """Labels for which the shipped probabilities are right: as many are wrong as they say, everywhere."""
    file = tmp_path / "right.db"
    store_labelled(file, [(answer(seed, doubtful=0.35)[0], True) for seed in range(120)])
    assert cli("calibrate", "--labels", str(stored))[0] == 0
    kept = profiles_folder() / "org--model.json"
    before = kept.read_bytes()
    with open_store(file) as store:
        judged = []
        for summary in store.runs(limit=None, label="any"):
            features = stored_features(store.load(summary))
            assert not isinstance(features, str)
            judged.append((answer_risk(features, summary.output_tokens or 0, shipped()).probability or 0.0, summary))
        judged.sort(key=lambda each: each[0])
        expected = np.floor(np.cumsum([probability for probability, _ in judged]))
        for (_, summary), rise in zip(judged, np.diff(expected, prepend=0.0), strict=True):
            store.set_label(summary, "incorrect" if rise else "correct")
    code, out, err = cli("calibrate", "--labels", str(file), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["better"], found["written"]) == (False, False)
    assert "the one of 90 labelled runs stays; --force" in found["used"]
    assert kept.read_bytes() == before
    code, out, err = cli("calibrate", "--labels", str(file), "--force")
    assert code == 0
    assert "it gained nothing" in err
    assert kept.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--labels", "--from-store"), "--from-store makes a profile of healthy runs"),
        (("--labels", "--seed", "1"), "--seed is about generating"),
        (("--force", "--from-store"), "--force is about labelled runs: add --labels"),
        (("--experiment", "a"), "--experiment is about labelled runs"),
        (("--label-source", "given"), "--label-source is about labelled runs"),
    ],
)
def test_options_that_do_not_go_together(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = cli("calibrate", *arguments)
    assert code == 1
    assert said in " ".join(err.split())
