"""The paths and modules that pyproject.toml names are there: a rule for a file that has moved holds nothing."""

import tomllib

import pytest

from tests.support.import_graph import PACKAGE, ROOT, graph

TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]


@pytest.mark.parametrize("pattern", [name for name in TOOLS["ruff"]["lint"]["per-file-ignores"] if "{" not in name])
def test_a_rule_of_ruff_is_for_files_that_are_there(pattern: str) -> None:
    assert any(ROOT.glob(pattern))


def test_a_rule_of_mypy_is_for_modules_that_are_there() -> None:
    named = {name for rule in TOOLS["mypy"]["overrides"] for name in rule["module"] if name.startswith(PACKAGE)}
    assert named
    assert {name for name in named if name.removesuffix(".*") not in graph().modules} == set()


def test_an_entry_point_leads_to_a_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["scripts"], *project["entry-points"].values()]
    modules = {place.partition(":")[0] for group in groups for place in group.values()}
    assert modules <= set(graph().modules)
