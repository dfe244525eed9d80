"""How fast the dashboard answers over a large store, and how much memory it keeps.

    python benchmarks/dashboard.py [docs/results/dashboard.json] [--runs 100000] [--store FILE]

The store is made first (`many_runs.py`), unless a file is named. Then `corevital dashboard` is started over it as
anybody would, and asked over HTTP on one kept connection, compressed, without a browser: what is timed is the whole
answer, from the request to its last byte, and the processor time that the server took. Every kind of request is asked
with other values each time. RSS is read after a first round and after 2,000 requests of all kinds in turn.

A page that is not there (404) is left out of the result: one more line in `requests_of` is all that a new one needs.
"""

import argparse
import gzip
import http.client
import itertools
import json
import os
import platform
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

HERE = Path(__file__).parent
sys.path[:0] = [path for path in (str(HERE),) if path not in sys.path]

from many_runs import LONG_LAYERS, LONG_STEPS, MODELS, make  # noqa: E402

from opentelemetry_instrumentation_corevital.store import RunFilter, RunOrder, open_store  # noqa: E402

REPEATS: Final = 20
REQUESTS: Final = 2_000
Paths = Callable[[int], str]


class Client:
    """One kept connection to the dashboard."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, path: str) -> tuple[int, bytes, float]:
        """Return status, body as it came, and the milliseconds until it was whole."""
        started = time.perf_counter()
        self._connection.request("GET", path, headers={"accept-encoding": "gzip"})
        answer = self._connection.getresponse()
        body = answer.read()
        return answer.status, body, 1000 * (time.perf_counter() - started)


@contextmanager
def served(store: Path) -> Iterator[tuple[int, int]]:
    """Start the dashboard; give its port and its process id."""
    command = [str(Path(sys.executable).with_name("corevital")), "dashboard"]
    running = subprocess.Popen(
        [*command, "--db", str(store), "--port", "0"], stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert running.stderr is not None
        line = running.stderr.readline()
        port = int(line.rpartition(":")[2].strip(" /\n"))
        yield port, running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


def requests_of(store: Path) -> dict[str, Paths]:
    """Return every kind of request: its name, and the path of each of its repetitions."""
    models = [quote(name, safe="") for name in MODELS]
    with open_store(store) as source:
        listed = source.runs(limit=REPEATS)
        places = {order: _places(source, order) for order in (RunOrder.NEWEST, RunOrder.RISK, RunOrder.TOKENS)}
        middle = source.page(RunFilter(model=next(iter(MODELS))), limit=5000).next
        long = next(run for run in listed if run.output_tokens == LONG_STEPS)
    runs = [f"/runs/{run.trace_id}/{run.span_id}" for run in listed]
    long_run = f"/runs/{long.trace_id}/{long.span_id}"
    hashes = [run.prompt_hash or "" for run in listed]

    def turn(*values: str) -> Paths:
        return lambda number: values[number % len(values)]

    return {
        "runs": turn("/runs"),
        "runs, next page": turn(*(f"/runs?after={place}" for place in places[RunOrder.NEWEST])),
        "runs, far down": turn(f"/runs?model={models[0]}&after={middle}"),
        "runs by risk": turn("/runs?sort=risk", "/runs?sort=lowest-risk"),
        "runs by risk, next page": turn(*(f"/runs?sort=risk&after={place}" for place in places[RunOrder.RISK])),
        "runs by tokens": turn("/runs?sort=tokens", "/runs?sort=fewest-tokens"),
        "runs by tokens, next page": turn(*(f"/runs?sort=tokens&after={place}" for place in places[RunOrder.TOKENS])),
        "filter model": turn(*(f"/runs?model={name}" for name in models)),
        "filter level": turn(*(f"/runs?level={level}" for level in ("low", "medium", "high"))),
        "filter flag": turn(*(f"/runs?flag={flag}" for flag in ("repetition_loop", "nan_detected"))),
        "filter warning": turn("/runs?warning=repetition_risk", "/runs?warning=confidence_drop", "/runs?warning=none"),
        "filter risk range": lambda number: f"/runs?risk_above=0.{number % 9}&risk_below=0.{number % 9 + 1}",
        "filter date range": lambda number: f"/runs?since={number + 2}d&until={number}d",
        "filter prompt hash": turn(*(f"/runs?prompt_hash={each}" for each in hashes)),
        "filter label": turn(*(f"/runs?label={label}" for label in ("any", "none", "correct", "incorrect"))),
        "filter stop reason": turn(*(f"/runs?stop_reason={reason}" for reason in ("eos", "length", "policy", "time"))),
        "filter intervened": turn("/runs?intervened=yes", "/runs?intervened=no"),
        "filter tokens": lambda number: f"/runs?tokens_above={number * 9}",
        "filter service": turn("/runs?service=search", "/runs?service=batch"),
        "filter experiment": turn("/runs?experiment=temperature-07", "/runs?experiment=nothing"),
        "search": turn(*(f"/runs?search={text}" for text in ("llama", "wrong+year", "a1b", "nothing+at+all"))),
        "all filters, by risk": turn(
            *(f"/runs?model={name}&level=high&flag=repetition_loop&label=none&since=60d&sort=risk" for name in models)
        ),
        "run": turn(*runs),
        f"run of {LONG_STEPS} steps x {LONG_LAYERS} layers": turn(long_run),
        "compare models": turn(f"/compare?models={models[0]}&models={models[1]}"),
        "overview": turn("/overview"),
        "live": turn("/live"),
    }


def _places(source: Any, order: RunOrder) -> list[str]:
    """Return the places of the first pages."""
    found, after = list[str](), None
    for _ in range(20):
        after = source.page(order=order, limit=50, after=after).next
        if after is None:
            break
        found.append(quote(str(after), safe=""))
    return found


def measured(client: Client, paths: Paths, process: int) -> dict[str, Any] | None:
    """Return the times of a kind of request and the bytes of its answers; None: there is no such page."""
    times, sizes, pages, used = list[float](), list[int](), list[int](), 0.0
    for number in range(-2, REPEATS):  # two that do not count
        status, body, milliseconds = client.get(paths(max(number, 0)))
        if status == 404:
            return None
        assert status == 200, f"{paths(max(number, 0))}: {status}"
        if number == -1:
            used = cpu_ms(process)
        if number >= 0:
            times.append(milliseconds)
            sizes.append(len(body))
            pages.append(len(gzip.decompress(body)) if body[:2] == b"\x1f\x8b" else len(body))
    return {
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
        "cpu_ms_mean": round((cpu_ms(process) - used) / REPEATS, 1),
        "bytes_compressed": max(sizes),
        "bytes": max(pages),
    }


def rss_mib(process: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)


def cpu_ms(process: int) -> float:
    """Return the milliseconds of processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def exported(client: Client, process: int) -> dict[str, Any]:
    """Return what a whole list as a file takes."""
    status, body, milliseconds = client.get("/runs.csv")
    assert status == 200
    return {"ms": round(milliseconds), "bytes_compressed": len(body), "rss_mib_after": rss_mib(process)}


