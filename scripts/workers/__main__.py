"""How many runs of a service with several workers are in the store after it was stopped.

    python scripts/workers [RESULT.json] [--runs 40]

Each arrangement serves `service.py` with two workers under `opentelemetry-instrument`, with the exporter
`corevital_sqlite` and a batch processor that would wait for a minute: what is stored, the end of the processes has
exported. It gets so many requests and then SIGTERM. `pip install gunicorn ray` first: neither is a dependency of ours,
and what is not there is left out.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SERVERS: dict[str, list[str]] = {
    "uvicorn --workers 2": [
        "uvicorn",
        "--workers",
        "2",
        "--timeout-worker-healthcheck",
        "120",
        "--port",
        "{port}",
        "service:app",
    ],
    "gunicorn -w 2": ["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "service:application"],
    "gunicorn -w 2 --preload": ["gunicorn", "-w", "2", "--preload", "-b", "127.0.0.1:{port}", "service:application"],
    "gunicorn -w 2 --max-requests 5": [
        *("gunicorn", "-w", "2", "--max-requests", "5", "-b", "127.0.0.1:{port}", "service:application")
    ],
}
RAY = {"ray, two actors": [], "ray, two actors that call force_flush": ["flush"]}
STARTING_S = 600
"""Of a server, whose workers import torch each, on a machine that does other things, too."""
LIBRARIES = ("uvicorn", "gunicorn", "ray", "torch", "transformers", "opentelemetry-sdk")


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a service that stores its runs in a folder."""
    return {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "OTEL_SERVICE_NAME": "workers",
        "OTEL_COREVITAL_SQLITE_PATH": str(folder / "runs.db"),
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
        "OTEL_BLRP_SCHEDULE_DELAY": "60000",
    }


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def instrumented(command: list[str]) -> list[str]:
    """Return a command under `opentelemetry-instrument`, all of them from the folder of this interpreter."""
    here = Path(sys.executable).parent
    start = [here / "opentelemetry-instrument", "--traces_exporter", "corevital_sqlite", "--metrics_exporter", "none"]
    return [*map(str, start), "--logs_exporter", "corevital_sqlite", str(here / command[0]), *command[1:]]


def ask(port: int, path: str, server: "subprocess.Popen[bytes]") -> str:
    """Return what a path answers; waits while nobody listens: before the start, or between two workers.

    What was asked is not asked again: somebody may have served it.
    """
    deadline = time.monotonic() + STARTING_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=STARTING_S) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError as error:
            refused = isinstance(error.reason, ConnectionRefusedError)
            if not refused or time.monotonic() > deadline or server.poll() is not None:
                raise
        time.sleep(0.2)


def served(command: list[str], runs: int, folder: Path) -> dict[str, Any]:
    """Serve, ask so many times, stop; return what was asked."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(instrumented(words), stdout=log, stderr=log, env=environment(folder))
        try:
            ask(port, "/ready", server)
            answered = [ask(port, "/", server) for _ in range(runs)]
            server.send_signal(signal.SIGTERM)
            code = server.wait(120)
        finally:
            if server.poll() is None:
                server.kill()
    return {"answered": len(answered), "workers_that_answered": len(set(answered)), "exit_code": code}


def on_ray(arguments: list[str], runs: int, folder: Path) -> dict[str, Any]:
    """Let two actors generate; return what they did."""
    command = instrumented(["python", str(HERE / "on_ray.py"), str(runs), *arguments])
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    answered = [word for line in done.stdout.splitlines() for word in line.split() if word.isdigit()]
    return {"answered": len(answered), "workers_that_answered": len(set(answered)), "exit_code": done.returncode}


def stored(folder: Path) -> int:
    """Return how many runs are in the store."""
    if not (folder / "runs.db").exists():
        return 0
    with closing(sqlite3.connect(folder / "runs.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])


def seen(action: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Return what an arrangement did, and what of it is stored."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        found = action(Path(name))
        return {**found, "stored": stored(Path(name))}


def main() -> None:
    """Try all and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--only", help="one arrangement; the others stay in the result as they are")
    options = parser.parse_args()
    asked: dict[str, Callable[[Path], dict[str, Any]]] = {
        name: lambda folder, command=command: served(command, options.runs, folder)  # type: ignore[misc]
        for name, command in SERVERS.items()
        if importlib.util.find_spec(command[0])
    }
    if importlib.util.find_spec("ray"):
        asked |= {
            name: lambda folder, words=words: on_ray(words, options.runs, folder)  # type: ignore[misc]
            for name, words in RAY.items()
        }
    there = options.result is not None and options.result.exists()
    arrangements = json.loads(options.result.read_text("utf-8"))["arrangements"] if there and options.only else {}
    arrangements |= {name: seen(action) for name, action in asked.items() if options.only in (None, name)}
    versions = {}
    for library in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    figures = {
        "arrangements": arrangements,
        "versions": versions,
        "command": f"python scripts/workers docs/results/workers.json --runs {options.runs}",
        "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    text = json.dumps(figures, indent=2)
    if options.result:
        options.result.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
