"""The load of `benchmarks/receiver.py`, for a shorter time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "benchmarks" / "receiver.py"


@pytest.mark.acceptance
@pytest.mark.skipif(not BENCHMARK.is_file(), reason="only a checkout has the benchmarks")
def test_two_thousand_spans_and_fifty_runs_a_second_lose_nothing(tmp_path: Path) -> None:
    result = tmp_path / "receiver.json"
    command = [sys.executable, str(BENCHMARK), str(result), "--seconds", "10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(result.read_text())
    for load, count, size in (("spans", 20_000, 2_000), ("runs", 500, 40_000)):
        found = figures[load]
        assert found["stored"] == found["acknowledged"] == count
        assert found["bytes_each"] > size
        assert found["acknowledged_per_second"] > found["asked_per_second"] / 4  # other tests run beside it
    assert figures["events_stored"] == 128 * 500
    assert figures["integrity_check"] == "ok"
    assert figures["receiver"]["peak_mib"] < 400
