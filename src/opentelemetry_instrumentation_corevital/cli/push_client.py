"""Requests of `corevital push`: JSON over HTTP, tried again where that may help, and errors that say what to do."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from .._internal.file_io import NoJsonError, parsed_json
from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..doctor.redaction import header_secrets, without_secrets

_WAITS: Final = (0.5, 1.0, 2.0)
"""Seconds before each further attempt."""
_LONGEST_WAIT: Final = 30.0
"""Seconds that a server may ask for."""
_TIMEOUT: Final = (5.0, 30.0)
"""Seconds to connect, and between bytes of the answer."""
_MOST_TOLD: Final = 300
_MOST_READ: Final = 2**20
"""Bytes of an answer that are read."""
_MOST_SEARCHED: Final = 2**14
"""Characters of an answer that are looked through for what to tell of it."""
_CHUNK: Final = 2**14


class PushAnswer(NamedTuple):
    """What a server said."""

    status: int
    text: str
    value: Any
    """Its JSON; None where it is none."""
    wait: float = 0.0
    """Seconds for which it asks to be left alone."""


class PushClient:
    """Sends to one server.

    Args:
        endpoint: its base URL, without a path of the API.
        headers: of each request; they hold the key.
        keys: the environment variables that the key comes from, for errors.
        secrets: what no error may repeat, beside the headers.
        wait: sleeps for so many seconds.

    Raises:
        UserError: if no header can hold the key.
    """

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str],
        keys: str,
        secrets: Sequence[str] = (),
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        import requests

        self.endpoint = endpoint
        if not all(value.isascii() and value.isprintable() for value in headers.values()):  # an error would repeat it
            raise UserError(f"{keys}: has characters that no key has, such as the end of a line; set it again.")
        self._headers = dict(headers)
        self._secrets = [*secrets, *(each for value in headers.values() for each in header_secrets(value))]
        self._keys = keys
        self._wait = wait
        self._session = requests.Session()
        self._failures: type[Exception] = requests.RequestException

    def post(self, path: str, body: Mapping[str, Any], **query: str) -> PushAnswer:
        """Post JSON and return the answer, which may be a refusal that the caller understands.

        Raises:
            UserError: if the server cannot be reached, wants another key, is another one, or stays busy.
        """
        answer = self._try(path, body, query)
        for wait in _WAITS:
            if isinstance(answer, PushAnswer) and not _is_busy(answer.status):
                break
            self._wait(max(wait, answer.wait) if isinstance(answer, PushAnswer) else wait)
            answer = self._try(path, body, query)
        return self._checked(path, answer)

    def refused(self, path: str, answer: PushAnswer) -> UserError:
        """Return the error for an answer that nothing can be done about here."""
        said = one_line(without_secrets(answer.text[:_MOST_SEARCHED], self._secrets), _MOST_TOLD)
        return UserError(f"{self._shown}{path}: answered {answer.status}: {said}")

    def _checked(self, path: str, answer: PushAnswer | Exception) -> PushAnswer:
        if not isinstance(answer, PushAnswer):
            why = one_line(without_secrets(str(answer), self._secrets), _MOST_TOLD)
            raise UserError(f"{self._shown}: cannot be reached ({why}). Is it running, and is this its address?")
        if answer.status in (401, 403):
            raise UserError(f"{self._shown}: refused the key ({answer.status}); set {self._keys}.")
        if 300 <= answer.status < 400:
            raise UserError(f"{self._shown}: sends elsewhere ({answer.status}); give --endpoint that address.")
        if answer.status == 405 or _is_busy(answer.status):
            raise self.refused(path, answer)
        return answer

    def _try(self, path: str, body: Mapping[str, Any], query: Mapping[str, str]) -> PushAnswer | Exception:
        try:
            with self._session.post(
                f"{self.endpoint}{path}",
                json=body,
                params=query,
                auth=self._sign,  # else requests would take one from a .netrc
                timeout=_TIMEOUT,
                allow_redirects=False,
                stream=True,
            ) as answer:
                data = _beginning(answer.iter_content(_CHUNK))
        except (self._failures, ValueError) as error:  # of a host that is no name, urllib3's are not wrapped
            return error
        try:
            value = parsed_json(data)
        except NoJsonError:
            value = None
        wait = _asked_wait(answer.headers.get("Retry-After", ""))
        return PushAnswer(answer.status_code, data.decode(errors="replace"), value, wait)

    def _sign(self, request: Any) -> Any:
        request.headers.update(self._headers)
        return request

    @property
    def _shown(self) -> str:
        return without_secrets(self.endpoint)


def base_url(endpoint: str, tail: str) -> str:
    """Return a server's base URL, of that of its OTLP endpoint, too.

    Args:
        endpoint: what was given.
        tail: where its paths begin, such as `/v1/traces`.

    Raises:
        UserError: if it is no URL.
    """
    url = endpoint.partition(tail)[0].rstrip("/")
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        whole = whole and not parts.query and not parts.fragment  # the path of the API would become a part of it
    except ValueError:
        whole = False
    if not whole:
        raise UserError(f"--endpoint {without_secrets(endpoint)}: give a URL, such as http://localhost:6006.")
    return url


def _beginning(chunks: Iterable[bytes]) -> bytes:
    """Return what an answer begins with: all of it, unless that is more than anybody means to say."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) >= _MOST_READ:
            break
    return bytes(data)


def _is_busy(status: int) -> bool:
    return status == 429 or status >= 500


def _asked_wait(header: str) -> float:
    """Return for how many seconds a server asks to be left alone; 0 where it does not say, or says a date."""
    return min(float(header), _LONGEST_WAIT) if header.strip().isdecimal() else 0.0
