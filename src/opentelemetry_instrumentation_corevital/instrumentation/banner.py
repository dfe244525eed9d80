"""One line at start-up, on standard error: CoreVital is on, how much is reported, and where runs go."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from .._internal.printable import one_line
from .._internal.safety import shielded
from . import child_processes

if TYPE_CHECKING:
    from ..config import Settings

_HELPERS: Final = ("from multiprocessing", "compile_worker")
"""In the command of a Python process that is a helper of the program: it generates nothing."""
_OTLP: Final = ("otlp", "otlp_proto_grpc", "otlp_proto_http")
_MOST: Final = 400

_told = False


def tell(settings: "Settings", *, zero_code: bool) -> None:
    """Print the line, once per process; children that were forked or spawned do not repeat it. Never raises.

    Args:
        settings: the option `banner` says whether.
        zero_code: whether `opentelemetry-instrument` starts the program, so that the environment says where runs go.
    """
    global _told  # noqa: PLW0603
    with shielded("banner"):
        if _told or not _wanted(settings, zero_code=zero_code):
            return
        _told = True
        mode = settings.capture + (", with content" if settings.content else "")
        where = _where(settings, os.environ) if zero_code else "runs go to this program's tracer provider"
        with suppress(OSError, ValueError):  # nobody reads it, or it was closed
            sys.stderr.write(f"CoreVital is on ({mode}): {one_line(where, _MOST)}\n")
            sys.stderr.flush()


def _wanted(settings: "Settings", *, zero_code: bool) -> bool:
    if settings.banner == "off" or sys.stderr is None or getattr(sys.stderr, "closed", False):
        return False
    if child_processes.is_child() or any(mark in argument for argument in sys.orig_argv for mark in _HELPERS):
        return False
    return settings.banner == "on" or (zero_code and sys.stderr.isatty())


def _where(settings: "Settings", environment: Mapping[str, str]) -> str:
    """Return where runs go, as the environment has it when OpenTelemetry is started."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "runs go nowhere, since OTEL_SDK_DISABLED=true"
    if file := environment.get("OTEL_CONFIG_FILE"):
        return f"runs go where {file} says"
    named = environment.get("OTEL_TRACES_EXPORTER", "").split(",")
    places = list(_places([name.strip() for name in named], settings, environment))
    if places:
        return f"runs go to {', '.join(dict.fromkeys(places))}"
    if any(name.strip() for name in named):
        return "runs go nowhere, since OTEL_TRACES_EXPORTER=none"
    return "runs go to the tracer provider that the program sets, if it does"


def _places(names: list[str], settings: "Settings", environment: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        if name == "corevital_console":
            yield "the console"
        elif name == "console":
            yield "the console as JSON"
        elif name == "corevital_sqlite":
            from ..store.exporters import path_of

            yield _short(path_of(settings))
        elif name in _OTLP:
            yield f"{_endpoint(name, environment)} (otlp)"
        elif name not in ("", "none"):
            yield name


def _endpoint(name: str, environment: Mapping[str, str]) -> str:
    """Return host and port of an OTLP endpoint; a user's name, a path and a query may hold secrets."""
    url = next(
        (found for part in ("TRACES_", "") if (found := environment.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT"))), ""
    )
    protocol = next(
        (found for part in ("TRACES_", "") if (found := environment.get(f"OTEL_EXPORTER_OTLP_{part}PROTOCOL"))), "grpc"
    )
    if not url:
        over_http = name.endswith("http") or (name == "otlp" and protocol.startswith("http"))
        return f"localhost:{4318 if over_http else 4317}"
    return (urlsplit(url).netloc or url.partition("/")[0]).rpartition("@")[2]


def _short(path: str) -> str:
    """Return a path with ~ for the home folder."""
    home = os.path.expanduser("~")
    return f"~{path[len(home) :]}" if home != os.sep and path.startswith(home + os.sep) else path
