"""A copy of this checkout with the signals and verdicts of `catalogue_additions.py`, and with the pages made anew."""

import sys
from pathlib import Path

import pytest

from tests.support import catalogue_additions
from tests.support.subprocesses import run

ADDED = (
    *(*catalogue_additions.SIGNAL, *catalogue_additions.STEP_SIGNAL, *catalogue_additions.FAMILY),
    *(
        *catalogue_additions.FLAG,
        *catalogue_additions.COMPOUND,
        *catalogue_additions.WARNING,
        *catalogue_additions.CARRIED,
    ),
)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = catalogue_additions.copy(tmp_path_factory.mktemp("copy"))
    catalogue_additions.add(ADDED, copied)
    program(copied, "docs/generate.py")
    return copied


def program(tree: Path, name: str, *arguments: str) -> str:
    """Return what a program of a copy prints: one of docs/, or of programs/."""
    path = tree / name if "/" in name else tree / "tests" / "catalogue" / "programs" / name
    found = [str(part) for part in (tree / "src", tree, tree / "docs")]
    return run([sys.executable, "-W", "ignore", str(path), *arguments], PYTHONPATH=":".join(found)).stdout
