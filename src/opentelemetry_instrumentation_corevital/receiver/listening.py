"""Where the receiver listens, and its certificate."""

import os
import socket
import ssl
from dataclasses import dataclass
from typing import Final

import grpc

from ..file_io import read_any


class ReceiverError(Exception):
    """The receiver cannot start; the message names the option and says what to do."""


_MOST_PEM_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of a certificate (with its chain) and of its key, both in PEM."""

    certificate: str
    key: str

    def read(self) -> "Pair":
        """Return what they hold.

        Raises:
            ReceiverError: if they cannot be read, or do not belong together.
        """
        contents = []
        for option, path in (("--tls-cert", self.certificate), ("--tls-key", self.key)):
            try:
                contents.append(read_any(path, _MOST_PEM_BYTES))
            except OSError as error:
                raise ReceiverError(f"{option} {path}: cannot be read ({error.strerror}).") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or str(error)
            raise ReceiverError(
                f"--tls-cert {self.certificate}, --tls-key {self.key}: cannot be used ({reason}); "
                "give a certificate and its key without a password, both in PEM."
            ) from None
        return Pair(contents[0], contents[1], context)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key: as bytes for gRPC, as a context for HTTP."""

    certificate: bytes
    key: bytes
    context: ssl.SSLContext


def listen(host: str, port: int) -> socket.socket:
    """Return the listening socket of HTTP.

    Raises:
        ReceiverError: if there can be none.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=512)
    except socket.gaierror as error:
        raise ReceiverError(f"--host {host}: no such address ({error.strerror}).") from None
    except (OSError, OverflowError) as error:
        raise ReceiverError(_unusable("--port", host, port, error)) from None


def bind_grpc(server: grpc.aio.Server, address: str, port: int, pair: Pair | None) -> int:
    """Have a gRPC server listen and return the port.

    Raises:
        ReceiverError: if it cannot.
    """
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        # gRPC's own message is a page; the system's reason is told by a socket that is closed at once.
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        socket.create_server((address, port), family=family).close()
        if pair is None:
            return int(server.add_insecure_port(where))
        credentials = grpc.ssl_server_credentials([(pair.key, pair.certificate)])
        return int(server.add_secure_port(where, credentials))
    except (OSError, OverflowError, RuntimeError) as error:
        raise ReceiverError(_unusable("--grpc-port", address, port, error)) from None


def _unusable(option: str, host: str, port: int, error: Exception) -> str:
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error)[:100]
    return f"{option} {port}: cannot listen on {host} ({reason}); stop what listens there, or choose another."


def _no_password() -> bytes:
    raise ValueError("the key needs a password")
