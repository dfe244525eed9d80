"""The receiver as a process: two listening sockets, one store, and an orderly end."""

import asyncio
import signal as signals
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from ..store.database import open_database
from ..store.retention import Retention
from ..store.writer import StoreWriter
from .connections import protocol
from .desk import Desk
from .intake import Intake
from .limits import Limits
from .listening import Pair, Tls, bind_grpc, listen
from .rpc import Rpc
from .statistics import Statistics
from .tokens import Guard
from .web import Web


@dataclass(frozen=True, slots=True)
class Options:
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
class Listening:
    """Where a receiver listens: with port 0 the system chooses one."""

    host: str
    port: int
    grpc_port: int


def serve(options: Options, started: Callable[[Listening], None]) -> None:
    """Receive until the process is told to stop by SIGTERM or SIGINT; what was acknowledged is in the store then.

    Args:
        options: where to listen and what to do.
        started: called once both protocols are answered.

    Raises:
        ReceiverError: if a port or a certificate cannot be used.
        StoreError: if the store cannot be written.
    """
    open_database(options.path).close()
    pair = options.tls.read() if options.tls else None
    asyncio.run(_serve(options, pair, started))


async def _serve(options: Options, pair: Pair | None, started: Callable[[Listening], None]) -> None:
    limits, loop, stop = options.limits, asyncio.get_running_loop(), asyncio.Event()
    writer = StoreWriter(options.path, patience=limits.locked_seconds, synchronous="FULL", retention=options.retention)
    desk = Desk(Intake(writer, limits), limits, Statistics())
    guard = Guard(options.token)
    listener = listen(options.host, options.port)
    try:
        address = listener.getsockname()[0]
        rpc = Rpc(desk, guard)
        grpc_port = bind_grpc(rpc.server, address, options.grpc_port, pair)
        web = _Server(_configuration(Web(desk, guard), limits, pair))
        await rpc.server.start()
        serving = asyncio.create_task(web.serve(sockets=[listener]))
        while not web.started and not serving.done():
            await asyncio.sleep(0.01)
        with _on_signals(lambda: loop.call_soon_threadsafe(stop.set)):
            started(Listening(options.host, listener.getsockname()[1], grpc_port))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait((stopped, serving), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            desk.stopping = web.should_exit = True
            await asyncio.gather(serving, rpc.server.stop(limits.stop_seconds))
            await asyncio.to_thread(desk.close)
            await asyncio.to_thread(writer.close)
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn's server; signals are ours, since two servers stop together."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _configuration(web: Web, limits: Limits, pair: Pair | None) -> uvicorn.Config:
    return uvicorn.Config(
        web.app,
        http=protocol(limits, pair.context if pair else None),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # anybody can send what is not HTTP
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(limits.idle_seconds),
        timeout_graceful_shutdown=int(limits.stop_seconds),
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
