"""The receiver as a process: two listening sockets, one store, and an orderly end."""

import asyncio
import contextlib
import signal as signals
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import uvicorn

from .._internal.ports import listen
from ..store.database import open_database
from ..store.retention import Retention
from ..store.writer import StoreWriter
from .admission import Admission
from .bearer_token import TokenCheck
from .binding import Tls, TlsContexts
from .grpc_gate import Gate
from .grpc_service import GrpcService
from .http_connections import protocol
from .http_service import HttpService
from .intake import Intake
from .prometheus_statistics import Statistics
from .sender_limits import Limits

_CLOSING_SECONDS: Final = 5.0
"""Of those for which the process may still live once it is told to stop, these are for the store and the workers."""
_MARGIN_SECONDS: Final = 1.0
_FILES: Final = 4096


@dataclass(frozen=True, slots=True)
class ReceiverOptions:
    """What `corevital collect` was told."""

    path: str
    host: str = "127.0.0.1"
    port: int = 4418
    grpc_port: int = 4417
    token: str | None = None
    tls: Tls | None = None
    retention: Retention | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class BoundAddresses:
    """The addresses that a receiver listens on: with port 0 the system chooses one."""

    host: str
    port: int
    grpc_port: int


def serve(options: ReceiverOptions, started: Callable[[BoundAddresses], None]) -> bool:
    """Receive until the process is told to stop by SIGTERM or SIGINT; what was acknowledged is in the store then.

    Args:
        options: where to listen and what to do.
        started: called once both protocols are answered.

    Returns:
        whether all threads are at their end. If not, one is still at a request that nobody waits for any more, and
        keeps an ordinary end of the process waiting.

    Raises:
        UserError: if a port cannot be used.
        ReceiverError: if a certificate cannot be used.
        StoreError: if the store cannot be written.
    """
    open_database(options.path).close()
    _allow_files()
    pair = options.tls.read() if options.tls else None
    return asyncio.run(_serve(options, pair, started))


async def _serve(options: ReceiverOptions, pair: TlsContexts | None, started: Callable[[BoundAddresses], None]) -> bool:
    limits, loop, stop = options.limits, asyncio.get_running_loop(), asyncio.Event()
    writer = StoreWriter(options.path, patience=limits.locked_seconds, synchronous="FULL", retention=options.retention)
    admission = Admission(Intake(writer, limits), limits, Statistics())
    guard, gate = TokenCheck(options.token), Gate(limits)
    listeners = list[socket.socket]()
    try:
        listeners.append(listen("--port", options.host, options.port))
        listeners.append(listen("--grpc-port", options.host, options.grpc_port))
        rpc = GrpcService(admission, guard, gate)
        web = _Server(_configuration(HttpService(admission, guard), limits, pair, guard))
        await rpc.server.start()
        await gate.open(listeners[1], pair.grpc if pair else None)
        serving = asyncio.create_task(web.serve(sockets=listeners[:1]))
        while not web.started and not serving.done():
            await asyncio.sleep(0.01)
        with _on_signals(lambda: loop.call_soon_threadsafe(stop.set)):
            started(BoundAddresses(options.host, *(listener.getsockname()[1] for listener in listeners)))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait((stopped, serving), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            end = loop.time() + limits.stop_seconds - _MARGIN_SECONDS
            admission.stopping = web.should_exit = True
            gate.stop()
            await asyncio.gather(serving, rpc.server.stop(_answering(limits)))
            idle = await asyncio.to_thread(admission.close, max(0.0, end - loop.time()) / 2)
            await asyncio.to_thread(writer.close, max(1.0, end - loop.time()))
            return idle
    finally:
        gate.close()
        for listener in listeners:
            listener.close()


def _allow_files() -> None:
    """Allow as many open files as there may be connections: without one, nothing is accepted for a second."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # as many as the system allows, then
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _answering(limits: Limits) -> int:
    """Return for how many seconds requests under way may still be answered at the end."""
    return max(1, int(limits.stop_seconds - _CLOSING_SECONDS))


class _Server(uvicorn.Server):
    """uvicorn's server; signals are ours, since two servers stop together."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _configuration(web: HttpService, limits: Limits, pair: TlsContexts | None, guard: TokenCheck) -> uvicorn.Config:
    return uvicorn.Config(
        web.app,
        http=protocol(limits, pair.http if pair else None, guard),
        interface="asgi3",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # anybody can send what is not HTTP
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(limits.idle_seconds),
        timeout_graceful_shutdown=_answering(limits),
    )


@contextmanager
def _on_signals(told: Callable[[], Any]) -> Iterator[None]:
    """Call `told` at the first SIGTERM or SIGINT; the second one ends the process as it would anyway."""
    before = {each: signals.getsignal(each) for each in (signals.SIGTERM, signals.SIGINT)}

    def handle(_number: int, _frame: Any) -> None:
        for each, handler in before.items():
            signals.signal(each, handler)
        told()

    for each in before:
        signals.signal(each, handle)
    try:
        yield
    finally:
        for each, handler in before.items():
            signals.signal(each, handler)
