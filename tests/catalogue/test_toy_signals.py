"""A signal that is added to the catalogue is in the row, the run data, the span, the metrics, pages, store and docs."""

from pathlib import Path

from tests.support.catalogue_additions import program


def test_a_new_signal_and_a_new_family_are_everywhere(tree: Path, tmp_path: Path) -> None:
    found = program(tree, "toy_signals.py", str(tree), str(tmp_path / "runs.db"))
    assert found.endswith("found everywhere\n")
