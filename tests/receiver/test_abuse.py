"""Senders that mean harm: they are turned away, memory stays bounded, and everybody else is served meanwhile."""

import contextlib
import gzip
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tests.support.collect_process import EXPORT, Collecting, collecting, spans_request
from tests.support.hostile_requests import MIB, bombs, post_head, pour, zeros

MOST_GROWTH = 1024 * MIB
"""Of memory, whatever comes. docs/results/receiver.md has what was measured."""


def limited(**limits: float) -> str:
    """Return code that runs a receiver with other limits."""
    changes = ", ".join(f"{name}={value}" for name, value in limits.items())
    return (
        "import dataclasses\n"
        "from opentelemetry_instrumentation_corevital.receiver import sender_limits, server\n"
        "serve = server.serve\n"
        f"changed = sender_limits.Limits({changes})\n"
        "server.serve = lambda options, started: serve(dataclasses.replace(options, limits=changed), started)\n"
    )


def served(receiver: Collecting) -> bool:
    return receiver.post(spans_request(1).SerializeToString())[0] == 200


def closed_after(connection: socket.socket, most: float = 10.0) -> float:
    """Return after how many seconds the other side closes."""
    started = time.monotonic()
    connection.settimeout(most)
    with contextlib.suppress(ConnectionError):
        while connection.recv(65_536):
            pass
    return time.monotonic() - started


def is_open(connection: socket.socket) -> bool:
    """Tell whether the other side has not closed."""
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        pass
    return False


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collecting]:
    """A receiver that waits for a second only, and takes ten connections."""
    code = limited(header_seconds=1, idle_seconds=1.5, read_seconds=1, strangers=10, stranger_seconds=0.1, grpc_reads=2)
    with collecting(tmp_path_factory.mktemp("hasty"), code=code) as running:
        yield running


def test_connections_that_ask_for_nothing_are_closed(hasty: Collecting) -> None:
    with socket.create_connection(("127.0.0.1", hasty.http)) as silent:
        assert 0.5 < closed_after(silent) < 3
    with socket.create_connection(("127.0.0.1", hasty.http)) as slow:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in post_head(5):  # a byte now and then keeps other servers waiting for good
                slow.sendall(bytes([byte]))
                time.sleep(0.1)
        assert time.monotonic() - started < 3
    assert served(hasty)


def test_a_body_that_does_not_come_is_not_waited_for(hasty: Collecting) -> None:
    with socket.create_connection(("127.0.0.1", hasty.http), timeout=10) as slow:
        slow.sendall(post_head(1000) + b"x")
        started, answer = time.monotonic(), slow.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        assert time.monotonic() - started < 3
        with contextlib.suppress(ConnectionError):
            for _ in range(30):  # it goes on, and nobody listens
                slow.sendall(b"x")
                time.sleep(0.1)
        assert closed_after(slow) < 1
    assert served(hasty)


def test_one_connection_too_many_is_closed_and_others_come_in_again(hasty: Collecting) -> None:
    many = [socket.create_connection(("127.0.0.1", hasty.http)) for _ in range(30)]
    time.sleep(0.3)
    assert sum(map(is_open, many)) == 10
    time.sleep(1.2)
    assert served(hasty)
    for connection in many:
        connection.close()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_handshakes_count_and_do_not_last(tmp_path: Path, certificate: tuple[Path, Path], protocol: str) -> None:
    options = ("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
    with collecting(tmp_path, *options, code=limited(header_seconds=2, strangers=10, stranger_seconds=0.1)) as receiver:
        port, context = getattr(receiver, protocol), ssl.create_default_context(cafile=str(certificate[0]))
        with contextlib.ExitStack() as stack:
            many = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(30)]
            time.sleep(0.5)
            assert sum(map(is_open, many)) == 10
            time.sleep(2.5)
            assert sum(map(is_open, many)) == 0
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert closed_after(plain) < 3
        for _ in range(30):  # they make room again
            with (
                socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
                context.wrap_socket(connection, server_hostname="127.0.0.1"),
            ):
                pass
            time.sleep(0.02)


