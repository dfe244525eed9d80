"""A service learns what is usual for its model: workers that share one baseline, and may be killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.baselines.learned_files import files, read_baseline
from opentelemetry_instrumentation_corevital.baselines.learner import ANCHOR_RUNS, LEARNER
from tests.support.cyclic_models import save_cyclic
from tests.support.in_memory import Telemetry, instrumented
from tests.support.taught_baselines import SAMPLED
from tests.support.tiny_models import prompt, tiny_model

SERVICE = """
import json, os, sys, time
import torch
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from opentelemetry_instrumentation_corevital.baselines.learner import LEARNER
from tests.support.taught_baselines import SAMPLED
from tests.support.tiny_models import prompt, tiny_model

def unwritten():
    while True:  # the thread may be about to write
        with LEARNER._lock:
            pupils = list(LEARNER._pupils.values())
            if not LEARNER._queue and not any(each.dirty and each.due <= time.monotonic() for each in pupils):
                return sum(each.new.runs + len(each.waiting) for each in pupils)
        time.sleep(0.01)

torch.set_num_threads(1)
spans = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(spans))
CoreVitalInstrumentor().instrument(baseline="auto", flush_on_sigterm=True)
model = tiny_model()
pipes = [(os.pipe(), os.pipe()) for _ in range(4)]
for number, ((asked, _), (_, answers)) in enumerate(pipes):
    worker = os.fork()
    if not worker:
        torch.manual_seed(number)
        with os.fdopen(asked) as requests, os.fdopen(answers, "w") as out:
            for line in requests:
                for _ in range(int(line)):
                    model.generate(prompt(), **SAMPLED)
                attributes = dict(spans.get_finished_spans()[-1].attributes)
                said = {name: attributes.get("corevital.baseline." + name) for name in ("source", "runs")}
                print(json.dumps(said | {"unwritten": unwritten()}), file=out, flush=True)
        os._exit(0)
    print(worker, flush=True)
for line in sys.stdin:  # NUMBER COUNT
    number, count = line.split()
    (_, ask), (answered, _) = pipes[int(number)]
    os.write(ask, (count + chr(10)).encode())
    print(os.read(answered, 1000).decode().strip(), flush=True)
"""


class Service:
    """Four workers that were forked from one process, before which no run was seen."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.workers = [int(self._line()) for _ in range(4)]

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the service has ended"
        return line

    def ask(self, worker: int, count: int) -> dict[str, Any]:
        """Have a worker generate; return what the last run was judged with."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{worker} {count}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def kill(self, worker: int, number: signal.Signals) -> None:
        """End a worker, and see it end."""
        os.kill(self.workers[worker], number)
        while self._process.poll() is None and _state(self.workers[worker]) not in ("Z", ""):
            pass


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@contextmanager
def service() -> Iterator[Service]:
    command = [sys.executable, "-c", SERVICE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = Service(process)
            yield found
        finally:
            for worker in found.workers:
                if _state(worker) not in ("Z", ""):
                    os.kill(worker, signal.SIGKILL)
            process.kill()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs fork and /proc")
def test_four_workers_have_one_baseline_and_survive_two_that_are_killed() -> None:
    with service() as workers:
        first = workers.ask(0, 1)
        assert first == {"source": "none", "runs": None, "unwritten": 1}
        workers.ask(0, 5)
        lost = [workers.ask(worker, 6)["unwritten"] for worker in (1, 2, 3)][1:]
        known = workers.ask(0, 1)
        assert known["source"] == "learned"
        assert known["runs"] >= ANCHOR_RUNS
        for worker in (2, 3):
            workers.kill(worker, signal.SIGKILL)
        (file,) = files()
        written = read_baseline(file).runs
        assert read_baseline(file).tokens == 24 * written
        assert written >= ANCHOR_RUNS + 3, "each worker has added to it"
        assert all(0 < each < 6 for each in lost)
        workers.ask(0, 20)
        workers.ask(1, 20)
        for worker in (0, 1):
            workers.kill(worker, signal.SIGTERM)
        (file,) = files()
        whole = read_baseline(file)
        assert whole.runs == (7 + 20) + (6 + 20) + 12 - sum(lost), "what two had not written, and nothing else"
        assert whole.tokens == 24 * whole.runs
        assert whole.profile() is not None, "enough to judge by"


def test_a_run_is_judged_with_what_was_known_before_it_and_without_a_baseline_says_so() -> None:
    model = tiny_model()
    LEARNER.forget()
    try:
        with instrumented(baseline="auto") as telemetry:
            for _ in range(6):
                model.generate(prompt(), **SAMPLED)
                assert LEARNER.force_flush()
        told = [dict(span.attributes or {}) for span in telemetry.spans]
        assert [each["corevital.baseline.source"] for each in told] == ["none", *["learned"] * 5]
        assert [each.get("corevital.baseline.runs") for each in told] == [None, 1, 2, 3, 4, 5]
        for each in told:
            absent = json.loads(str(each[semconv.CAPTURE_ABSENT]))
            assert absent["mid_layer_anomaly_detected"] == "no_baseline"
            assert "corevital.health.mid_layer_anomaly_detected" not in each
            assert each["corevital.health.nan_detected"] is False
    finally:
        LEARNER.forget()


@pytest.mark.parametrize("options", [{}, {"baseline": "off"}, {"profile": "off"}])
def test_switched_off_nothing_is_read_or_learned(options: dict[str, Any]) -> None:
    with instrumented(**options) as telemetry:
        for _ in range(2):
            tiny_model().generate(prompt(), **SAMPLED)
    assert {(span.attributes or {})["corevital.baseline.source"] for span in telemetry.spans} == {"none"}
    LEARNER.force_flush()
    assert files() == []


def test_loops_flags_and_failures_do_not_teach(tmp_path: Path) -> None:
    loops = AutoModelForCausalLM.from_pretrained(save_cyclic(tmp_path, 10))
    model = tiny_model()
    LEARNER.forget()
    try:
        telemetry = Telemetry()
        with instrumented(telemetry, baseline="auto", judgements=[telemetry]):
            with pytest.raises(ZeroDivisionError):
                model.generate(prompt(), **SAMPLED, stopping_criteria=[lambda *_: 1 / 0])
            for tokens in (120, 120):
                loops.generate(torch.tensor([[5]]), max_new_tokens=tokens, do_sample=False, eos_token_id=None)
            assert LEARNER.force_flush()
            assert [run.health.raised() for run in telemetry.runs[-2:] if run.health is not None] == [
                ["repetition_loop_detected"]
            ] * 2
            assert files() == []
            model.generate(prompt(), **SAMPLED)
            assert LEARNER.force_flush()
            assert [read_baseline(file).runs for file in files()] == [1]
    finally:
        LEARNER.forget()
