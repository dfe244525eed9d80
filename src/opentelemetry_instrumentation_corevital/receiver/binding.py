"""The certificate with which the receiver listens."""

import ssl
from dataclasses import dataclass
from typing import Final

from .._internal.file_io import read_any

_MOST_PEM_BYTES: Final = 1 << 20


class ReceiverError(Exception):
    """The receiver cannot start; the message names the option and says what to do."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of a certificate (with its chain) and of its key, both in PEM."""

    certificate: str
    key: str

    def read(self) -> "TlsContexts":
        """Return what they hold.

        Raises:
            ReceiverError: if they cannot be read, or do not belong together.
        """
        for option, path in (("--tls-cert", self.certificate), ("--tls-key", self.key)):
            try:
                read_any(path, _MOST_PEM_BYTES)
            except OSError as error:
                raise ReceiverError(f"{option} {path}: cannot be read ({error.strerror}).") from None
        http, grpc = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
        grpc.set_alpn_protocols(["h2"])
        try:
            for context in (http, grpc):
                context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or str(error)
            raise ReceiverError(
                f"--tls-cert {self.certificate}, --tls-key {self.key}: cannot be used ({reason}); "
                "give a certificate and its key without a password, both in PEM."
            ) from None
        return TlsContexts(http, grpc)


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """What a certificate and its key make possible."""

    http: ssl.SSLContext
    grpc: ssl.SSLContext
    """Which speaks HTTP/2 only."""


def _no_password() -> bytes:
    raise ValueError("the key needs a password")
