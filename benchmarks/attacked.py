"""The receiver under floods of somebody without its token: how long those who have it wait, its memory, its end.

    python benchmarks/attacked.py docs/results/receiver-attacked.json

Exits with 1 where an honest sender waits for 2 s or more, memory grows by more than docs/receiver.md promises, or the
process is still there 20 s after SIGTERM.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.overhead.place import commit
from tests.support.flooded_receiver import MOST_GROWTH_MIB, flooded


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        figures = flooded(Path(folder), options.seconds)
    kept = max(figures["http_most_s"], figures["grpc_most_s"]) < 2
    kept = kept and figures["memory_grew_mib"] < MOST_GROWTH_MIB and figures["stopped_after_s"] < 20
    result = {
        **figures,
        "kept": kept,
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_average_before_and_after": [round(before, 1), round(os.getloadavg()[0], 1)],
    }
    text = json.dumps(result, indent=2)
    if options.result:
        options.result.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
