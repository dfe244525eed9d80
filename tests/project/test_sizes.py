"""What one function and one file may be: small enough to be read at once."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.cli.app import app

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "opentelemetry_instrumentation_corevital"
KERNELS = tuple(PACKAGE / "capture" / "backends" / name for name in ("kernels.py", "prompt_kernels.py"))
"""A Triton kernel is one function, and takes what it works on as parameters. Those of a step share one file."""

MOST_LINES = 60
"""Of a function, from `def` to its last line."""
MOST_LINES_OF_A_FILE = 400
MOST_PARAMETERS = 8
"""Of a function that is no command: typer reads a command's options from its signature."""

PROMISED = {(str(PACKAGE / "monitor" / "monitor.py"), "__init__")}
"""Functions whose users were promised more parameters."""

FOLDERS = ("src", "docs", "benchmarks", "scripts", "examples", "tests")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(text: str) -> Iterator[Function]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            yield node


def long_functions(text: str) -> list[tuple[str, int]]:
    """Return name and lines of each function that is too long."""
    lines = [(each.name, (each.end_lineno or 0) - each.lineno + 1) for each in functions_of(text)]
    return [(name, count) for name, count in lines if count > MOST_LINES]


def wide_functions(text: str) -> list[tuple[str, int]]:
    """Return name and parameters of each function that has too many, `self` and `cls` aside."""
    found = []
    for each in functions_of(text):
        every = [argument.arg for argument in (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs)]
        found.append((each.name, len([name for name in every if name not in ("self", "cls")])))
    return [(name, count) for name, count in found if count > MOST_PARAMETERS]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if path not in KERNELS)


def commands() -> set[tuple[str, str]]:
    """Return file and name of the functions that are commands of `corevital`."""
    called = [inspect.unwrap(each.callback) for each in app.registered_commands if each.callback is not None]
    return {(inspect.getsourcefile(each) or "", each.__name__) for each in called}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_too_long_to_be_read_at_once(folder: str) -> None:
    found = {str(path.relative_to(ROOT)): long_functions(path.read_text("utf-8")) for path in files(ROOT / folder)}
    assert found, "no file was read"
    assert {path: functions for path, functions in found.items() if functions} == {}


def test_no_function_but_a_command_has_many_parameters() -> None:
    wide = {(str(path), name) for path in files(PACKAGE) for name, _ in wide_functions(path.read_text("utf-8"))}
    assert wide, "the commands, at least, are found"
    assert wide - commands() == PROMISED


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in files(PACKAGE)}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES_OF_A_FILE} == {}


def test_kernels_still_need_their_exception() -> None:
    for path in KERNELS:
        assert long_functions(path.read_text("utf-8"))
        assert wide_functions(path.read_text("utf-8"))
    of_steps, of_prompt = (len(path.read_text("utf-8").splitlines()) for path in KERNELS)
    assert of_prompt <= MOST_LINES_OF_A_FILE < of_steps


def test_one_line_too_many_is_found() -> None:
    def function(lines: int) -> str:
        return "\n".join(["async def walk(self, a):", *["    pass"] * (lines - 1)])

    assert long_functions(function(MOST_LINES)) == []
    assert long_functions("\n\n" + function(MOST_LINES + 1)) == [("walk", MOST_LINES + 1)]
    parameters = ", ".join(f"p{number}" for number in range(MOST_PARAMETERS))
    assert wide_functions(f"def call(self, {parameters}): ...") == []
    assert wide_functions(f"def call(self, {parameters}, *, more): ...") == [("call", MOST_PARAMETERS + 1)]
