"""What survives when processes that write into one store are killed, and when their children end.

    python benchmarks/durability.py [RESULT.json] [--kills 200] [--children 60]

A process under `opentelemetry-instrument` with the exporter `corevital_sqlite` imports torch once and is forked for
each kill. A victim generates runs with a tiny random model and, each time `TracerProvider.force_flush()` has returned
True, names the runs that it flushed; it dies by SIGKILL a random moment later. Before that children of
`multiprocessing`, half of them of method fork and half of forkserver, generate one run each and end normally. Lost is
what was flushed, or what a child had recorded, and is not in the store. Ends with 1 where something is lost.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RUNS_AT_ONCE, TOKENS = 3, 2
LATEST = 0.2
"""Seconds for which a victim goes on after its last flush, at most."""
METHODS = ("fork", "forkserver")


# --- in the processes that write ---------------------------------------------------------------------------------


@cache
def model() -> Any:
    """Return a tiny model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, pad_token_id=0
    )
    return LlamaForCausalLM(config).eval()


def generate() -> str:
    """Generate below a span of the program's own; return its trace id, which is the run's."""
    import torch
    from opentelemetry import trace

    with trace.get_tracer("durability").start_as_current_span("request") as span:
        model().generate(torch.tensor([[3, 4, 5]]), max_new_tokens=TOKENS, do_sample=False, eos_token_id=None)
        return f"{span.get_span_context().trace_id:032x}"


def victim(names: int) -> None:
    """Generate and flush until killed; write the names of what is flushed, a JSON line each time."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    while True:
        made = [generate() for _ in range(RUNS_AT_ONCE)]
        if provider.force_flush():
            os.write(names, json.dumps(made).encode() + b"\n")


def kill(moments: int) -> list[str]:
    """Kill so many victims, each after it has flushed; return the runs that they have flushed."""
    chance, flushed = random.Random(7), list[str]()
    for _ in range(moments):
        source, sink = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(source)
            victim(sink)
        os.close(sink)
        with os.fdopen(source) as lines:
            first = lines.readline()
            time.sleep(chance.uniform(0.0, LATEST))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            flushed += [name for line in (first, *lines) if line.endswith("\n") for name in json.loads(line)]
    return flushed


def child(names: Connection) -> None:
    """Generate one run and end as a function does that returns."""
    names.send(generate())


def end(method: str, children: int) -> list[str]:
    """Let so many children of a start method end; return the runs that they have recorded."""
    context, recorded = multiprocessing.get_context(method), list[str]()
    context.set_forkserver_preload(["torch", "transformers.models.llama.modeling_llama"])
    for _ in range(children):
        source, sink = context.Pipe(duplex=False)
        process = context.Process(target=child, args=(sink,))
        process.start()
        sink.close()
        recorded.append(source.recv())
        process.join()
        assert process.exitcode == 0, process.exitcode
    return recorded


def play(kills: int, children: int) -> dict[str, list[str]]:
    """Do everything; return the trace ids of what must be in the store."""
    generate()
    each, rest = divmod(children, len(METHODS))
    ended = {method: end(method, each + (index < rest)) for index, method in enumerate(METHODS)}
    return {"kills": kill(kills), **ended}


# --- around them -------------------------------------------------------------------------------------------------


def measure(kills: int, children: int) -> dict[str, Any]:
    """Start the program and compare what it says with what is stored."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store, told = Path(folder) / "runs.db", Path(folder) / "told.json"
        start = shutil.which(
            "opentelemetry-instrument", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        )
        assert start, "opentelemetry-instrument is installed"
        options = ("--traces_exporter=corevital_sqlite", "--metrics_exporter=none", "--logs_exporter=none")
        numbers = (f"--kills={kills}", f"--children={children}", "--play")
        subprocess.run(
            [start, *options, sys.executable, __file__, str(told), *numbers],
            check=True,
            cwd=ROOT,
            env={**os.environ, "OTEL_COREVITAL_SQLITE_PATH": str(store), "OMP_NUM_THREADS": "1"},
        )
        with closing(sqlite3.connect(store)) as connection:
            stored = {name for (name,) in connection.execute("SELECT trace_id FROM runs")}
            health = connection.execute("PRAGMA integrity_check").fetchone()[0]
        runs = json.loads(told.read_text())
    lost = {what: len(set(names) - stored) for what, names in runs.items()}
    return {
        "kills": {"processes": kills, "flushed_runs": len(runs["kills"]), "lost": lost["kills"]},
        "children": {method: {"ended": len(runs[method]), "lost": lost[method]} for method in METHODS},
        "integrity_check": health,
        "seconds": round(time.monotonic() - begin, 1),
    }


def commit() -> str:
    """Return the commit that is measured, marked where the working tree differs from it."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    found = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def about(arguments: list[str]) -> dict[str, Any]:
    """Return what was run, and on what."""
    names = ("opentelemetry-sdk", "torch", "transformers")
    return {
        "command": " ".join(["python", "benchmarks/durability.py", *arguments]),
        "commit": commit(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: importlib.metadata.version(name) for name in names},
        "cores": os.cpu_count(),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path, help="where to write the figures")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--children", type=int, default=60)
    parser.add_argument("--play", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.play:
        given.result.write_text(json.dumps(play(given.kills, given.children)))
        return
    result = {**about(sys.argv[1:]), **measure(given.kills, given.children)}
    text = json.dumps(result, indent=2)
    print(text)
    if given.result is not None:
        given.result.write_text(text + "\n")
    lost = result["kills"]["lost"] + sum(each["lost"] for each in result["children"].values())
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
