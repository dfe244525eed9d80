"""What pyproject.toml asks for: an upper bound where names are used that a library does not promise."""

import importlib.metadata
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PRIVATE = {
    "uvicorn": "receiver/http_connections.py subclasses H11Protocol, receiver/server.py Server.capture_signals",
    "h11": "receiver/http_connections.py reads the state of uvicorn's connection",
    "starlette": "receiver/http_service.py switches the router's redirects off",
    "transformers": "capture/ wraps methods that begin with an underscore",
    "torch": "capture/attach/module_hooks.py reads the hooks of modules",
    "wrapt": "patches.py",
}
"""Library -> where it is used in a way that it does not promise."""


def requirements() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    for group in (*groups, *project["dependency-groups"].values()):
        yield from map(Requirement, group)


@pytest.mark.parametrize("name", PRIVATE)
def test_what_is_used_without_a_promise_has_an_upper_bound(name: str) -> None:
    asked = [each for each in requirements() if canonicalize_name(each.name) == name]
    assert asked
    for each in asked:
        assert any(bound.operator in ("<", "<=", "~=", "==") for bound in each.specifier), str(each)
    assert len({str(each.specifier) for each in asked}) == 1, "the same wherever it is asked for"


def test_what_is_installed_is_what_is_asked_for() -> None:
    for each in requirements():
        try:
            version = importlib.metadata.version(each.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        assert each.specifier.contains(version, prereleases=True), f"{each}: {version} is installed"


def test_the_oldest_libraries_that_are_tested_are_the_oldest_that_are_asked_for() -> None:
    """torch is that of this environment: it fills gigabytes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = {
        canonicalize_name(each.name): each for each in map(Requirement, [*project["dependencies"], *extras["demo"]])
    }
    lines = (ROOT / "tests" / "project" / "requirements.oldest.txt").read_text("utf-8").splitlines()
    tested = {
        canonicalize_name(name): Version(version)
        for name, _, version in (line.partition("==") for line in lines)
        if version
    }
    for name in asked.keys() - {"torch"}:
        (oldest,) = [Version(each.version) for each in asked[name].specifier if each.operator == ">="]
        assert tested[name].release[: len(oldest.release)] == oldest.release, (
            f"{asked[name]}, but {tested[name]} is tested"
        )
