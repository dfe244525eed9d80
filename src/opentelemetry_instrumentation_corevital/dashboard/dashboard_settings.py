"""What `corevital dashboard` was told."""

from dataclasses import dataclass

DEFAULT_PORT = 4419


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """What a dashboard shows, and to whom.

    Attributes:
        store: the file or URL that `open_store` takes.
        host: the address that it listens on.
        port: its port; 0: any free one.
        token: who knows it may look; None: everybody who reaches the port.
        allow_labels: whether labels may be written: all that a page can change.
        allowed_hosts: names of this machine by which browsers may come, beside its addresses and localhost.
    """

    store: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = None
    allow_labels: bool = False
    allowed_hosts: tuple[str, ...] = ()
