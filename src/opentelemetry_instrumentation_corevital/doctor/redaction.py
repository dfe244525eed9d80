"""What a diagnosis must not print: values of headers, user information and queries of URLs."""

import os
import re
from typing import Final
from urllib.parse import unquote, urlsplit

_HEADERS: Final = re.compile(r"OTEL_EXPORTER_OTLP(_TRACES|_METRICS|_LOGS)?_HEADERS")
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>)\]]+", re.IGNORECASE)
_QUERY: Final = re.compile(r"\?[^\s\"'<>)\]?]*=[^\s\"'<>)\]]*")
_SHORTEST: Final = 4  # shorter values stand in too much that is not them
_HIDDEN: Final = "***"


def header_names(signal: str) -> list[str]:
    """Return the names of the headers that the environment adds to a signal's exports."""
    pairs = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS") or os.environ.get(
        "OTEL_EXPORTER_OTLP_HEADERS", ""
    )
    return [name.strip().lower() for name, equals, _ in (pair.partition("=") for pair in pairs.split(",")) if equals]


def without_secrets(text: str) -> str:
    """Return a text without header values and `OTEL_COREVITAL_HASH_KEY`, and URLs in it without what may be secret."""
    for secret in sorted(_values(), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _QUERY.sub(f"?{_HIDDEN}", _URL.sub(lambda found: _bare(found[0]), text))


def _values() -> set[str]:
    found = {os.environ.get("OTEL_COREVITAL_HASH_KEY", "")}
    for variable, headers in os.environ.items():
        if _HEADERS.fullmatch(variable):
            for pair in headers.split(","):
                value = pair.partition("=")[2].strip()
                decoded = unquote(value)
                found |= {value, decoded, decoded.rpartition(" ")[2]}  # "Basic SECRET": the scheme may stay
    return {value for value in found if len(value) >= _SHORTEST}


def _bare(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return _HIDDEN
    user = f"{_HIDDEN}@" if "@" in parts.netloc else ""
    query = f"?{_HIDDEN}" if parts.query else ""
    return f"{parts.scheme}://{user}{host}{parts.path}{query}"
