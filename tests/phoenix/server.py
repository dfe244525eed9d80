"""Arize Phoenix, from PyPI, in an environment of its own that the cache folder keeps."""

import contextlib
import fcntl
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opentelemetry_instrumentation_corevital.config import cache_folder
from tests.wire.processes import free_port, get_json, process, wait_until

VERSION: Final = "20.26.1"


class CannotBeInstalled(Exception):
    """pip's last word."""


@dataclass(frozen=True)
class Phoenix:
    """A server that is up."""

    url: str
    grpc: str

    def spans(self) -> dict[str, dict[str, Any]]:
        """Return the spans that it has, by their ids, as its API tells them."""
        answer = get_json(f"{self.url}/v1/projects/default/spans?limit=100")
        return {span["context"]["span_id"]: span for span in answer["data"]}


def installed() -> str:
    """Return the command `phoenix`; install it first where the cache folder does not have it.

    Raises:
        CannotBeInstalled: as where no package index can be reached.
    """
    name = f"arize-phoenix-{VERSION}-python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = Path(cache_folder(), "environments", name)
    complete, python = folder / ".complete", str(folder / "bin" / "python")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists() or not _runs(python):
            venv.create(folder, clear=True, with_pip=False)
            install = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", python, "install"]
            done = subprocess.run([*install, f"arize-phoenix=={VERSION}"], capture_output=True, text=True, check=False)
            if done.returncode:
                raise CannotBeInstalled(done.stderr.strip().splitlines()[-1])
            complete.touch()
    return str(folder / "bin" / "phoenix")


def _runs(python: str) -> bool:
    """Whether an interpreter works: that of an environment is a link to one that may be gone."""
    with contextlib.suppress(OSError):
        return subprocess.run([python, "-c", ""], check=False).returncode == 0
    return False


@contextlib.contextmanager
def serving(command: str, folder: Path) -> Iterator[Phoenix]:
    """Start a Phoenix that keeps its data in a folder and asks nobody for anything."""
    http, grpc = free_port(), free_port()
    settings = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(http),
        "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PYTHONPATH": "",
    }
    started = Phoenix(f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}")
    with process([command, "serve"], folder / "phoenix.log", settings) as running:

        def ready() -> bool:
            assert running.poll() is None, (folder / "phoenix.log").read_text()
            return "data" in get_json(f"{started.url}/v1/projects")

        wait_until(ready, 180)
        yield started