def test_what_is_no_tls_is_not_worth_a_line(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    with collecting(tmp_path, "--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1])) as receiver:
        for port in (receiver.http, receiver.grpc):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert closed_after(plain) < 3
        assert receiver.stop() == 0
        assert receiver.log.read_text().count("\n") == 2  # where it listens, and that it stopped


def test_a_request_right_behind_the_handshake(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    options = ("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
    body = spans_request(1).SerializeToString()
    with collecting(tmp_path, *options) as receiver:
        context = ssl.create_default_context(cafile=str(certificate[0]))
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(coming, going, server_hostname="127.0.0.1")
        with socket.create_connection(("127.0.0.1", receiver.http), timeout=10) as connection:
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            connection.sendall(going.read())
            while True:
                coming.write(connection.recv(65_536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                    break
            client.write(post_head(len(body)) + body)
            connection.sendall(going.read())  # the handshake's last message and the request in one piece
            answer = b""
            while b"\r\n\r\n" not in answer:
                coming.write(connection.recv(65_536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    answer += client.read(65_536)
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_grpc_messages_that_do_not_come_make_room(hasty: Collecting) -> None:
    def never() -> Iterator[bytes]:
        time.sleep(8)
        yield b""

    own = [("grpc.use_local_subchannel_pool", 1)]
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{hasty.grpc}", own)) for _ in range(3)]
        slow = [each.stream_unary(EXPORT).future(never(), timeout=20) for each in channels[:2]]
        time.sleep(0.3)
        started = time.monotonic()
        assert channels[2].unary_unary(EXPORT)(spans_request(1).SerializeToString(), timeout=10) == b""
        assert time.monotonic() - started < 3
        for call in slow:
            assert call.code() is grpc.StatusCode.UNAVAILABLE
            assert call.details() == "the message did not come in time."


def test_what_is_no_http_at_all(hasty: Collecting) -> None:
    for nonsense in (b"\x00" * 100_000, b"GET / HTTP/9.9\r\n\r\n", b"x" * 200_000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        connection = socket.create_connection(("127.0.0.1", hasty.http), timeout=5)
        with connection, contextlib.suppress(ConnectionError):
            connection.sendall(nonsense)
            answer = connection.recv(65_536)
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")) or not answer
    with socket.create_connection(("127.0.0.1", hasty.grpc), timeout=5) as connection:
        connection.sendall(b"x" * 10_000)
        assert closed_after(connection) < 5
    with socket.create_connection(("127.0.0.1", hasty.grpc), timeout=10) as silent:
        assert closed_after(silent) < 9
    assert served(hasty)


def test_bodies_in_tiny_chunks_keep_nobody_waiting(tmp_path: Path) -> None:
    """Each costs what a large one does: 256 KiB of them, parsed in one go, took a second of everybody's time."""
    chunks = b"1\r\nx\r\n" * 50_000
    with collecting(tmp_path, environment={"COREVITAL_COLLECT_TOKEN": "s3cret"}) as receiver:
        busy = receiver.processor_seconds
        with socket.create_connection(("127.0.0.1", receiver.http), timeout=5) as stranger:
            stranger.sendall(post_head(None))
            said = b""
            stranger.settimeout(0.5)
            with contextlib.suppress(OSError):
                for _ in range(40):
                    stranger.sendall(chunks)
            with contextlib.suppress(OSError):
                said = stranger.recv(4096)
        assert said.startswith(b"HTTP/1.1 401 ")
        assert receiver.processor_seconds - busy < 2
        body = spans_request(1).SerializeToString()
        assert receiver.post(body, authorization="Bearer s3cret")[0] == 200
    with collecting(tmp_path / ".") as receiver:  # whoever may send is read to the end
        body = spans_request(30).SerializeToString()
        packed = b"".join(b"1\r\n%b\r\n" % bytes([byte]) for byte in body) + b"0\r\n\r\n"
        with socket.create_connection(("127.0.0.1", receiver.http), timeout=20) as sender:
            sender.sendall(post_head(None) + packed)
            assert sender.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_the_end_does_not_wait_for_a_worker_that_has_none(tmp_path: Path) -> None:
    stuck = "from opentelemetry_instrumentation_corevital.receiver import admission\n"
    stuck += "def forever(*_):\n    while True:\n        pass\n"
    stuck += "admission._unpacked = forever\n"
    with collecting(tmp_path, code=stuck + limited(stop_seconds=7)) as receiver:
        assert served(receiver)
        body = gzip.compress(spans_request(1).SerializeToString())
        with ThreadPoolExecutor(2) as pool:
            for _ in range(2):
                pool.submit(receiver.post, body, content_encoding="gzip")  # which breaks off
            time.sleep(1)
            began = time.monotonic()
            assert receiver.stop() == 0
            assert time.monotonic() - began < 9
        assert "what was acknowledged is stored" in receiver.log.read_text()


@pytest.mark.acceptance
def test_a_wrong_token_does_not_send_a_body(tmp_path: Path) -> None:
    with collecting(tmp_path, environment={"COREVITAL_COLLECT_TOKEN": "s3cret"}) as receiver:
        before = receiver.resident
        for _ in range(3):
            said = pour(receiver.http, 256 * MIB, chunked=False)
            assert not said or said.startswith(b"HTTP/1.1 401 ")
        print(f"memory grew by {(receiver.peak - before) / MIB:.1f} MiB at most")
        assert receiver.peak - before < 16 * MIB


@pytest.mark.acceptance
def test_bodies_of_a_gigabyte(tmp_path: Path) -> None:
    with collecting(tmp_path) as receiver:
        assert served(receiver)
        before = receiver.resident
        for chunked in (False, True):
            said = pour(receiver.http, 1024 * MIB, chunked=chunked)
            assert not said or said.startswith(b"HTTP/1.1 413 ")
        code, _, _ = receiver.post(zeros(1024 * MIB), content_encoding="gzip")
        assert code == 413
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc}", options) as channel:
            for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(EXPORT)(bytes(1024 * MIB), compression=compression, timeout=60)
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        print(f"memory grew by {(receiver.peak - before) / MIB:.0f} MiB at most")
        assert receiver.peak - before < 200 * MIB
        assert served(receiver)


@pytest.mark.acceptance
def test_bodies_that_burst(tmp_path: Path) -> None:
    with collecting(tmp_path) as receiver:
        assert served(receiver)
        before = receiver.resident
        for name, body, kind in bombs():
            packed = gzip.compress(body, 1)
            started, busy = time.monotonic(), receiver.processor_seconds

            def send(_: int, packed: bytes = packed, kind: str = kind) -> int:
                return receiver.post(packed, kind=kind, content_encoding="gzip")[0]

            with ThreadPoolExecutor(4) as pool:  # large ones wait for each other, or are told to come again
                codes = sorted(pool.map(send, range(4)))
            busy = receiver.processor_seconds - busy
            print(
                f"{name}: {len(packed) / 1024:.0f} KiB are {len(body) / MIB:.0f} MiB, {codes}, {busy:.1f} s of a "
                f"processor in {time.monotonic() - started:.0f} s, at most {receiver.peak / MIB:.0f} MiB of memory"
            )
            assert set(codes) <= {200, 400, 413, 429, 503}, name
            assert busy < 4 * 30, name
            assert receiver.peak - before < MOST_GROWTH, name
        assert served(receiver)
