"""`corevital dashboard`: the runs of a store in a browser."""

import os
import secrets
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from .._internal.ports import is_loopback
from .._internal.unknown_variables import DASHBOARD_TOKEN_ENV
from .._internal.user_error import UserError
from .options import Database, Host, checked_token, database
from .printing import echo

DashboardPort = Annotated[int, typer.Option(min=0, max=65535, help="Port of the pages; 0: any free one.")]
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
    server = _server("`corevital dashboard`")
    token, made_up = _chosen(token, host)
    settings = server.DashboardSettings(database(db), host, port, token, allow_labels, tuple(allowed_host or ()))

    def started(bound_port: int) -> None:
        address = _address(host, bound_port)
        echo(f"{settings.store} at {address}{f'?token={token}' if made_up else ''}", err=True)
        if open_browser and not webbrowser.open(f"{address}?token={token}" if token else address):
            echo("--open: there is no browser here; open the address yourself", err=True)

    server.serve(settings, started)
    echo("stopped", err=True)


@contextmanager
def dashboard_beside(store: str, host: str, port: int) -> Iterator[None]:
    """Show a store in a browser, in a thread of its own, while the block does what its command is for.

    Args:
        store: the file.
        host: where the dashboard listens.
        port: its port; 0: any free one.

    Raises:
        UserError: if it cannot listen there, or the extra is not installed.
    """
    server = _server("--dashboard")
    token, made_up = _chosen(os.environ.get(DASHBOARD_TOKEN_ENV) or None, host, DASHBOARD_TOKEN_ENV)
    settings = server.DashboardSettings(store, host, port, token)
    with server.serving_beside(settings, "--dashboard-port", "--dashboard-host") as bound_port:
        echo(f"dashboard at {_address(host, bound_port)}{f'?token={token}' if made_up else ''}", err=True)
        yield


def _server(who: str) -> Any:
    """Return the module that serves pages.

    Raises:
        UserError: if the extra is not installed.
    """
    try:
        from ..dashboard import dashboard_server
    except ModuleNotFoundError as error:
        raise UserError(
            f"{who} needs {error.name}: pip install 'opentelemetry-instrumentation-corevital[dashboard]'"
        ) from None
    return dashboard_server


def _chosen(token: str | None, host: str, option: str = "--token") -> tuple[str | None, bool]:
    """Return the token that pages need, and whether it was made up: other machines never come in without one."""
    token = checked_token(token, option)
    made_up = token is None and not is_loopback(host)
    return (secrets.token_urlsafe(24) if made_up else token), made_up


def _address(host: str, port: int) -> str:
    return f"http://{_shown_host(host)}:{port}/"


def _shown_host(host: str) -> str:
    """Return a host that a browser on this machine reaches."""
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
