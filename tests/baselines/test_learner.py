"""Learning from runs as they are served, in a thread of its own."""

import dataclasses
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.baselines import learner as module
from opentelemetry_instrumentation_corevital.baselines.learned_files import (
    file_of,
    files,
    read_baseline,
    remove,
    update,
)
from opentelemetry_instrumentation_corevital.baselines.learner import ANCHOR_RUNS, LEARNER, Learner
from opentelemetry_instrumentation_corevital.baselines.lookup import Profiles, profiles_folder
from opentelemetry_instrumentation_corevital.baselines.run_numbers import FEWEST_RUNS
from opentelemetry_instrumentation_corevital.calibration import fit_profile, write_profile
from tests.support.healthy_runs import healthy
from tests.support.known_models import is_beyond

MODEL = healthy(0).model


@pytest.fixture
def learner() -> Iterator[Learner]:
    LEARNER.forget()
    yield LEARNER
    LEARNER.forget()


def learn(learner: Learner, first: int, count: int) -> None:
    for seed in range(first, first + count):
        learner.hand_over(learner.pupil(MODEL), healthy(seed), teaches=True)
    assert learner.force_flush()


def until(what: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.01)
    assert what()  # type: ignore[operator]


def test_the_first_runs_make_a_file_without_anybody_waiting(learner: Learner) -> None:
    for seed in range(ANCHOR_RUNS):
        learner.hand_over(learner.pupil(MODEL), healthy(seed), teaches=True)
    until(lambda: [read_baseline(file).runs for file in files()] == [ANCHOR_RUNS])
    learner.hand_over(learner.pupil(MODEL), healthy(9), teaches=True)
    until(lambda: learner.pupil(MODEL).usual.runs == ANCHOR_RUNS + 1)
    assert read_baseline(files()[0]).runs == ANCHOR_RUNS, "written at most once a minute"
    assert learner.force_flush()
    assert read_baseline(files()[0]).runs == ANCHOR_RUNS + 1
    assert learner.force_flush()
    assert read_baseline(files()[0]).runs == ANCHOR_RUNS + 1, "what is written is not written again"


def test_below_fifty_runs_nothing_is_judged_by_it(learner: Learner) -> None:
    assert Profiles().of(MODEL).source == "none"
    learn(learner, 0, FEWEST_RUNS - 1)
    found = Profiles().of(MODEL)
    assert (found.source, found.runs, found.tokens, found.profile) == (
        "learned",
        FEWEST_RUNS - 1,
        60 * (FEWEST_RUNS - 1),
        None,
    )
    learn(learner, 100, 1)
    found = Profiles().of(MODEL)
    assert found.profile is not None
    assert found.limit is not None
    assert found.profile.made.runs == FEWEST_RUNS
    assert not is_beyond(healthy(1), found.limit)
    wild = healthy(1)
    wild.columns["layer_transformation"][20:, 4] = 30.0
    assert is_beyond(wild, found.limit)


def test_what_was_learned_is_near_what_is_calibrated_from_the_same_runs(learner: Learner) -> None:
    learn(learner, 0, 80)
    profile, exact = learner.pupil(MODEL).known.profile(), fit_profile([healthy(seed) for seed in range(80)])  # type: ignore[union-attr]
    assert profile is not None
    assert profile.layers.keys() == exact.layers.keys()
    assert profile.signals.keys() == exact.signals.keys()
    for signal in ("log2_gain", "layer_transformation", "attention_entropy"):
        mine, theirs = profile.layers[signal].windows, exact.layers[signal].windows
        tail = theirs.quantile(0.999) - theirs.centre
        for level in (0.001, 0.05, 0.95, 0.999):
            off = abs(mine.quantile(level) - theirs.quantile(level)) / tail
            assert off[1:].max() < 0.35, (signal, level)
        assert (abs(mine.centre - theirs.centre) / tail)[1:].max() < 0.1


def test_another_process_goes_on_where_the_file_is(learner: Learner) -> None:
    learn(learner, 0, 30)
    learner.forget()  # a new process
    assert learner.pupil(MODEL).usual.runs == 30
    learn(learner, 30, 30)
    assert read_baseline(file_of(learner.pupil(MODEL).new.identity)).runs == 60


def test_a_run_that_taught_nothing_is_counted(learner: Learner) -> None:
    learn(learner, 0, 5)
    learner.hand_over(learner.pupil(MODEL), healthy(7), teaches=False)
    assert learner.force_flush()
    known = learner.pupil(MODEL).known
    assert known is not None
    assert (known.runs, known.flagged) == (5, 1)


def test_a_frozen_one_learns_nothing_and_one_that_was_reset_begins_anew(learner: Learner) -> None:
    learn(learner, 0, 60)
    (file,) = files()

    def frozen(known: object) -> object:
        known.frozen = True  # type: ignore[attr-defined]
        return known

    update(file, frozen)  # type: ignore[arg-type]
    learn(learner, 60, 5)  # it learns of it as it writes
    learn(learner, 65, 5)
    assert read_baseline(file).runs == 60
    assert Profiles().of(MODEL).profile is not None, "it is still judged with"
    learner.forget()
    remove(file)
    assert Profiles().of(MODEL).source == "none"
    learn(learner, 0, 6)
    assert read_baseline(file).runs == 6


def test_one_that_was_reset_while_it_is_used_is_not_brought_back(learner: Learner) -> None:
    learn(learner, 0, 60)
    (file,) = files()
    remove(file)
    learn(learner, 60, 4)
    assert read_baseline(file).runs == 4
    assert Profiles().of(MODEL).profile is None
    assert Profiles().of(MODEL).runs == 4


