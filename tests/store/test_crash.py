"""A writer killed at any moment, beside one that writes and one that reads: what was acknowledged is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.crash import RUNS_AT_ONCE
from tests.support.spans import rows
from tests.support.tiers import heavy


@pytest.mark.parametrize("moments", [15, heavy(200)])
def test_a_writer_killed_at_random_moments_loses_nothing_that_it_acknowledged(tmp_path: Path, moments: int) -> None:
    path = tmp_path / "runs.db"
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.support.crash", str(path), str(moments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert found.returncode == 0, found.stderr
    outcome = json.loads(found.stdout)
    assert outcome["acknowledged"] >= RUNS_AT_ONCE * (moments // 2), outcome
    assert (outcome["lost"], outcome["partial"]) == (0, 0), outcome
    assert outcome["beside"] == 2 * (moments + 1), "the other writer was locked out"
    assert outcome["reads"] > 0
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
