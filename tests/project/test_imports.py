"""Every module is in the contracts of import-linter, and what the contracts cannot see is kept as well."""

import ast
import re
import subprocess
import sys

import pytest

from tests.support.import_graph import (
    PACKAGE,
    SOURCE,
    UPWARD,
    contract,
    downward,
    graph,
    layers,
    ours,
    room_of,
    rooms,
    sources,
)

ROOMS, CAPTURE = "every module is in a room", "rooms of capture"
NO_TORCH, LAZY_TORCH, NO_OPENTELEMETRY = "never need torch", "through capture and loading", "nothing of OpenTelemetry"
KNOW_TORCH = {"capture", "loading", "overhead"}


def test_every_module_is_in_one_layer() -> None:
    named = [room for layer in layers(ROOMS) for room in layer]
    assert len(named) == len(set(named))
    assert [name for name in ours() if room_of(name) not in named] == []
    assert contract(ROOMS)["exhaustive"]
    assert contract(ROOMS)["containers"] == [PACKAGE]


def test_only_a_run_that_shows_itself_imports_upwards() -> None:
    """Its methods import what shows it when they are called, so that nothing else pays for it."""
    named = [f"{importer} -> {imported}" for importer, imported in UPWARD]
    assert contract(ROOMS)["ignore_imports"] == contract("no circle")["ignore_imports"] == named
    functions = [
        each
        for each in ast.walk(ast.parse((SOURCE / "run.py").read_text("utf-8")))
        if isinstance(each, ast.FunctionDef)
    ]
    importing = {
        each.name
        for each in functions
        if any(isinstance(node, ast.ImportFrom) and node.module == "presentation" for node in ast.walk(each))
    }
    assert importing == {"plot", "to_html", "_repr_html_"}
    program = f"import sys, {PACKAGE}.run; print([name for name in sys.modules if '.presentation' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_module_of_capture_is_in_one_of_its_rooms() -> None:
    named = {room for layer in layers(CAPTURE) for room in layer}
    assert named == {name.split(".")[2] for name in ours() if name.startswith(f"{PACKAGE}.capture.")}
    assert contract(CAPTURE)["exhaustive"]
    assert "ignore_imports" not in contract(CAPTURE)


def test_a_place_without_code_is_one_that_is_still_to_come() -> None:
    assert {room for layer in layers(ROOMS) for room in layer} - rooms() <= {"dashboard", "monitor"}


def test_every_room_says_whether_it_needs_torch() -> None:
    assert sources(NO_TORCH) & sources(LAZY_TORCH) == set()
    assert sources(NO_TORCH) | sources(LAZY_TORCH) == rooms() - KNOW_TORCH


def test_the_package_itself_is_in_a_contract() -> None:
    """Whatever it imports, every user of any room pays for."""
    itself = contract("the package itself")
    assert itself["source_modules"] == [PACKAGE]
    assert not itself["as_packages"], "else it would be about every room"
    assert {*contract(NO_TORCH)["forbidden_modules"], *contract(NO_OPENTELEMETRY)["forbidden_modules"]} <= {
        *itself["forbidden_modules"]
    }


def test_every_room_that_can_do_without_opentelemetry_is_kept_free_of_it() -> None:
    free = {
        room for room in rooms() if not graph().chain_exists(f"{PACKAGE}.{room}", "opentelemetry", as_packages=True)
    }
    assert sources(NO_OPENTELEMETRY) == free


def test_only_capture_cannot_be_imported_without_torch() -> None:
    program = """
        import importlib, sys
        for name in ("torch", "transformers", "triton", "huggingface_hub"):
            sys.modules[name] = None
        for name in sys.argv[1:]:
            try:
                importlib.import_module(name)
            except ImportError as error:
                print(name, error)
        """
    modules = [name for name in ours() if room_of(name) != "capture"]
    done = subprocess.run(
        [sys.executable, "-c", re.sub(r"^ {8}", "", program, flags=re.M), *modules],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == ""


def test_no_module_is_in_a_circle() -> None:
    """import-linter compares siblings only: a module and its own package could still import each other."""
    assert [name for name in (PACKAGE, *ours()) if name in downward().find_upstream_modules(name)] == []
    above = {name: downward().find_upstream_modules(name) for name in (PACKAGE, *ours())}
    assert [(one, other) for one, found in above.items() for other in found if one in above.get(other, ())] == []


def test_no_module_imports_the_package_itself() -> None:
    """Its public names are loaded by name, so that an import of it could reach any room unseen."""
    assert graph().find_modules_that_directly_import(PACKAGE) == set()


@pytest.mark.parametrize("package", ["", "store"])
def test_what_is_loaded_by_name_is_also_imported_for_types(package: str) -> None:
    """So it is in the import graph."""
    name = ".".join(filter(None, (PACKAGE, package)))
    tree = ast.parse((SOURCE / package / "__init__.py").read_text("utf-8"))
    (exports,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_EXPORTS"
    )
    imported = graph().find_modules_directly_imported_by(name) - {f"{PACKAGE}._internal.moved_names"}
    assert {f"{name}.{module}" for module in exports.values()} == {each for each in imported if PACKAGE in each}


def test_nothing_else_is_imported_by_name() -> None:
    """The command line loads one of OpenTelemetry's exporters so."""
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"import_module\(|__import__\(", path.read_text("utf-8"))
    }
    assert found == {"__init__.py", "store/__init__.py", "cli/own_telemetry.py", "_internal/moved_names.py"}


def test_only_what_attaches_and_records_imports_capture() -> None:
    """What reports a call has no need of it: it names an exception, which takes no tensor."""
    importing = {
        name
        for module in ours()
        if room_of(module) == "capture"
        for name in graph().find_modules_that_directly_import(module)
        if room_of(name) != "capture"
    }
    assert {room_of(name) for name in importing} == {"instrumentation"}
    assert f"{PACKAGE}.instrumentation.reporting" not in importing
