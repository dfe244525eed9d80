"""The command `corevital collect`: what it says when it cannot start, and how it ends."""

import builtins
import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.collect_process import EXPORT, PROTOBUF, collecting, spans_request
from tests.support.command_line import Cli
from tests.support.spans import rows, run_code


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path, capsys)


def refused(cli: Cli, *arguments: str) -> str:
    """Return the error of a command that a user can mend."""
    code, out, err = cli("collect", "--db", "store.db", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1, err
    return err


@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
def test_a_port_in_use(cli: Cli, option: str) -> None:
    other = {"--port": "--grpc-port", "--grpc-port": "--port"}[option]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused(cli, option, str(port), other, "0")
    assert f"{option} {port}: cannot listen on 127.0.0.1 (Address already in use)" in error


def test_both_ports_the_same(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert f"--grpc-port {port}: cannot listen" in refused(cli, "--port", str(port), "--grpc-port", str(port))


def test_a_host_that_is_none(cli: Cli) -> None:
    assert "--host no.such.host.invalid: no such address" in refused(cli, "--host", "no.such.host.invalid")
    assert "--port 0: cannot listen on 192.0.2.1" in refused(cli, "--host", "192.0.2.1", "--port", "0")


def test_certificates(cli: Cli, tmp_path: Path) -> None:
    assert "--tls-cert and --tls-key go together" in refused(cli, "--tls-cert", "cert.pem")
    assert "--tls-cert cert.pem: cannot be read (No such file" in refused(
        cli, "--tls-cert", "cert.pem", "--tls-key", "key.pem"
    )
    (tmp_path / "cert.pem").write_text("nonsense")
    assert "--tls-key key.pem: cannot be read" in refused(cli, "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    (tmp_path / "key.pem").write_text("nonsense")
    error = refused(cli, "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    assert "cannot be used" in error
    assert "both in PEM" in error


def test_an_empty_token(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--token: is empty" in refused(cli, "--token", " ")


@pytest.mark.parametrize("token", ["two words", "schlüssel", "a\nb", "\udcff"])
def test_a_token_that_no_header_can_carry(cli: Cli, token: str) -> None:
    assert "--token: may only hold ASCII letters" in refused(cli, "--token", token)


def test_the_help_names_the_extra_and_the_variable(cli: Cli) -> None:
    code, out, _ = cli("collect", "--help")
    assert code == 0
    for word in ("`collect`", "COREVITAL_COLLECT_TOKEN", "corevital collect --db fleet.db", "4418", "4417"):
        assert word in out, word


def test_a_store_that_cannot_be_written(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    assert "store.db: is a folder" in refused(cli)
    (tmp_path / "store.db").rmdir()
    (tmp_path / "store.db").write_text("not a database, but long enough to look like a file of somebody else's")
    assert "store.db: is not an SQLite database" in refused(cli)


def test_without_the_extra(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "receiver.binding":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert "needs uvicorn: pip install 'opentelemetry-instrumentation-corevital[collect]'" in refused(cli)


def test_needs_neither_torch_nor_transformers() -> None:
    result = run_code(
        """
        import sys
        sys.modules["torch"] = sys.modules["transformers"] = None
        import opentelemetry_instrumentation_corevital.cli.app
        import opentelemetry_instrumentation_corevital.receiver.server
        """
    )
    assert result.returncode == 0, result.stderr


def test_an_open_address_without_a_token_is_told(tmp_path: Path) -> None:
    with collecting(tmp_path, "--host", "0.0.0.0") as receiver:
        assert "anybody who reaches these ports can store here" in receiver.log.read_text()
    with collecting(tmp_path, "--host", "0.0.0.0", environment={"COREVITAL_COLLECT_TOKEN": "x"}) as receiver:
        assert "anybody" not in receiver.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_under_way_gets_its_answer_before_the_end(tmp_path: Path, number: signal.Signals) -> None:
    body = spans_request(5).SerializeToString()
    with collecting(tmp_path) as receiver:
        idle = socket.create_connection(("127.0.0.1", receiver.http))  # does not hold up the end
        connection = http.client.HTTPConnection("127.0.0.1", receiver.http, timeout=30)
        connection.putrequest("POST", "/v1/traces")
        connection.putheader("content-type", PROTOBUF)
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body[:50])
        time.sleep(0.3)
        code: list[int] = []
        stopping = threading.Thread(target=lambda: code.append(receiver.stop(number)))
        stopping.start()
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", receiver.http), timeout=1).close()
        connection.send(body[50:])
        assert connection.getresponse().status == 200
        connection.close()
        stopping.join(30)
        idle.close()
        assert code == [0]
    assert rows(receiver.db, "SELECT count(*) FROM spans") == [(5,)]


def test_a_call_under_way_gets_its_answer_before_the_end(tmp_path: Path) -> None:
    body = spans_request(5).SerializeToString()
    told = threading.Event()

    def slowly() -> Iterator[bytes]:
        told.wait(20)
        yield body

    with collecting(tmp_path) as receiver, grpc.insecure_channel(f"127.0.0.1:{receiver.grpc}") as channel:
        call = channel.stream_unary(EXPORT).future(slowly(), timeout=30)
        time.sleep(0.5)
        receiver.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        told.set()
        assert call.result() == b""
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(EXPORT)(body, timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert receiver.process.wait(30) == 0
    assert rows(receiver.db, "SELECT count(*) FROM spans") == [(5,)]
