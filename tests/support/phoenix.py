"""Arize Phoenix, from PyPI, in an environment of its own that the cache folder keeps."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.environments import python_with
from tests.support.processes import free_port, get_json, process, wait_until

VERSION: Final = "20.26.1"


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
    """Return the command `phoenix`: that of COREVITAL_PHOENIX, else one that is installed first if it has to be."""
    named = os.environ.get("COREVITAL_PHOENIX")
    return named or str(python_with(f"arize-phoenix=={VERSION}").with_name("phoenix"))


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
