"""The dashboard as a process: one listening socket, until it is told to stop."""

import asyncio
import signal as signals
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from .._internal.ports import listen
from ..store.opening import open_store
from .application import application
from .dashboard import Dashboard
from .dashboard_settings import DashboardSettings

_STOP_SECONDS: Final = 3
"""For how long requests under way may still be answered at the end."""


def serve(settings: DashboardSettings, started: Callable[[int], None]) -> None:
    """Serve pages until SIGTERM or SIGINT.

    Args:
        settings: what to serve, and where.
        started: called with the port once pages are answered.

    Raises:
        StoreError: if the store cannot be read.
        UserError: if the port cannot be used.
    """
    open_store(settings.store).close()
    asyncio.run(_serve(settings, started))


async def _serve(settings: DashboardSettings, started: Callable[[int], None]) -> None:
    listener = listen("--port", settings.host, settings.port)
    server = _OurServer(settings)
    with _stopped_by_signals(server):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if not serving.done():
            started(_port(listener))
        await serving


@contextmanager
def serving_beside(settings: DashboardSettings, port_option: str, host_option: str) -> Iterator[int]:
    """Serve pages in a thread of its own while a block does something else; give the port.

    Args:
        settings: what to serve, and where.
        port_option: what errors call the port.
        host_option: what they call the address.

    Raises:
        UserError: if the port cannot be used.
    """
    listener = listen(port_option, settings.host, settings.port, host_option=host_option)
    server = _OurServer(settings)
    serving = threading.Thread(target=server.run, args=([listener],), name="corevital-dashboard", daemon=True)
    serving.start()
    try:
        while not server.started and serving.is_alive():
            time.sleep(0.01)
        yield _port(listener)
    finally:
        server.should_exit = True
        serving.join(_STOP_SECONDS + 1)
        listener.close()


class _OurServer(uvicorn.Server):
    """uvicorn's server; who starts it decides what ends it, and pages that stay open do not keep it."""

    def __init__(self, settings: DashboardSettings) -> None:
        self._dashboard = Dashboard(settings)
        super().__init__(_configuration(application(settings, self._dashboard)))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let go of the pages that stay open, and end."""
        self._dashboard.stop()
        await super().shutdown(sockets)


def _configuration(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        interface="asgi3",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


@contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    def stop(*_: object) -> None:
        server.should_exit = True

    before = {number: signals.signal(number, stop) for number in (signals.SIGTERM, signals.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(ValueError, TypeError):
                signals.signal(number, handler)


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port
