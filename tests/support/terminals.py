"""Commands in a terminal: a pseudo terminal of a given size, and what its screen shows."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from rich.cells import get_character_cell_size

MAIN = "from opentelemetry_instrumentation_corevital.cli import main; main()"
ROOT = Path(__file__).parents[2]
_SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


class Terminal:
    """A command in a terminal of so many columns."""

    def __init__(self, process: "subprocess.Popen[bytes]", controller: int, columns: int) -> None:
        self.process = process
        self.columns = columns
        self._controller = controller
        self._written = b""

    @property
    def written(self) -> str:
        """Return all that the command has written."""
        return self._written.decode()

    @property
    def screen(self) -> list[str]:
        """Return the lines that a person sees, scrolled ones included."""
        return drawn(self._written.decode(errors="ignore"), self.columns)

    def until(self, seen: Callable[[], object], seconds: float = 60) -> None:
        """Read until something holds."""
        end = time.monotonic() + seconds
        while not seen():
            assert time.monotonic() < end, f"in vain: {self.screen}"
            assert self._read() or seen(), f"the command has ended: {self.screen}"

    def ended(self, seconds: float = 60) -> int:
        """Read to the end, and return the exit code."""
        end = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < end, f"goes on: {self.screen}"
        return self.process.wait(end - time.monotonic())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._controller, b"\x03")

    def _read(self) -> bool:
        if not select.select([self._controller], [], [], 0.2)[0]:
            return True
        try:
            found = os.read(self._controller, 65536)
        except OSError:  # what Linux says at the end
            return False
        self._written += found
        return bool(found)


@contextmanager
def terminal(
    *arguments: str, columns: int = 80, folder: Path | None = None, code: str = MAIN, **environment: str
) -> Iterator[Terminal]:
    """Run `corevital` in a terminal; it is killed if it still runs at the end of the block."""
    controller, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    usual = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        cwd=folder,
        env={**usual, "TERM": "xterm-256color", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", **environment},
        preexec_fn=_lead,  # noqa: PLW1509 - a terminal of its own, so that Ctrl-C gets to it
    )
    os.close(inside)
    try:
        yield Terminal(process, controller, columns)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(controller)


@contextmanager
def standard_output_in_a_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytearray]:
    """Let this process print to a terminal in the block; yield what it has written, whole when the block is over."""
    controller, inside = pty.openpty()
    written = bytearray()

    def read() -> None:
        with suppress(OSError):  # what Linux says at the end
            while found := os.read(controller, 65536):
                written.extend(found)

    reading = threading.Thread(target=read)
    reading.start()
    try:
        with open(inside, "w", encoding="utf-8") as stream, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", stream)
            patched.setenv("COLUMNS", str(columns))
            patched.setenv("TERM", "xterm-256color")
            patched.delenv("NO_COLOR", raising=False)
            yield written
    finally:
        reading.join()
        os.close(controller)


def _lead() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def drawn(written: str, columns: int) -> list[str]:
    """Return the lines that a terminal of so many columns shows: enough of one for what rich writes."""
    rows: list[list[str]] = [[]]
    row = column = position = 0
    while position < len(written):
        if found := _SEQUENCE.match(written, position):
            position = found.end()
            count = int(found[1]) if found[1].isdigit() else 1
            if found[2] == "A":
                row = max(0, row - count)
            elif found[2] == "K":
                rows[row] = rows[row][:column] if found[1] in ("", "0") else []
            continue
        character = written[position]
        position += 1
        if character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            rows += [[] for _ in range(row + 1 - len(rows))]
        else:
            size = get_character_cell_size(character)
            if column + size > columns:
                row, column = row + 1, 0
                rows += [[] for _ in range(row + 1 - len(rows))]
            rows[row] += [" "] * (column - len(rows[row]))
            rows[row][column : column + size] = [character, *[""] * (size - 1)]
            column += size
    return ["".join(each).rstrip() for each in rows]


def wide(lines: Sequence[str]) -> int:
    """Return how many columns the widest line takes."""
    return max(sum(map(get_character_cell_size, line)) for line in lines)
