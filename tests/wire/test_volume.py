"""Many long runs, reported in full, through the SDK's batch processors and a real Collector."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "benchmarks" / "wire.py"


@pytest.mark.acceptance
@pytest.mark.wire
@pytest.mark.skipif(not BENCHMARK.is_file(), reason="only a checkout has the benchmarks")
def test_a_hundred_long_runs_arrive_whole_over_grpc(otelcol: str, tmp_path: Path) -> None:
    result = tmp_path / "wire.json"
    command = [sys.executable, str(BENCHMARK), "--collector", otelcol, str(result)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "ueue full" not in done.stderr
    figures = json.loads(result.read_text())
    assert figures["steps"] == 2000
    assert figures["layers"] == 32
    assert figures["spans_received"] == figures["run_data_received_whole"] == figures["runs"] == 100
    assert figures["span_bytes"]["largest"] <= 64 * 1024
    assert figures["exporter_threads"] == ["OtelBatchLogRecordProcessor", "OtelBatchSpanRecordProcessor"]
