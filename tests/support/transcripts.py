"""Commands and what they print, as pages quote them: blocks of ```console whose lines after `$` are commands."""

import io
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from opentelemetry_instrumentation_corevital.cli.app import run_command

_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
_AGE = re.compile(r"(?<=  )\d+ (?:s|min|h|d)(?=  )")
_SPACES = re.compile(r"[ ]+|[─-]{4,}")


@dataclass(frozen=True, slots=True)
class Quoted:
    """A command, and what a page says that it prints."""

    command: str
    printed: str


def transcripts(page: str) -> list[Quoted]:
    """Return the commands of a page's blocks of ```console, with what is said that each prints."""
    return [Quoted(*each) for block in _BLOCK.findall(page) for each in _parts(block)]


def with_what_is_printed(page: str, printed: Callable[[str], str]) -> str:
    """Return a page with what its commands print now."""

    def block(found: re.Match[str]) -> str:
        return "".join(f"$ {command}\n{printed(command)}" for command, _ in _parts(found[0]))

    return _BLOCK.sub(block, page)


def _parts(block: str) -> list[tuple[str, str]]:
    parts = [part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, output) for command, _, output in parts]


def printed(command: str) -> str:
    """Run a `corevital` command in this process, in the folder where this one is; return its standard output."""
    name, *arguments = shlex.split(command)
    assert name == "corevital", command
    with _as_quoted(), redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = run_command(arguments)
    assert code == 0, f"{command}: {err.getvalue()}"
    return out.getvalue()


@contextmanager
def _as_quoted() -> Iterator[None]:
    """Let commands write lines of 100 columns, and times in UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        patch.setenv("TZ", "UTC")
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()


def without_ages(text: str) -> str:
    """Return what a command printed without what changes from day to day: ages, and the width of their column."""
    return _SPACES.sub(" ", _AGE.sub("AGE", text))
