"""A profile that has an answer risk: which source gives it, and which gives what is usual."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.trace import INVALID_SPAN

from opentelemetry_instrumentation_corevital.baselines.answer_model import AnswerModel, shipped
from opentelemetry_instrumentation_corevital.baselines.lookup import own_profile
from opentelemetry_instrumentation_corevital.baselines.profile import Identity, Profile, read_profile
from opentelemetry_instrumentation_corevital.calibration import Profiles, fit_profile, profiles_folder, write_profile
from opentelemetry_instrumentation_corevital.calibration.answer_profile import put_answer
from opentelemetry_instrumentation_corevital.processors import AnswerProcessor
from opentelemetry_instrumentation_corevital.run import ModelInfo, Run
from tests.support.healthy_runs import healthy
from tests.support.made_runs import make_run

OWN = shipped().model_copy(update={"method": "labels-1", "intercept": -3.0, "models": 1})
MODEL = healthy(0).model
SMOLLM2 = ModelInfo(
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "LlamaForCausalLM",
    dtype="float32",
    layer_count=30,
    head_count=9,
    vocabulary_size=49152,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path


def own_of(model: ModelInfo, answer: AnswerModel = OWN) -> Path:
    file = own_profile(Identity.of(model))
    put_answer(file, model, answer, 500)
    return file


def calibrated() -> Profile:
    return fit_profile([healthy(seed) for seed in range(60)])


def test_with_an_answer_risk_alone_the_packaged_profile_stays() -> None:
    before = Profiles().of(SMOLLM2)
    own_of(SMOLLM2)
    found = Profiles().of(SMOLLM2)
    assert before.source == "packaged"
    assert (found.source, found.profile, found.runs, found.reason) == ("packaged", before.profile, before.runs, None)
    assert found.limit is not None
    assert (before.answer, found.answer) == (None, OWN)


def test_with_an_answer_risk_alone_what_is_learned_stays() -> None:
    own_of(MODEL)
    found = Profiles().of(MODEL)
    assert (found.source, found.profile, found.reason) == ("none", None, None)
    assert found.pupil is not None, "served runs teach, as before"
    assert found.answer == OWN


def test_a_calibrated_profile_has_both() -> None:
    write_profile(calibrated(), own_profile(Identity.of(MODEL)))
    before = Profiles().of(MODEL)
    own_of(MODEL)
    found = Profiles().of(MODEL)
    assert found.source == "calibrated"
    assert found.answer == OWN
    assert (found.limit is None, found.runs, found.reason) == (before.limit is None, before.runs, before.reason)


def test_of_another_quantisation_it_is_not_used_and_that_is_said() -> None:
    own_of(MODEL)
    found = Profiles().of(replace(MODEL, quantization="bitsandbytes-4bit"))
    assert found.answer is None
    assert "quantization none, not bitsandbytes-4bit" in str(found.reason)


def test_one_that_is_named_gives_it_and_what_is_usual_is_looked_for(home: Path) -> None:
    file = home / "elsewhere.json"
    put_answer(file, SMOLLM2, OWN, 500)
    found = Profiles(str(file)).of(SMOLLM2)
    assert (found.source, found.answer) == ("packaged", OWN)
    assert Profiles("off").of(SMOLLM2).answer is None
    another = Profiles(str(file)).of(MODEL)
    assert (another.source, another.answer) == ("none", None)
    assert "was made with another model" in str(another.reason)


def test_runs_are_judged_with_it_at_once() -> None:
    def judged() -> Run:
        run = make_run(8)
        AnswerProcessor(profiles=Profiles()).on_run_ending(INVALID_SPAN, run)
        return run

    before = judged().answer
    own_of(make_run().model)
    run = judged()
    assert before is not None
    assert run.answer is not None
    assert (before.method, run.answer.method) == (shipped().method, "labels-1")
    moved = sum(value for _, value in run.answer.factors)
    assert run.answer.probability == pytest.approx(1 / (1 + np.exp(3.0 - moved)), abs=1e-6)
    assert run.answer.factors == before.factors


def test_a_file_that_was_written_before_answers_had_a_risk_is_read() -> None:
    file = profiles_folder() / "p.json"
    write_profile(calibrated(), file)
    assert read_profile(file).answer is None
    assert not read_profile(file).only_answer
