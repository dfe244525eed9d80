"""Environments of their own, for servers that bring much that nothing else here needs; the checkout keeps them."""

import contextlib
import fcntl
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.homes import checkouts_cache


def python_with(package: str) -> Path:
    """Return an interpreter that has a package, such as `chdb==4.4.0`, and what that needs.

    The first call installs it. Where it cannot be had the test is skipped with pip's last word.
    """
    name = f"{package.replace('==', '-')}-python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = checkouts_cache() / "environments" / name
    complete, interpreter = folder / ".complete", folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists() or not _runs(interpreter):
            venv.create(folder, clear=True, with_pip=False)
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", str(interpreter)]
            done = subprocess.run([*pip, "install", package], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"{package} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
            complete.touch()
    return interpreter


def _runs(interpreter: Path) -> bool:
    """Whether an interpreter works: that of an environment is a link to one that may be gone."""
    with contextlib.suppress(OSError):
        return subprocess.run([interpreter, "-c", ""], check=False).returncode == 0
    return False
