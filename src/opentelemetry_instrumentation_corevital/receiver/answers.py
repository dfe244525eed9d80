"""What a sender is told, whatever the protocol."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BUSY_SECONDS: Final = 1
DISK_SECONDS: Final = 5


class Fault(StrEnum):
    """Why a request can never be accepted: a sender drops it."""

    MALFORMED = "malformed"
    TOO_LARGE = "too large"
    UNSUPPORTED = "unsupported"
    UNAUTHENTICATED = "unauthenticated"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Everything is committed but what was rejected for its own fault."""

    rejected: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is stored, and to send it again is of no use."""

    fault: Fault
    reason: str


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Not everything is committed; the sender is asked to try again. What is stored already is not stored twice."""

    reason: str
    seconds: int
    busy: bool = False
    """Too much waits here, rather than that the store cannot be written."""


Answer = Accepted | Refused | RetryLater


class RefusedError(Exception):
    """Raised where a request turns out to be one that can never be accepted."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.answer = Refused(fault, reason)


def busy(reason: str) -> RetryLater:
    """Return the answer to one request too many."""
    return RetryLater(reason, BUSY_SECONDS, busy=True)
