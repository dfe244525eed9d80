"""The package's modules and imports, and the contracts of pyproject.toml about them."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import grimp

PACKAGE = "opentelemetry_instrumentation_corevital"
ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / PACKAGE
UPWARD = ((f"{PACKAGE}.run", f"{PACKAGE}.presentation.showing"),)
"""Importer and imported of every import upwards: the showing methods of a Run."""


@cache
def graph() -> grimp.ImportGraph:
    """Return the import graph; imports for types and inside of functions are among them."""
    # Without grimp's cache on the disk: graphs with and without externals share one list of times there, so that the
    # one which is built second can miss a change.
    return grimp.build_graph(PACKAGE, include_external_packages=True, cache_dir=None)


@cache
def downward() -> grimp.ImportGraph:
    """Return the import graph without the one import upwards, by which a run shows itself."""
    made = grimp.build_graph(PACKAGE, include_external_packages=True, cache_dir=None)
    for importer, imported in UPWARD:
        made.remove_import(importer=importer, imported=imported)
    return made


def ours() -> list[str]:
    """Return the package's modules, without the package itself."""
    return sorted(name for name in graph().modules if name.startswith(f"{PACKAGE}."))


def room_of(module: str) -> str:
    """Return the room of a module: the first name below the package."""
    return module.split(".")[1]


def rooms() -> set[str]:
    return {room_of(name) for name in ours()}


def contract(words: str) -> dict[str, Any]:
    """Return the one contract of import-linter whose name has these words."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (found,) = (each for each in contracts if words in each["name"])
    return dict(found)


def layers(words: str) -> list[list[str]]:
    """Return the layers of a contract, the top one first; a name in brackets has a place, but no code yet."""
    return [[name.strip(" ()") for name in layer.split("|")] for layer in contract(words)["layers"]]


def sources(words: str) -> set[str]:
    """Return the rooms that a contract forbids something."""
    return {name.removeprefix(f"{PACKAGE}.") for name in contract(words)["source_modules"]}
