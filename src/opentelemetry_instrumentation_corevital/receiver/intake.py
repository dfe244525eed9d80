"""From the bytes of a request to the answer: decode, check, store. Both protocols come here."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError

from .._internal.error_text import describe
from ..store.common_rows import Lost, Record
from ..store.receipt import Receipt
from ..store.writer import BATCH_RECORDS, StoreWriter
from .answers import DISK_SECONDS, Accepted, Answer, RefusedError, RetryLater, busy
from .checks import problem, weight
from .envelope import Scoped, open_envelope
from .otlp_signals import OtlpSignal
from .sender_limits import MIB, Limits

logger = logging.getLogger(__name__)

_SLICE_BYTES: Final = 8 * MIB
_MOST_REASONS: Final = 5
_UNHEALTHY_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Rejected:
    """What is left out of a request for its own fault."""

    count: int = 0
    reasons: dict[str, None] = field(default_factory=dict)

    def add(self, count: int, reason: str) -> None:
        self.count += count
        if len(self.reasons) < _MOST_REASONS:
            self.reasons.setdefault(reason)


class Intake:
    """Stores requests. Its methods may be called from several threads at once.

    Args:
        writer: the store; what it says is stored must be durable.
        limits: what a request may hold.
    """

    def __init__(self, writer: StoreWriter, limits: Limits) -> None:
        self._writer = writer
        self._limits = limits
        self._failed_at: float | None = None
        self.trouble = ""
        """Why the store could not be written when that was last tried; empty when it could."""

    @property
    def healthy(self) -> bool:
        """Return whether the store could be written, as far as the last half minute tells.

        Without a time a balancer that sends nothing to what is unhealthy would never learn that it is well again.
        """
        return self._failed_at is None or time.monotonic() - self._failed_at > _UNHEALTHY_SECONDS

    def take(self, signal: OtlpSignal, body: bytes, spent: float = 0.0) -> Answer:
        """Store a request and wait until it is committed; never raises.

        Args:
            signal: whose request it is.
            body: the request in protobuf.
            spent: seconds of a processor that unpacking it took.
        """
        try:
            return self._take(signal, body, spent)
        except RefusedError as error:
            return error.answer
        except Exception as error:  # nothing is known of it, so it must not be lost
            logger.error("internal error with a request of %d bytes, please report it: %s", len(body), describe(error))
            return RetryLater(f"internal error ({type(error).__name__}).", DISK_SECONDS)

    def _take(self, signal: OtlpSignal, body: bytes, spent: float) -> Answer:
        rejected, end = _Rejected(), time.thread_time() + self._limits.decode_seconds - spent
        for records in _slices(_records(open_envelope(body, self._limits), signal, self._limits, rejected, end)):
            receipt = self._writer.store(records, timeout=self._limits.store_seconds)
            if not receipt.complete or receipt.failed_records:
                return self._later(receipt)
            self._well()
            if receipt.rejected_records:
                rejected.add(receipt.rejected_records, " ".join(receipt.reasons))
            for note in receipt.notes:
                rejected.add(0, note)
        return Accepted(rejected.count, " ".join(rejected.reasons))

    def _later(self, receipt: Receipt) -> RetryLater:
        if receipt.crowded:
            return busy("too much waits for the disk.")
        reason = " ".join(receipt.reasons) or "the disk did not answer in time."
        if not self.trouble:
            logger.error("%s Senders are asked to try again.", reason)
        self.trouble, self._failed_at = reason, time.monotonic()
        # The file's name is nobody's business but its owner's, who finds it in the log.
        return RetryLater("the store cannot be written.", DISK_SECONDS)

    def _well(self) -> None:
        if self.trouble:
            logger.warning("the store can be written again.")
        self.trouble, self._failed_at = "", None


def _records(
    opened: Iterable[Scoped], signal: OtlpSignal, limits: Limits, rejected: _Rejected, end: float
) -> Iterator[Record]:
    for scoped in opened:
        if scoped.source is None:
            rejected.add(len(scoped.items), "a resource or a scope has too many attributes, or too large ones.")
            continue
        for packed in scoped.items:
            if time.thread_time() > end:
                rejected.add(
                    1, f"decoding the request took more than {limits.decode_seconds:g} s; send smaller batches."
                )
                continue
            read = _record(packed, scoped, signal, limits, rejected)
            if read is not None:
                yield read


def _record(packed: bytes, scoped: Scoped, signal: OtlpSignal, limits: Limits, rejected: _Rejected) -> Record | None:
    if len(packed) > limits.item_bytes:
        rejected.add(1, f"one of the {signal.name} has more than {limits.item_bytes} bytes.")
        return None
    try:
        item: Any = signal.item.FromString(packed)
    except DecodeError:
        rejected.add(1, f"one of the {signal.name} is not what OTLP says.")
        return None
    if why := problem(item, limits):
        rejected.add(weight(item), f"one of the {signal.name} was left out: {why}.")
        return None
    assert scoped.source is not None
    try:
        read = signal.read(item, scoped.source)
    except Exception as error:  # one item's fault is not the others'
        logger.debug("internal error with one of the %s: %s", signal.name, describe(error))
        rejected.add(weight(item), f"one of the {signal.name} could not be read ({type(error).__name__}).")
        return None
    if isinstance(read, Lost):
        rejected.add(weight(item), read.reason)
        return None
    return read


def _slices(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield records as many at a time as one transaction takes: a large request does not fill the writer's queue."""
    batch, size = list[Record](), 0
    for record in records:
        batch.append(record)
        size += record.bytes
        if len(batch) >= BATCH_RECORDS or size >= _SLICE_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
