"""What to do where an exporter did not take its test."""

import re
from collections.abc import Mapping
from typing import Any, Final

_OTHER: Final = {"grpc": ("4318", "http/protobuf"), "http": ("4317", "grpc")}
"""Of a protocol: the usual port of the other one, and the other's name."""
_OTHER_SPOKEN: Final = r"http1|Connection aborted|reset by peer|BadStatusLine"
_REFUSED: Final = r"\b40[45]\b|Not Found|Method Not Allowed|UNIMPLEMENTED"
_CAUSES: Final = (
    (_REFUSED, "look at the endpoint's path: OTEL_EXPORTER_OTLP_ENDPOINT is the part before /v1/traces"),
    (
        r"\b40[13]\b|UNAUTHENTICATED|PERMISSION_DENIED|Unauthorized|Forbidden",
        "look at OTEL_EXPORTER_OTLP_HEADERS: the endpoint wants other credentials",
    ),
    (
        r"SSL|certificate|handshake|WRONG_VERSION",
        "look at http or https in the endpoint, and at OTEL_EXPORTER_OTLP_CERTIFICATE",
    ),
)


def after_failure(exporter: Mapping[str, Any], said: str) -> str:
    """Return what to do.

    Args:
        exporter: what was tested.
        said: what it logged.
    """
    signal, where = exporter["signal"], exporter["where"] or ""
    if not exporter.get("protocol"):
        return "its answer says what is wrong"
    port, protocol = _OTHER[exporter["protocol"]]
    if re.search(rf":{port}\b", where):
        return f"{port} is the usual port of the other protocol: set OTEL_EXPORTER_OTLP_PROTOCOL={protocol}"
    if _says(said, _OTHER_SPOKEN):
        return f"perhaps the other protocol is spoken there: try OTEL_EXPORTER_OTLP_PROTOCOL={protocol}"
    if signal != "traces" and _says(said, _REFUSED):
        return f"a backend that takes no {signal}: set OTEL_{signal.upper()}_EXPORTER=none"
    start = (
        "start a receiver there (an OpenTelemetry Collector, say) or set OTEL_EXPORTER_OTLP_ENDPOINT; "
        f"OTEL_{signal.upper()}_EXPORTER=corevital_sqlite needs no server"
    )
    return next((text for pattern, text in _CAUSES if _says(said, pattern)), start)


def _says(text: str, pattern: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None
