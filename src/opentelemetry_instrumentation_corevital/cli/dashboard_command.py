"""`corevital dashboard`: the runs of a store in a browser."""

import secrets
import webbrowser
from typing import Annotated

import typer

from .._internal.ports import is_loopback
from .._internal.unknown_variables import DASHBOARD_TOKEN_ENV
from .._internal.user_error import UserError
from .options import Database, Host, checked_token, database
from .printing import echo

DashboardPort = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")]
DashboardToken = Annotated[
    str | None,
    typer.Option(
        envvar=DASHBOARD_TOKEN_ENV,
        help="Only show pages to who has it; better in the variable, since others see options. "
        "Without one, other machines need a token that is made up and printed.",
    ),
]
AllowedHost = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", metavar="NAME", help="Name by which browsers come; may be given more than once."),
]
AllowLabels = Annotated[bool, typer.Option("--allow-labels", help="Let pages label runs: all that they can change.")]
Open = Annotated[bool, typer.Option("--open", help="Open it in a browser.")]


def dashboard(
    db: Database = None,
    host: Host = "127.0.0.1",
    port: DashboardPort = 4419,
    token: DashboardToken = None,
    allowed_host: AllowedHost = None,
    allow_labels: AllowLabels = False,
    open_browser: Open = False,
) -> None:
    """Show the stored runs in a browser, until it is told to stop (Ctrl-C, SIGTERM).

    Needs the extra `dashboard`.

    Example: corevital dashboard --open
    """
    token = checked_token(token)
    made_up = token is None and not is_loopback(host)
    if made_up:
        token = secrets.token_urlsafe(24)
    try:
        from ..dashboard.dashboard_server import serve
        from ..dashboard.dashboard_settings import DashboardSettings
    except ModuleNotFoundError as error:
        raise UserError(
            f"`corevital dashboard` needs {error.name}: "
            "pip install 'opentelemetry-instrumentation-corevital[dashboard]'"
        ) from None
    settings = DashboardSettings(database(db), host, port, token, allow_labels, tuple(allowed_host or ()))

    def started(bound_port: int) -> None:
        address = f"http://{_shown_host(host)}:{bound_port}/"
        echo(f"{settings.store} at {address}{f'?token={token}' if made_up else ''}", err=True)
        if open_browser and not webbrowser.open(f"{address}?token={token}" if token else address):
            echo("--open: there is no browser here; open the address yourself", err=True)

    serve(settings, started)
    echo("stopped", err=True)


def _shown_host(host: str) -> str:
    """Return a host that a browser on this machine reaches."""
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
