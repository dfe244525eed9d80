"""A copy of this checkout with the signals and verdicts of `catalogue_additions.py`, and with the pages made anew."""

from pathlib import Path

import pytest

from tests.support.catalogue_additions import ADDED, add, copy, program


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = copy(tmp_path_factory.mktemp("copy"))
    add(ADDED, copied)
    program(copied, "docs/generate.py")
    return copied
