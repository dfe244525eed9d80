"""Where commands print. Whatever comes here from a store, a file or a request cannot steer the terminal.

Text that is laid out, in a table or a panel, goes through `printable` before its width is taken. What comes here all
the same is made printable here, so that no command has to think of it; a rule of the linter keeps others from printing.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Final, cast

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from .._internal.printable import one_line, still_printable
from ..store.stored_run import RunSummary

_PIPED_WIDTH: Final = 240  # wide enough that nothing that a script looks for is cut off
_MOST_TOLD: Final = 100
_MOST_NAMES: Final = 3
_MOST_ID: Final = 40
_ID_LENGTH: Final = 12


class _Trimmed:
    """Standard output without the blanks with which tables end their lines."""

    def write(self, text: str) -> int:
        return sys.stdout.write(re.sub(r" +$", "", text, flags=re.MULTILINE))

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


class _Printable:
    """Anything that rich prints, its text made printable; rich's own control codes are no text."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(still_printable(segment.text), segment.style)


class _Hook(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Printable(each) for each in renderables]


def console() -> Console:
    """Return where commands print: in colour and as wide as the terminal, plain and wide into a pipe."""
    if sys.stdout.isatty():
        return _guarded(Console(highlight=False, markup=False))
    return _guarded(Console(highlight=False, markup=False, width=_PIPED_WIDTH, file=cast("IO[str]", _Trimmed())))


def run_console() -> Console:
    """Return where `run` prints, as wide as the terminal is said to be into a pipe, too."""
    return _guarded(Console(highlight=False))


def error_console(*, quiet: bool = False, soft_wrap: bool = False) -> Console:
    """Return standard error, for what is beside the result."""
    return _guarded(Console(stderr=True, highlight=False, quiet=quiet, soft_wrap=soft_wrap))


def _guarded(made: Console) -> Console:
    made.push_render_hook(_Hook())
    return made


def echo(text: str = "", *, err: bool = False) -> None:
    """Print a line, or several."""
    print(still_printable(text), file=sys.stderr if err else sys.stdout, flush=err)


def tell_damage(damage: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """Print on standard error which runs have values that are left out, and what is wrong with which.

    Args:
        damage: id of each run, and what is wrong with it: a name -> why; empty: nothing.
    """
    told = [(run, found) for run, found in damage if found]
    for line in _lines(told[:_MOST_TOLD]):
        echo(line, err=True)
    if len(told) > _MOST_TOLD:
        echo(f"... and {len(told) - _MOST_TOLD} more runs with damaged values", err=True)


def named_damage(runs: Iterable[RunSummary]) -> list[tuple[str, Mapping[str, str]]]:
    """Return what is wrong with the rows of runs, for `tell_damage`."""
    return [(f"{run.trace_id[:_ID_LENGTH]}:{run.sequence_index}", run.damage) for run in runs if run.damage]


def _lines(told: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[str]:
    for run, found in told:
        named = [f"{one_line(name)} {one_line(why)}" for name, why in list(found.items())[:_MOST_NAMES]]
        more = f"; and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
        yield f"run {one_line(run, _MOST_ID)} is damaged, and what is damaged left out: {'; '.join(named)}{more}"
