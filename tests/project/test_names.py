"""By which names a thing is found: one module and one class of each, and one sentence that says what a room is for."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.import_graph import SOURCE

MODULES = sorted(SOURCE.rglob("*.py"))
PACKAGES = [path for path in MODULES if path.name == "__init__.py"]


def place(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def test_no_two_modules_have_one_name() -> None:
    """A room's main module may have the name of its room."""
    found = defaultdict(set)
    for path in MODULES:
        if path.name != "__init__.py":
            found[path.stem].add(place(path))
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_no_two_rooms_have_one_name() -> None:
    names = [path.parent.name for path in PACKAGES]
    assert len(names) == len(set(names))


def test_no_two_classes_have_one_name() -> None:
    found = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(f"{place(path)}:{node.lineno}")
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_the_first_line_of_a_module_says_what_it_is_for(path: Path) -> None:
    first, _, rest = docstring(path).partition("\n")
    assert re.fullmatch(r"\S.{10,}[.:]", first), "one line, complete"
    assert not rest.strip() or rest.startswith("\n"), "what follows is a paragraph of its own"


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: place(path.parent))
def test_a_room_says_its_job_in_one_sentence(path: Path) -> None:
    first = re.sub(r"`[^`]*`|\d+(\.\d+)+", "x", docstring(path).partition("\n")[0])
    assert re.fullmatch(r"[^.!?]+\.", first), "one sentence"
    assert len(first.split()) >= 6, "a sentence, not a title"
