"""`corevital collect`: a receiver of OTLP that stores what other processes and Collectors send."""

import logging
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from .._internal.ports import is_loopback
from .._internal.unknown_variables import COLLECT_TOKEN_ENV
from .._internal.user_error import UserError
from ..config import load_settings
from ..doctor.redaction import RedactingFormatter
from ..store import Retention
from .dashboard_command import DashboardPort, dashboard_beside
from .options import Database, Host, checked_token, database_file
from .printing import echo

if TYPE_CHECKING:
    from ..receiver.server import BoundAddresses, ReceiverOptions

HttpPort = Annotated[int, typer.Option(min=0, max=65535, help="Port of OTLP over HTTP; 0: any free one.")]
GrpcPort = Annotated[int, typer.Option(min=0, max=65535, help="Port of OTLP over gRPC; 0: any free one.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar=COLLECT_TOKEN_ENV,
        help="Only take what comes with this bearer token; better in the variable, since others see options.",
    ),
]
TlsCertificate = Annotated[
    str | None, typer.Option(metavar="FILE", help="Certificate, with its chain, in PEM: both ports then speak TLS.")
]
ShowDashboard = Annotated[
    bool, typer.Option("--dashboard", help="Also show what is stored in a browser. Needs the extra `dashboard`.")
]
DashboardHost = Annotated[str, typer.Option(help="Address that the dashboard listens on.")]
TlsKey = Annotated[str | None, typer.Option(metavar="FILE", help="Key of the certificate, in PEM, without a password.")]


def collect(
    host: Host = "127.0.0.1",
    port: HttpPort = 4418,
    grpc_port: GrpcPort = 4417,
    db: Database = None,
    token: Token = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    dashboard: ShowDashboard = False,
    dashboard_host: DashboardHost = "127.0.0.1",
    dashboard_port: DashboardPort = 4419,
) -> None:
    """Receive OTLP over HTTP and gRPC and store it, until it is told to stop (Ctrl-C, SIGTERM).

    A request is acknowledged once it is on the disk. Needs the extra `collect`. The token of the dashboard is that of
    `corevital dashboard`: COREVITAL_DASHBOARD_TOKEN.

    Example: corevital collect --db fleet.db --dashboard
    """
    token = checked_token(token)
    if (tls_cert is None) != (tls_key is None):
        raise UserError("--tls-cert and --tls-key go together; give both or none.")
    # gRPC writes a line for each handshake that fails, and anybody can let one fail. It reads this when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from ..receiver.binding import ReceiverError, Tls
        from ..receiver.server import ReceiverOptions, serve
    except ModuleNotFoundError as error:
        raise UserError(
            f"`corevital collect` needs {error.name}: pip install 'opentelemetry-instrumentation-corevital[collect]'"
        ) from None
    settings = load_settings()
    options = ReceiverOptions(
        database_file(db),
        host,
        port,
        grpc_port,
        token,
        Tls(tls_cert, tls_key) if tls_cert and tls_key else None,
        Retention(settings.sqlite_retention_days, settings.sqlite_max_bytes),
    )
    _log_to_standard_error()
    shown = dashboard_beside(options.path, dashboard_host, dashboard_port) if dashboard else nullcontext()
    try:
        with shown:
            idle = serve(options, lambda bound: _tell(options, bound))
    except ReceiverError as error:
        raise UserError(str(error)) from None
    echo("stopped; what was acknowledged is stored", err=True)
    if not idle:
        os._exit(0)  # Python would wait for the thread, however long that takes


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def _tell(options: "ReceiverOptions", bound: "BoundAddresses") -> None:
    host = f"[{bound.host}]" if ":" in bound.host else bound.host
    scheme = "https" if options.tls else "http"
    echo(
        f"OTLP over HTTP at {scheme}://{host}:{bound.port}, over gRPC at {host}:{bound.grpc_port}, into {options.path}",
        err=True,
    )
    if options.token is None and not is_loopback(bound.host):
        echo(
            "anybody who reaches these ports can store here: set COREVITAL_COLLECT_TOKEN, and --tls-cert and --tls-key",
            err=True,
        )
