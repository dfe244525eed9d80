"""Learned baselines as files: whole at any moment, added to by many processes, and checked where they are read."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital._internal.npz import from_npz, to_npz
from opentelemetry_instrumentation_corevital.baselines import learned_files
from opentelemetry_instrumentation_corevital.baselines.learned import LearnedBaseline, identity_of, key_of
from opentelemetry_instrumentation_corevital.baselines.learned_files import (
    file_of,
    files,
    read_baseline,
    to_bytes,
    update,
)
from opentelemetry_instrumentation_corevital.baselines.profile import ProfileError
from tests.support.healthy_runs import LAYERS
from tests.support.taught_baselines import MODEL, added, taught


def test_a_baseline_is_written_and_read_back() -> None:
    made = taught(*range(60))
    made.flagged, made.frozen = 3, True
    added(made)
    (file,) = files()
    assert file == file_of(made.identity)
    back = read_baseline(file)
    assert to_bytes(back) == to_bytes(made)
    assert (back.runs, back.tokens, back.flagged, back.frozen) == (60, 3600, 3, True)
    assert back.identity.name == "org/model"
    before, after = made.limit(), back.limit()
    assert before is not None
    assert after is not None
    assert before.value == after.value
    assert file.stat().st_size < 8192 * (LAYERS + 1)


def test_numbers_by_another_rule_are_forgotten_and_what_is_usual_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    made = taught(*range(60))
    assert made.limit() is not None
    with monkeypatch.context() as later:
        later.setattr(learned_files, "RULE_VERSION", learned_files.RULE_VERSION + 1)
        added(made)
        assert read_baseline(files()[0]).limit() is not None
    back = read_baseline(files()[0])
    assert back.limit() is None
    assert back.runs == 60
    assert back.profile() is not None


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "b" * 40},
        {"dtype": "int8"},
        {"quantization": "bitsandbytes"},
        {"adapters": ("poems",)},
        {"layer_count": 12},
        {"architecture": "OtherForCausalLM"},
        {"name": "org/other"},
    ],
)
def test_another_model_has_another_file(change: dict[str, object]) -> None:
    model = dataclasses.replace(MODEL, revision=None, dtype="float32")
    other = dataclasses.replace(model, **change)  # type: ignore[arg-type]
    assert key_of(identity_of(model)) != key_of(identity_of(other))
    with pytest.raises(ValueError, match="one is of"):
        LearnedBaseline.empty(identity_of(model)).merged(LearnedBaseline.empty(identity_of(other)))


def test_rounding_and_the_place_of_a_known_revision_make_no_other_model() -> None:
    model = dataclasses.replace(MODEL, revision="a" * 40, dtype="float32")
    same = dataclasses.replace(model, name="a-copy", dtype="bfloat16", device="cuda:1", attention_implementation="sdpa")
    assert key_of(identity_of(model)) == key_of(identity_of(same))


def damaged(kind: str) -> bytes:
    arrays = from_npz(to_bytes(taught(1, 2)))
    about = json.loads(arrays["about"].tobytes())
    if kind == "newer":
        about["version"] = 2
    elif kind == "negative":
        about["runs"] = -1
    elif kind == "whose":
        about["model"] = {"name": 3}
    elif kind == "huge":
        about["model"]["layer_count"] = 10**6
    elif kind == "shape":
        arrays["counts"] = arrays["counts"][:-1]
    elif kind == "nowhere":
        arrays["unit"] = np.full_like(arrays["unit"], np.nan)
    elif kind == "infinite":
        arrays["number_value"] = np.full_like(arrays["number_value"], np.inf)
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    return to_npz(arrays)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not an .npz archive"),
        (b"{}", "not an .npz archive"),
        (to_npz({"counts": np.zeros(3)}), "is no learned baseline"),
        (to_npz({"about": np.frombuffer(b"{", np.uint8)}), "line 1"),
        (damaged("newer"), "another version"),
        (damaged("negative"), "runs is no count"),
        (damaged("whose"), "its model is not told"),
        (damaged("huge"), "1024 are the most"),
        (damaged("shape"), "counts"),
        (damaged("nowhere"), "no place"),
        (damaged("infinite"), "not finite"),
        (to_bytes(taught(1))[:-30], "not an .npz archive"),
    ],
)
def test_a_bad_file_is_told_by_its_name_and_left_alone(data: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "x.baseline"
    file.write_bytes(data)
    with pytest.raises(ProfileError, match=says) as error:
        read_baseline(file)
    assert str(file) in str(error.value)
    with pytest.raises(ProfileError):
        update(file, lambda _: taught(1))
    assert file.read_bytes() == data


ADDS = """
import sys
from tests.support.taught_baselines import added, taught
from opentelemetry_instrumentation_corevital.baselines.learned_files import read_baseline, file_of
anchors = read_baseline(file_of(taught().identity))
first, count = int(sys.argv[1]), int(sys.argv[2])
for seed in range(first, first + count):
    added(taught(seed, like=anchors))
    print(seed, flush=True)
"""


def adding(first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", ADDS, str(first), str(count)], stdout=subprocess.PIPE, text=True)


def test_processes_that_add_at_once_lose_and_double_nothing_and_may_be_killed() -> None:
    """Three add 12 runs each, a fourth is killed with kill -9 while it does."""
    anchors = added(taught(1))
    file = file_of(anchors.identity)
    writers = [adding(1000 * number, 12) for number in range(1, 4)]
    killed = adding(9000, 10_000)
    assert killed.stdout is not None
    for _ in range(3):
        killed.stdout.readline()
    deadline, seen = time.monotonic() + 60, 0
    while any(writer.poll() is None for writer in writers) and time.monotonic() < deadline:
        runs = read_baseline(file).runs
        assert runs >= seen, "whole at any moment, and never less"
        seen = runs
        if seen > 12 and killed.poll() is None:
            os.kill(killed.pid, signal.SIGKILL)
    killed.kill()
    said = 3 + len(killed.stdout.read().split())
    assert killed.wait() == -signal.SIGKILL
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    killed.stdout.close()
    whole = read_baseline(file)
    by_killed = whole.runs - 1 - 3 * 12
    assert by_killed in (said, said + 1), "the last may be written and not said"
    seeds = [1, *(1000 * number + k for number in range(1, 4) for k in range(12)), *range(9000, 9000 + by_killed)]
    alone = taught(1).merged(taught(*seeds[1:], like=anchors))
    assert (whole.sketches.counts == alone.sketches.counts).all(), "each run once"
    assert whole.tokens == 60 * whole.runs
