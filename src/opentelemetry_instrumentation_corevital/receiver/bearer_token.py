"""Checks the bearer token of a request."""

import hmac
from typing import Final

from .answers import Fault, Refused

DENIED: Final = Refused(Fault.UNAUTHENTICATED, "a bearer token is needed, and there is none, or a wrong one.")


class TokenCheck:
    """Lets those in who know the token; everybody where there is none.

    Args:
        token: the secret.
    """

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else token.encode()

    def admits(self, authorization: str | bytes | None) -> bool:
        """Tell whether an `Authorization` header holds the token; a wrong one takes as long as the right one."""
        if self._expected is None:
            return True
        given = authorization.encode() if isinstance(authorization, str) else authorization or b""
        scheme, _, token = given.partition(b" ")
        return hmac.compare_digest(token.strip(), self._expected) and scheme.lower() == b"bearer"
