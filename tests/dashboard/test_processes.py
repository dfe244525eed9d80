"""`corevital dashboard` and `corevital collect --dashboard` as processes: how they start, and how they end."""

import http.client
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.support.collect_process import collecting
from tests.support.command_line import Cli
from tests.support.dashboard_process import dashboard
from tests.support.spans import make_spans
from tests.support.step_logs import StepLogs, Telemetry

HERE = "127.0.0.1"


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HERE, port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def open_stream(port: int, path: str) -> http.client.HTTPConnection:
    """Return a connection whose stream has begun."""
    connection = http.client.HTTPConnection(HERE, port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.fp.readline().startswith(b"retry") or answer.fp.readline()
    return connection


@pytest.mark.acceptance
def test_a_receiver_shows_what_it_stores_and_both_end_together(tmp_path: Path) -> None:
    with collecting(tmp_path, "--dashboard", "--dashboard-port", "0") as receiver:
        told = receiver.log.read_text()
        found = re.search(r"dashboard at http://127\.0\.0\.1:(\d+)/\n", told)
        assert found is not None, told
        port = int(found[1])
        telemetry = Telemetry(receiver.db)
        call = StepLogs(telemetry)
        call.step(3)
        telemetry.close()
        assert call.trace_id in get(port, "/live")[1]
        assert get(port, "/metrics")[0] == 404, "the receiver's own pages are at its own port"
        streams = [open_stream(port, "/live/events"), open_stream(port, f"/live/{call.trace_id}/{call.span_id}/steps")]
        start = time.monotonic()
        assert receiver.stop(signal.SIGTERM) == 0
        assert time.monotonic() - start < 5
        for stream in streams:
            stream.close()
    assert "stopped; what was acknowledged is stored" in receiver.log.read_text()
    assert "Traceback" not in receiver.log.read_text()


@pytest.mark.acceptance
def test_elsewhere_a_receiver_shows_nothing_without_the_token(tmp_path: Path) -> None:
    told = ("--dashboard", "--dashboard-port", "0", "--dashboard-host", "0.0.0.0")
    with collecting(tmp_path, *told) as receiver:
        found = re.search(r"dashboard at http://localhost:(\d+)/\?token=(\S{32})\n", receiver.log.read_text())
        assert found is not None, receiver.log.read_text()
        assert get(int(found[1]), "/live")[0] == 401
        assert get(int(found[1]), "/live", Authorization=f"Bearer {found[2]}")[0] == 200
        assert receiver.stop() == 0


@pytest.mark.acceptance
def test_a_dashboard_ends_by_ctrl_c(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path / "runs.db")
    StepLogs(telemetry).step()
    telemetry.close()
    with dashboard(tmp_path / "runs.db", tmp_path) as served:
        stream = open_stream(int(served.address.rpartition(":")[2]), "/live/events")
        code, seconds = served.stop(signal.SIGINT)
        assert (code, seconds < 3) == (0, True), served.log.read_text()
        stream.close()
    assert served.log.read_text().endswith("stopped\n")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("dashboard", "--port"), "--port"),
        (("collect", "--port", "0", "--grpc-port", "0", "--dashboard", "--dashboard-port"), "--dashboard-port"),
    ],
)
def test_a_port_that_somebody_has_is_named(cli: Cli, command: tuple[str, ...], option: str) -> None:
    cli.store(make_spans(1))
    with socket.create_server((HERE, 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = cli(*command, str(port), "--db", str(cli.db))
    assert code != 0
    assert f"{option} {port}: cannot listen on 127.0.0.1 (Address already in use); stop what listens there" in err


def test_an_address_that_there_is_not_is_named(cli: Cli) -> None:
    code, _, err = cli(
        "collect", "--port", "0", "--grpc-port", "0", "--dashboard", "--dashboard-host", "no.such.invalid"
    )
    assert code != 0
    assert "--dashboard-host no.such.invalid: no such address" in err


def test_a_token_that_no_header_carries_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COREVITAL_DASHBOARD_TOKEN", "two words")
    code, _, err = cli("collect", "--dashboard", "--port", "0", "--grpc-port", "0")
    assert code != 0
    assert "COREVITAL_DASHBOARD_TOKEN: may only hold ASCII" in err
