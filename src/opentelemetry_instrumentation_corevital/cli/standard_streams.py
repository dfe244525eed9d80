"""Standard streams that a command can write to whatever they are: closed, full, without a reader, not UTF-8.

A command's exit code says what became of its work. So no write raises; what went wrong is told once, at the end.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Final, cast

_STANDARD: Final = (0, 1, 2)


class Guarded:
    """A text stream whose first failure is kept, and after that everything is thrown away."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.failed: OSError | None = None
        # Python's own streams do not say which characters they lack before they are used.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")

    @property
    def reader_is_gone(self) -> bool:
        """Return whether the other end of a pipe has been closed: it has read enough."""
        return isinstance(self.failed, BrokenPipeError)

    def write(self, text: str) -> int:
        """Write; never raises an OSError."""
        if self.failed is None:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush; never raises an OSError."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.failed = self.failed or error
        # What is buffered is tried again as Python ends, which would be told, and change the exit code.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[Guarded]:
    """Guard `sys.stdout` and `sys.stderr` inside the block; yield the former."""
    plain = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        out, err = (Guarded(nowhere if stream is None else stream) for stream in plain)
        sys.stdout, sys.stderr = cast("IO[str]", out), cast("IO[str]", err)
        try:
            yield out
        finally:
            sys.stdout, sys.stderr = plain
            for stream in (out, err):
                stream.flush()


def open_standard_streams() -> None:
    """Open the null device in place of standard streams that are closed.

    Else the next file that is opened, such as the store, gets the number of one, and is written into by whatever
    prints; and `print(..., file=sys.stderr)` prints to standard output where there is no `sys.stderr`.
    """
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as the process
