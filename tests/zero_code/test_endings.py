"""How a program under `opentelemetry-instrument` may end without losing what it has measured."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.otlp_receivers import http_receiver
from tests.support.processes import process, wait_until
from tests.support.subprocesses import exporting, run, stored_spans
from tests.support.zero_code_programs import program


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_flushes(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    with http_receiver() as received:
        variables = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "60000",  # longer than the test: only the end can have exported it
            "OTEL_BLRP_SCHEDULE_DELAY": "60000",
            "OTEL_METRIC_EXPORT_INTERVAL": "60000",
        }
        with process([*exporting("otlp", "otlp", "otlp"), *program("waits")], log, variables) as running:
            wait_until(lambda: "generated" in log.read_text(), 60)
            assert not received.messages
            running.send_signal(number)
            assert running.wait(20) in (-number, 128 + number), log.read_text()
    assert len(received.spans()) == 1
    assert "corevital.runs" in received.metric_names()
    assert "gen_ai.evaluation.result" in received.event_names()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sigterm_ends_a_child_that_has_just_been_forked() -> None:
    """Without our handler it does, and `Pool.terminate()` waits for such a child for ever if it does not."""
    assert run([*exporting("none"), *program("ended_at_once")]).stdout == f"{{{-signal.SIGTERM}}}\n"


HOOKED = """
import os, signal, time
from opentelemetry_instrumentation_corevital.instrumentation.sigterm import flush_at_sigterm

class Waits:
    def shutdown(self):
        print("flushed", flush=True)

def comes_in_a_hook():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)

flush_at_sigterm(lambda: [Waits()])
os.register_at_fork(after_in_child=comes_in_a_hook)
child = os.fork()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_whose_hooks_have_yet_to_release_locks_dies_without_flushing() -> None:
    """Exporters would wait for locks that the hooks release: `Pool.terminate()` took 5 s, now and then."""
    found = run([sys.executable, "-c", HOOKED], ends_with=-signal.SIGTERM)
    assert found.stdout.splitlines() == [str(-signal.SIGTERM), "flushed"], "the parent flushes"


def test_forked_workers_export_their_runs(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    with http_receiver() as received:
        run(
            [*exporting("otlp,corevital_sqlite"), *program("forked")],
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            OTEL_COREVITAL_SQLITE_PATH=str(database),
        )
    stored = [span.attributes["corevital.steps.total"] for span in stored_spans(database)]
    assert sorted(stored) == [4, 5, 6]
    sent = [
        item.value.int_value
        for span in received.spans()
        for item in span.attributes
        if item.key == "corevital.steps.total"
    ]
    assert sorted(sent) == [4, 5, 6]
