"""gevent: where it has patched the process every greenlet is measured, else one at a time, and nothing is mixed."""

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.support.subprocesses import run
from tests.support.tiers import heavy

PROGRAM = str(Path(__file__).parent / "programs" / "greenlets.py")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gevent") is None, reason="gevent, of the dev dependencies, is not installed"
)


@pytest.mark.parametrize("arguments", [heavy([], id="not patched"), pytest.param(["patched"], id="patched")])
def test_greenlets_of_a_thread(arguments: list[str]) -> None:
    run([sys.executable, PROGRAM, *arguments])
