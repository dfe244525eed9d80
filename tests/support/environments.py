"""Environments of their own, for what brings much that nothing else here needs; the checkout keeps them."""

import contextlib
import fcntl
import hashlib
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.homes import checkouts_cache


def python_with(package: str) -> Path:
    """Return an interpreter that has a package, such as `chdb==4.4.0`, and what that needs.

    The first call installs it. Where it cannot be had the test is skipped with pip's last word.
    """
    return _interpreter(package.replace("==", "-"), [package], beside=None)


def python_beside(name: str, packages: Sequence[str]) -> Path:
    """Return an interpreter that has packages on top of all that this environment has; where they differ, they win."""
    key = hashlib.sha256("\n".join((sys.prefix, *packages)).encode()).hexdigest()[:8]
    return _interpreter(f"{name}-{key}", packages, beside=sysconfig.get_path("purelib"))


def _interpreter(name: str, packages: Sequence[str], beside: str | None) -> Path:
    name = f"{name}-python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = checkouts_cache() / "environments" / name
    complete, interpreter = folder / ".complete", folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists() or not _runs(interpreter):
            venv.create(folder, clear=True, with_pip=False)
            if beside is not None:
                # A folder that a .pth file merely names has its own .pth files ignored, those of editable installs too.
                (site,) = (folder / "lib").glob("*/site-packages")
                (site / "outer.pth").write_text(f"import site; site.addsitedir({beside!r})\n")
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", str(interpreter)]
            done = subprocess.run([*pip, "install", *packages], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"{packages[0]} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
            complete.touch()
    return interpreter


def _runs(interpreter: Path) -> bool:
    """Whether an interpreter works: that of an environment is a link to one that may be gone."""
    with contextlib.suppress(OSError):
        return subprocess.run([interpreter, "-c", ""], check=False).returncode == 0
    return False
