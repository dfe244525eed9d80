"""The play of `test_crash.py`, a process of its own: `python -m tests.support.crash FILE MOMENTS`."""

import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from opentelemetry_instrumentation_corevital.store import StoreWriter, open_store
from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
from tests.support.spans import make_spans

STEPS_OF_VICTIM, STEPS_OF_BYSTANDER = 96, 2
RUNS_AT_ONCE = 5
FIRST_WITHIN = 30.0


def victim(path: str) -> None:
    """Write and acknowledge until killed."""
    writer = StoreWriter(path, synchronous="FULL")
    while True:
        spans = [span_rows(span) for span in make_spans(RUNS_AT_ONCE, events=STEPS_OF_VICTIM, service="victim")]
        if writer.store(spans).durable:
            os.write(1, json.dumps([row.span[1] for row in spans]).encode() + b"\n")


def bystander(path: str) -> None:
    """Write two runs each time it is asked to."""
    writer = StoreWriter(path)
    for _ in sys.stdin:
        receipt = writer.store([span_rows(span) for span in make_spans(2, events=STEPS_OF_BYSTANDER)])
        print(receipt.stored_records, flush=True)
    writer.close()


def reader(path: str) -> None:
    """Read for as long as there is no stop file; runs never become fewer and never come in part."""
    seen = reads = 0
    while not Path(f"{path}.stop").exists():
        with open_store(path) as store:
            found = store.runs(limit=None)
            assert len(found) >= seen, f"{seen} runs became {len(found)}"
            seen, reads = len(found), reads + 1
            for run in found[:3]:
                assert len(store.load(run).events) in (STEPS_OF_BYSTANDER, STEPS_OF_VICTIM)
    print(reads)


def play(path: str, moments: int) -> dict[str, int]:
    """Kill a writer at so many random moments; return what was acknowledged, stored and read."""

    def start(role: str) -> "subprocess.Popen[str]":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-m", "tests.support.crash", path, role], **pipes)  # type: ignore[call-overload,no-any-return]

    chance, acknowledged, stored = random.Random(7), [], 0
    beside = start("bystander")
    assert beside.stdin is not None
    assert beside.stdout is not None

    def write_beside() -> int:
        print("more", file=beside.stdin, flush=True)
        return int(beside.stdout.readline())  # type: ignore[union-attr]

    stored += write_beside()
    reading = start("reader")
    for moment in range(moments):
        source, sink = os.pipe()
        child = os.fork()  # not a new interpreter: two hundred of them take minutes
        if child == 0:
            os.dup2(sink, 1)
            victim(path)
        os.close(sink)
        if moment % 2:  # on a busy machine others may die before their first
            select.select([source], [], [], FIRST_WITHIN)
        time.sleep(chance.uniform(0.0, 0.12))
        stored += write_beside()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(source) as lines:
            acknowledged += [name for line in lines if line.endswith("\n") for name in json.loads(line)]
    Path(f"{path}.stop").touch()
    reads, _ = reading.communicate(timeout=60)
    beside.communicate(timeout=60)
    assert (reading.returncode, beside.returncode) == (0, 0)
    with closing(sqlite3.connect(path)) as connection:
        (health,) = connection.execute("PRAGMA integrity_check").fetchone()
        present = {name for (name,) in connection.execute("SELECT span_id FROM runs")}
        partial = connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM span_events GROUP BY trace_id, span_id HAVING count(*) NOT IN (?, ?))",
            (STEPS_OF_BYSTANDER, STEPS_OF_VICTIM),
        ).fetchone()[0]
    assert health == "ok"
    return {
        "acknowledged": len(acknowledged),
        "lost": len(set(acknowledged) - present),
        "partial": partial,
        "beside": stored,
        "reads": int(reads),
    }


if __name__ == "__main__":
    file, what = sys.argv[1:]
    roles = {"victim": victim, "bystander": bystander, "reader": reader}
    if what in roles:
        roles[what](file)
    else:
        print(json.dumps(play(file, int(what))))
