"""Programs that generate under `opentelemetry-instrument` and send to a Collector, as processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.collectors import Collector
from tests.support.subprocesses import ROOT, exporting

PROGRAM = ROOT / "tests" / "collector" / "programs" / "generates.py"


class Program:
    """A running program."""

    def __init__(self, running: "subprocess.Popen[str]") -> None:
        self.running = running

    def generate(self, kind: str, count: int) -> dict[str, int]:
        """Let it generate; return how often its judgements have said what, since it began."""
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        self.running.stdin.write(f"{kind} {count}\n")
        self.running.stdin.flush()
        line = self.running.stdout.readline()
        assert line, "the program has ended"
        counts: dict[str, int] = json.loads(line)
        return counts

    def end(self) -> None:
        """Let it end by itself, with what it still holds exported."""
        assert self.running.stdin is not None
        self.running.stdin.close()
        assert self.running.wait(60) == 0


@contextmanager
def program(collector: Collector, log: Path, service: str, **environment: str) -> Iterator[Program]:
    """Start a program that sends metrics, and nothing else, twice a second."""
    variables: dict[str, Any] = {
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.http}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        **environment,
    }
    with log.open("w") as errors:
        running = subprocess.Popen(
            [*exporting("none", "otlp"), sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **variables},
        )
        try:
            yield Program(running)
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