def test_a_bad_file_is_told_once_and_is_as_none(learner: Learner, caplog: pytest.LogCaptureFixture) -> None:
    file = file_of(learner.pupil(MODEL).new.identity)
    learner.forget()
    file.write_bytes(b"not a baseline")
    with caplog.at_level(logging.WARNING):
        for seed in range(6):
            assert Profiles().of(MODEL).source == "none"
            learner.hand_over(learner.pupil(MODEL), healthy(seed), teaches=True)
        learner.force_flush()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert str(file) in warning
    assert "corevital baseline reset" not in file.read_text()
    assert file.read_bytes() == b"not a baseline", "it may be of a newer version"


def test_a_foreign_file_is_told_and_is_as_none(learner: Learner, caplog: pytest.LogCaptureFixture) -> None:
    learn(learner, 0, 60)
    other = dataclasses.replace(MODEL, architecture="OtherForCausalLM")
    (file,) = files()
    copied = file_of(learner.pupil(other).new.identity)
    learner.forget()
    copied.write_bytes(file.read_bytes())
    with caplog.at_level(logging.WARNING):
        assert Profiles().of(other).source == "none"
        learner.hand_over(learner.pupil(other), healthy(1), teaches=True)
        assert learner.force_flush()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"{copied}: is of another model, org/model" in warning
    assert copied.read_bytes() == file.read_bytes()


def test_where_nothing_can_be_written_nothing_is_learned_and_it_is_said_once(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "corevital").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        for seed in range(6):
            learner.hand_over(learner.pupil(MODEL), healthy(seed), teaches=True)
        learner.force_flush()
        assert Profiles().of(MODEL).source == "none"
        assert Profiles().of(dataclasses.replace(MODEL)).runs is None
    assert [record.getMessage() for record in caplog.records if "nothing is learned" in record.getMessage()] != []
    assert len(caplog.records) == 1


DENIED = """
import logging, os
logging.basicConfig(format="%(message)s")
from opentelemetry_instrumentation_corevital.baselines.learner import LEARNER
from tests.support.healthy_runs import healthy
runs = [healthy(seed) for seed in range(6)]
os.chmod(os.environ["XDG_DATA_HOME"], 0o555)
os.setuid(65534)
for run in runs:
    LEARNER.hand_over(LEARNER.pupil(run.model), run, teaches=True)
print(LEARNER.force_flush(), LEARNER.pupil(runs[0].model).usual.runs)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
def test_permission_denied_is_said_once(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}
    (tmp_path / "data").mkdir()
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", DENIED], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["True", "0"], done.stderr
    assert done.stderr.count("Permission denied") == 1


def test_sources_go_in_order(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(learner, 0, 60)
    assert Profiles().of(MODEL).source == "learned"
    write_profile(fit_profile([healthy(seed) for seed in range(20)]), profiles_folder() / "org--model.json")
    found = Profiles().of(MODEL)
    assert (found.source, found.runs, found.tokens, found.pupil) == ("calibrated", 20, 1200, None)
    named = Profiles(str(files()[0])).of(MODEL)
    assert (named.source, named.runs, named.pupil) == ("learned", 60, None), "by its path, and nothing is learned"
    assert named.limit is not None
    other = Profiles(str(files()[0])).of(dataclasses.replace(MODEL, layer_count=3))
    assert other.source == "none"
    assert "layer count 9, not 3" in str(other.reason)
    assert Profiles("off").of(MODEL).source == "none"
    (profiles_folder() / "org--model.json").write_text("{")
    found = Profiles().of(MODEL)
    assert found.source == "learned", "a bad one is as none"
    assert "org--model.json" in str(found.reason)


FORKED = """
import os, sys
from opentelemetry_instrumentation_corevital.baselines.learner import LEARNER
from opentelemetry_instrumentation_corevital.baselines.learned_files import files, read_baseline
from tests.support.healthy_runs import healthy
def learn(first, count):
    for seed in range(first, first + count):
        LEARNER.hand_over(LEARNER.pupil(healthy(0).model), healthy(seed), teaches=True)
learn(0, 7)
children = []
for number in range(4):
    child = os.fork()
    if not child:
        learn(100 * (number + 1), 5)
        LEARNER.force_flush()
        os._exit(0)
    children.append(child)
learn(7, 3)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
LEARNER.force_flush()
print(read_baseline(files()[0]).runs)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_counts_nothing_twice() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == [str(10 + 4 * 5)], done.stderr


EXITS = """
import sys, time
from opentelemetry_instrumentation_corevital.baselines.learner import LEARNER
from tests.support.healthy_runs import healthy
for seed in range(2):  # too few to be written at once
    LEARNER.hand_over(LEARNER.pupil(healthy(0).model), healthy(seed), teaches=True)
"""


def test_what_is_left_is_written_when_the_process_ends() -> None:
    subprocess.run([sys.executable, "-c", EXITS], check=True, timeout=60)
    assert [read_baseline(file).runs for file in files()] == [2]


def test_a_waiting_run_more_than_fits_teaches_nothing(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 0)
    learner.hand_over(learner.pupil(MODEL), healthy(1), teaches=True)
    learner.force_flush()
    assert learner.pupil(MODEL).usual.runs == 0


def test_an_error_of_ours_ends_the_learning_and_nothing_else(
    learner: Learner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "parts", lambda *_: 1 / 0)
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            learner.hand_over(learner.pupil(MODEL), healthy(seed), teaches=True)
            learner.force_flush()
    assert [record.getMessage() for record in caplog.records if "ZeroDivisionError" in record.getMessage()] != []
    assert len(caplog.records) == 1
