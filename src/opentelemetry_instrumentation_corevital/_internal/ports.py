"""Opening a port to listen on, with an error that names the option."""

import ipaddress
import os
import socket

from .user_error import UserError


def listen(option: str, host: str, port: int, *, host_option: str = "--host") -> socket.socket:
    """Return the listening socket of a protocol, whose port and host these options give.

    Raises:
        UserError: if there can be none.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=512)
        # Connections inherit it. asyncio sets it for sockets that name their protocol only; without it each answer
        # waits 40 ms for the acknowledgement of its headers.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except socket.gaierror as error:
        raise UserError(f"{host_option} {host}: no such address ({error.strerror}).") from None
    except (OSError, OverflowError) as error:
        raise UserError(_unusable(option, host, port, error)) from None


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unusable(option: str, host: str, port: int, error: Exception) -> str:
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error)[:100]
    return f"{option} {port}: cannot listen on {host} ({reason}); stop what listens there, or choose another."
