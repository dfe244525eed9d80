"""Where a live view is drawn: redrawn in place in a terminal, as plain lines everywhere else."""

import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ..presentation.live_text import Shown
from ..presentation.text_lines import Lines, without_beginning
from .printing import run_console
from .standard_streams import Guarded

Status = Callable[[int], Text]
"""Makes the line below the text, of at most so many columns."""

_QUIET_SECONDS: Final = 5.0
"""How often plain lines say how a run stands that shows no text."""


class Screen(Protocol):
    """Shows what comes of a run. Use it in a `with` block."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave standard output as the next command expects it."""

    def show(self, shown: Iterable[Shown], status: Status | None = None, /) -> None:
        """Show pieces of text and lines, and how the run stands."""

    def end(self, status: Status | None = None, /) -> None:
        """End the text that was shown; what comes next begins a line of its own."""


def screen() -> Screen:
    """Return what standard output is good for.

    Plain lines where it is no terminal, or one that cannot draw (`TERM=dumb`) or should not (`NO_COLOR`).
    """
    console = run_console()
    drawn = sys.stdout.isatty() and not console.is_dumb_terminal and not console.no_color
    return TerminalScreen(console) if drawn else PlainScreen(console)


def reader_is_gone() -> bool:
    """Return whether nothing that is shown arrives any more: the pipe was closed, or the disk is full."""
    return isinstance(sys.stdout, Guarded) and sys.stdout.failed is not None


class TerminalScreen:
    """Text that scrolls, and below it a line that is drawn again with each step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines = Lines()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._live.stop()

    def show(self, shown: Iterable[Shown], status: Status | None = None, /) -> None:
        """Print what is finished, and draw the rest and the line below it again."""
        width = self._console.width
        for each in shown:
            if each.alone:
                self._print(self._lines.end(width))
                self._print([each.text])
            else:
                self._print(self._lines.add(each.text, width))
        rest = self._lines.rest(width)
        below = [] if status is None else [status(width)]
        self._live.update(Group(*([rest] if rest.plain else []), *below), refresh=True)

    def end(self, _status: Status | None = None, /) -> None:
        """Take the line below the text away."""
        self._live.update(Group(), refresh=True)
        self._print(self._lines.end(self._console.width))

    def _print(self, lines: Iterable[Text]) -> None:
        for line in lines:
            self._console.print(line)


class PlainScreen:
    """Text as it comes, without colours; lines of their own stand between its lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._within_line = False
        self._broken = False
        """Whether the last line of text was ended before its text was."""
        self._text_shown = False
        self._said_at = time.monotonic()
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._new_line()

    def show(self, shown: Iterable[Shown], status: Status | None = None, /) -> None:
        """Print what is new; how the run stands from time to time, where there is no text to be seen."""
        for each in shown:
            if each.alone:
                self._new_line()
                self._print(each.text.plain, "\n")
            else:
                self._text(each.text)
                self._text_shown = True
        if status is not None and not self._text_shown and time.monotonic() - self._said_at >= _QUIET_SECONDS:
            self._say(status)

    def end(self, status: Status | None = None, /) -> None:
        """Print how the run stands in the end."""
        self._new_line()
        if status is not None:
            self._say(status)

    def _text(self, text: Text) -> None:
        shown = without_beginning(text) if self._broken else text
        self._broken = self._broken and not text.plain
        if shown.plain:
            self._print(shown.plain, "")
            self._within_line = not shown.plain.endswith("\n")

    def _say(self, status: Status) -> None:
        said = status(self._console.width).plain
        if said != self._said:
            self._print(said, "\n")
        self._said, self._said_at = said, time.monotonic()

    def _new_line(self) -> None:
        if self._within_line:
            self._print("", "\n")
            self._broken = True
        self._within_line = False

    def _print(self, text: str, end: str) -> None:
        self._console.print(Text(text), end=end, soft_wrap=True)
