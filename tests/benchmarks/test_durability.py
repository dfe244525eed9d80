"""A tenth of `make evidence`: what was flushed survives SIGKILL, what children recorded survives their end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "docs" / "results" / "durability.json"


@pytest.mark.acceptance
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_tenth_of_the_evidence(tmp_path: Path) -> None:
    path = tmp_path / "durability.json"
    found = subprocess.run(
        [sys.executable, "benchmarks/durability.py", str(path), "--kills=20", "--children=6"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert found.returncode == 0, found.stderr
    result = json.loads(path.read_text())
    assert result["integrity_check"] == "ok"
    assert result["kills"]["lost"] == 0
    assert result["kills"]["flushed_runs"] >= 20 * 3
    assert result["children"] == {method: {"ended": 3, "lost": 0} for method in ("fork", "forkserver")}


def test_the_evidence_is_whole() -> None:
    result = json.loads(RESULT.read_text())
    assert result["command"] == "python benchmarks/durability.py docs/results/durability.json"
    assert len(result["commit"]) == 40, "measured from a clean commit"
    assert (result["kills"]["processes"], result["kills"]["lost"]) == (200, 0)
    assert sum(method["ended"] for method in result["children"].values()) == 60
    assert sum(method["lost"] for method in result["children"].values()) == 0
