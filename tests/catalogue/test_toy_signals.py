"""A signal that is added to the catalogue is in the row, the run data, the span, the metrics, pages and docs."""

import os
import sys

from tests.subprocesses import ROOT, run


def test_a_new_signal_and_a_new_family_are_everywhere() -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "docs"), *filter(None, [os.environ.get("PYTHONPATH")])])
    found = run([sys.executable, "-W", "ignore", "-m", "tests.catalogue.toy"], PYTHONPATH=path)
    assert found.stdout.endswith("found everywhere\n")
