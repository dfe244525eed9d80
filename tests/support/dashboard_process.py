"""`corevital dashboard` as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MAIN = "from opentelemetry_instrumentation_corevital.cli import main; main()"


@dataclass
class Dashboard:
    """A running dashboard."""

    process: "subprocess.Popen[str]"
    address: str
    """As it is told when it starts, without a slash at its end."""
    log: Path

    def url(self, path: str) -> str:
        """Return the address of a page."""
        return f"{self.address.partition('/?')[0]}{path}"

    def get(self, path: str, **headers: str) -> bytes:
        """Return the body of an answer."""
        request = urllib.request.Request(self.url(path), headers={k.replace("_", "-"): v for k, v in headers.items()})
        with urllib.request.urlopen(request, timeout=60) as answer:
            body: bytes = answer.read()
        return body

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return the exit code, and after how many seconds it came."""
        start = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(60), time.monotonic() - start


@contextmanager
def dashboard(
    db: Path, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Dashboard]:
    """Show a store on a free port; the process ends with the block."""
    log = folder / f"dashboard-{time.monotonic_ns()}.log"
    command = [sys.executable, "-c", _MAIN, "dashboard", "--db", str(db), "--port", "0", *arguments]
    with log.open("w") as output:
        process = subprocess.Popen(command, stderr=output, text=True, env={**os.environ, **(environment or {})})
    try:
        yield Dashboard(process, _told(process, log, r" at (http://\S+?)/?(?:$|\s)"), log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _told(process: "subprocess.Popen[str]", log: Path, pattern: str) -> str:
    deadline = time.monotonic() + 60
    while not (found := re.search(pattern, log.read_text(), re.MULTILINE)):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    return found[1]
