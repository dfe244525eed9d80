"""Tests lie where one looks for them: in the folder of the room that they test, and what they share in support/."""

import ast
from collections import Counter
from pathlib import Path

import opentelemetry_instrumentation_corevital as package
from tests.support.subprocesses import ROOT

TESTS = ROOT / "tests"
SOURCE = Path(package.__file__).parent
ACROSS_ROOMS = {
    "benchmarks": "what benchmarks/ computes",
    "collector": "a real Collector with the files of collector/",
    "examples": "the programs of examples/",
    "gpu": "a CUDA device",
    "hub": "models of the hub",
    "kernels": "a process of its own, since Triton decides when it is imported",
    "laws": "what is true of every run, whatever the room",
    "phoenix": "a real Phoenix",
    "project": "the repository: pages, dependencies, versions, this layout",
    "support": "what several tests share",
    "wire": "a real Collector and Jaeger",
    "zero_code": "programs under opentelemetry-instrument",
}
MODULES = [path for path in TESTS.rglob("*.py") if "programs" not in path.parts]


def is_room(folder: Path) -> bool:
    return (SOURCE / folder / "__init__.py").exists()


def test_every_folder_is_a_room_or_is_named_here() -> None:
    folders = {path.parent.relative_to(TESTS) for path in MODULES} - {Path()}
    strange = {str(folder) for folder in folders if not is_room(folder) and folder.parts[0] not in ACROSS_ROOMS}
    assert not strange
    assert {name for name in ACROSS_ROOMS if Path(name) not in folders or is_room(Path(name))} == set()


def test_what_lies_at_the_top_tests_a_module_at_the_top() -> None:
    named = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")}
    assert named <= {path.stem for path in SOURCE.glob("*.py")}


def imported(path: Path) -> set[str]:
    """Return the modules of tests/ that a file imports."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {node.module or "", *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.ImportFrom):
            found.add("tests.relative")
    return {name for name in found if name.startswith("tests.")}


def test_what_is_imported_from_tests_is_in_support() -> None:
    elsewhere = {
        (str(path.relative_to(TESTS)), name)
        for path in MODULES
        for name in imported(path)
        if not f"{name}.".startswith("tests.support.")
    }
    assert not elsewhere


def test_no_two_modules_of_support_have_one_name() -> None:
    names = Counter(path.stem for path in (TESTS / "support").rglob("*.py") if path.stem != "__init__")
    assert [name for name, count in names.items() if count > 1] == []