def measure(store: Path) -> dict[str, Any]:
    """Return what the dashboard does over a store."""
    kinds = requests_of(store)
    with served(store) as (port, process):
        client = Client(port)
        began = rss_mib(process)
        found = {name: measured(client, paths, process) for name, paths in kinds.items()}
        there = [paths for name, paths in kinds.items() if found[name] is not None]
        first = rss_mib(process)
        for number, paths in zip(range(REQUESTS), itertools.cycle(there), strict=False):
            client.get(paths(number))
        memory = {"at_start": began, "after_first_round": first, f"after_{REQUESTS}_more_requests": rss_mib(process)}
        whole = exported(client, process)
    answers = {name: figures for name, figures in found.items() if figures is not None}
    return {"requests": answers, "rss_mib": memory, "export_csv": whole}


def main() -> None:
    """Measure and print, and write the result where a file is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--store", type=Path, help="a store that `many_runs.py` made; default: one is made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        store = options.store or Path(name) / "runs.db"
        if options.store is None:
            make(store, options.runs)
        with open_store(store) as source:
            runs = source.counts().total
        result = {
            "command": f"python benchmarks/dashboard.py docs/results/dashboard.json --runs {options.runs}",
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "cores": os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 1),
            "runs": runs,
            "store_mb": round(store.stat().st_size / 1e6),
            "repeats": REPEATS,
            **measure(store),
        }
    text = json.dumps(result, indent=2)
    print(text)
    if options.result:
        options.result.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
