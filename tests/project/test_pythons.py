"""The rooms that need no torch, on every Python of the supported ones that this machine has; the others are skipped."""

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH_FREE = ("tests/assessment", "tests/store", "tests/legacy", "tests/test_config.py")
NEEDS = ("pytest", "pytest-xdist", "hypothesis", "pyyaml")

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("pythons")]


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
    files = [
        str(file.relative_to(ROOT))
        for name in TORCH_FREE
        for file in (sorted((ROOT / name).glob("test_*.py")) if (ROOT / name).is_dir() else [ROOT / name])
        if subprocess.run(
            [inside, "-c", f"import sys; sys.path.insert(0, '.'); import {_module(file)}"],
            cwd=ROOT,
            env=clean,
            capture_output=True,
            check=False,
        ).returncode
        == 0
    ]
    assert len(files) >= 20, files
    said = run(inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not acceptance", *files)
    with capsys.disabled():
        print(f"\nPython {version} without torch: {said.strip().splitlines()[-1]}")


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)
