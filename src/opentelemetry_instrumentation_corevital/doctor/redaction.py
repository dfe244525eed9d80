"""What CoreVital must not print: values of headers, and user names, passwords and queries of addresses.

Secrets are recognised in two ways: by their values, where the environment or an exporter has them, and by their form,
`user:password@host` with or without a scheme in front of it. An exporter's error may repeat either.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from .._internal.printable import still_printable

_HEADERS: Final = re.compile(r"OTEL_EXPORTER_OTLP(_TRACES|_METRICS|_LOGS)?_HEADERS")
_ENDPOINT: Final = re.compile(r"OTEL_EXPORTER_\w*ENDPOINT")
_END: Final = r"\s\"'<>)\]"  # what ends an address in a sentence
_URL: Final = re.compile(rf"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.%]+\]|[^{_END}\[])+", re.IGNORECASE)
_USER: Final = re.compile(rf"[^{_END}(\[{{}},;=/|]+@(?=[\w\[.-])")  # gRPC's targets have no scheme
_QUERY: Final = re.compile(rf"\?[^{_END}?]*=[^{_END}]*")
_USER_INFO: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(.+)@", re.IGNORECASE)
_ODD_PASSWORD: Final = re.compile(r"[^/?#@\[]*:(?!\d*[/?#@])[^@/?#]*[/?#].*@")  # with / ? or #: no parser knows it
_SHORTEST: Final = 4  # shorter values stand in too much that is not them
_HIDDEN: Final = "***"


def header_names(signal: str) -> list[str]:
    """Return the names of the headers that the environment adds to a signal's exports."""
    pairs = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS") or os.environ.get(
        "OTEL_EXPORTER_OTLP_HEADERS", ""
    )
    return [name.strip().lower() for name, equals, _ in (pair.partition("=") for pair in pairs.split(",")) if equals]


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without secrets.

    Args:
        text: a line that may hold an address or an answer to a request.
        secrets: more values to leave out, beside those of the environment.
    """
    values = {value for value in (*_of_environment(), *secrets) if len(value) >= _SHORTEST}
    for secret in sorted(values, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = _URL.sub(lambda found: _bare(found[0]), text)
    return _QUERY.sub(f"?{_HIDDEN}", _USER.sub(f"{_HIDDEN}@", text))


def header_secrets(value: str) -> Iterator[str]:
    """Yield what is secret in a header's value: it, decoded, and without its scheme (`Basic SECRET`)."""
    decoded = unquote(value)
    yield from (value, decoded, decoded.rpartition(" ")[2])


def address_secrets(address: str) -> Iterator[str]:
    """Yield what is secret in an address: user information, the password in it, each as an error may spell it."""
    found = _USER_INFO.match(address)
    if found is None:
        return
    user, colon, password = found[1].partition(":")
    for part in (found[1], password if colon else user):
        yield from (part, unquote(part), quote(part, safe=""), quote(unquote(part), safe=""))


class RedactingFormatter(logging.Formatter):
    """Formats log records without secrets and without what steers a terminal: a warning names what others sent."""

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102
        return still_printable(without_secrets(super().format(record)))


def _of_environment() -> Iterator[str]:
    yield os.environ.get("OTEL_COREVITAL_HASH_KEY", "")
    for variable, value in os.environ.items():
        if _HEADERS.fullmatch(variable):
            for pair in value.split(","):
                yield from header_secrets(pair.partition("=")[2].strip())
        elif "://" in value or _ENDPOINT.fullmatch(variable):  # proxies have passwords, too
            yield from address_secrets(value)


def _bare(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if (found := _ODD_PASSWORD.match(rest)) is not None:
        url = f"{scheme}://{_HIDDEN}@{rest[found.end() :]}"
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return _HIDDEN
    user = f"{_HIDDEN}@" if "@" in parts.netloc else ""
    query = f"?{_HIDDEN}" if parts.query else ""
    return f"{parts.scheme}://{user}{host}{parts.path}{query}"
