"""The rooms that need no torch, on every Python of the supported ones that this machine has; the others are skipped."""

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH_FREE = (
    "tests/assessment/test_fingerprint.py",
    "tests/assessment/test_judgements.py",
    "tests/assessment/test_layer_findings.py",
    "tests/assessment/test_repetition.py",
    "tests/baselines/test_profile.py",
    "tests/legacy/test_report_migration.py",
    "tests/store/test_comparison.py",
    "tests/store/test_crash.py",
    "tests/store/test_damaged_places.py",
    "tests/store/test_faults.py",
    "tests/store/test_intervals.py",
    "tests/store/test_labels.py",
    "tests/store/test_links.py",
    "tests/store/test_logs.py",
    "tests/store/test_metrics.py",
    "tests/store/test_migrations.py",
    "tests/store/test_otlp.py",
    "tests/store/test_paths.py",
    "tests/store/test_queries.py",
    "tests/store/test_reading.py",
    "tests/store/test_receipts.py",
    "tests/store/test_retention.py",
    "tests/store/test_run_columns.py",
    "tests/store/test_run_data.py",
    "tests/store/test_sharing.py",
    "tests/store/test_sources.py",
    "tests/store/test_store.py",
    "tests/store/test_waiting.py",
    "tests/store/test_writer.py",
    "tests/test_config.py",
)
"""Every test of these files runs without torch; the other tests need it."""
NEEDS = ("pytest", "pytest-xdist", "hypothesis", "pyyaml")


def interpreter(version: str) -> str | None:
    """Return a Python of a version: this one, one on the PATH, or one of pyenv's."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    pyenv = os.environ["PYENV_ROOT"]
    candidates = [shutil.which(f"python{version}"), *sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python"))]
    for found in filter(None, candidates):  # a shim of pyenv is there for versions that are not chosen, and fails
        said = subprocess.run(
            [found, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, check=False
        )
        if said.stdout.decode().strip() == str(tuple(map(int, version.split(".")))):
            return found
    return None


def test_the_files_that_need_no_torch_are_there() -> None:
    missing = [name for name in TORCH_FREE if not (ROOT / name).is_file()]
    assert not missing, "moved or gone: name it as it is called now"


@pytest.mark.acceptance
@pytest.mark.xdist_group("pythons")
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_rooms_that_need_no_torch(version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on the PATH or in pyenv")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}

    def run(*arguments: str) -> str:
        found = subprocess.run(arguments, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=900, check=False)
        assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-4000:]
        return found.stdout

    run(python, "-m", "venv", str(tmp_path / "venv"))
    inside = str(tmp_path / "venv" / "bin" / "python")
    # Constraints that are pinned for the oldest Python may have no wheel for a newer one, so there are none here.
    run(inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", str(ROOT), *NEEDS)
    run(inside, "-c", "import importlib.util as u; assert not u.find_spec('torch') and not u.find_spec('transformers')")
    said = run(inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not acceptance", *TORCH_FREE)
    with capsys.disabled():
        print(f"\nPython {version} without torch: {said.strip().splitlines()[-1]}")
