"""Environments of their own, for servers that bring much that nothing else here needs."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest


def python_with(folder: Path, *packages: str) -> Path:
    """Install packages into a new environment and return its interpreter; skip the test where that cannot be done."""
    venv.create(folder, with_pip=False)
    interpreter = folder / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "-q",
        "--python",
        str(interpreter),
        "install",
    ]
    installed = subprocess.run([*install, *packages], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"cannot be installed here: {installed.stderr.strip().splitlines()[-1]}")
    return interpreter
