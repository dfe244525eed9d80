"""A copy of this checkout with the signals and verdicts of `additions.py`, and with the pages made anew."""

import sys
from pathlib import Path

import pytest

from tests.catalogue import additions
from tests.subprocesses import run

ADDED = (
    *(*additions.SIGNAL, *additions.STEP_SIGNAL, *additions.FAMILY),
    *(*additions.FLAG, *additions.COMPOUND, *additions.WARNING, *additions.CARRIED),
)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = additions.copy(tmp_path_factory.mktemp("copy"))
    additions.add(ADDED, copied)
    program(copied, "docs/generate.py")
    return copied


def program(tree: Path, name: str, *arguments: str) -> str:
    """Return what a program of a copy prints: one of docs/, or of this folder."""
    path = tree / name if "/" in name else tree / "tests" / "catalogue" / name
    found = [str(part) for part in (tree / "src", tree, tree / "docs")]
    return run([sys.executable, "-W", "ignore", str(path), *arguments], PYTHONPATH=":".join(found)).stdout
