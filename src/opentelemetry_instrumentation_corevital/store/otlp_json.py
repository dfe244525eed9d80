"""OTLP as lines of JSON: what the Collector's file exporter writes, and what SDKs write as `otlp_json_file`.

Each line is one message: spans, logs or metrics. OTLP's JSON is that of protobuf, but for ids, which are hexadecimal.
"""

import base64
import gzip
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from .common_rows import Lost
from .otlp import Read, read_logs, read_metrics, read_spans
from .store_error import StoreError

MOST_LINE_BYTES: Final = 256 * 1024 * 1024
"""A longer line, decompressed, is none that a Collector writes."""
_IDS: Final = frozenset(("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"))
_GZIP: Final = b"\x1f\x8b"

_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class FileLine:
    """A line of a file: what it holds, or what is wrong with it."""

    number: int
    records: list[Read]
    problem: str | None = None


def read_lines(path: str) -> Iterator[FileLine]:
    """Yield the lines of a file; `-` is standard input, and gzip is unpacked.

    Raises:
        StoreError: if the file cannot be opened or read.
    """
    number = 0
    try:
        with _opened(path) as file:
            while line := file.readline(MOST_LINE_BYTES + 1):
                number += 1
                if len(line) > MOST_LINE_BYTES:
                    raise StoreError(f"{path}:{number}: a line of more than {MOST_LINE_BYTES >> 20} MiB; is this OTLP?")
                if line.strip():
                    yield _line(number, line)
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        where = f"{path}:{number + 1}" if number else path
        raise StoreError(f"{where}: cannot be read ({reason}).") from None


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        packed = file.peek(2)[:2] == _GZIP
        if packed:
            with gzip.open(file) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            yield file


def _line(number: int, line: bytes) -> FileLine:
    try:
        message = json.loads(line)
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        return FileLine(number, [], f"not JSON{where}; was the file cut off?")
    except RecursionError:
        return FileLine(number, [], "not OTLP: nested too deeply")
    if not isinstance(message, dict):
        return FileLine(number, [], "not an OTLP message: a JSON object was expected")
    for names, kind, read in _KINDS:
        if any(name in message for name in names):
            try:
                return FileLine(number, list(read(from_json(message, kind))))
            except (ValueError, RecursionError) as error:
                return FileLine(number, [], f"not OTLP: {error}")
    return FileLine(number, [], "not OTLP: one of resourceSpans, resourceLogs, resourceMetrics was expected")


_KINDS: Final[tuple[tuple[tuple[str, str], Callable[[], Any], Callable[[Any], Iterator[Read]]], ...]] = (
    (("resourceSpans", "resource_spans"), TracesData, lambda data: read_spans(data.resource_spans)),
    (("resourceLogs", "resource_logs"), LogsData, lambda data: read_logs(data.resource_logs)),
    (("resourceMetrics", "resource_metrics"), MetricsData, lambda data: read_metrics(data.resource_metrics)),
)


def from_json(message: Mapping[str, Any], kind: Callable[[], _M]) -> _M:
    """Return the message that parsed JSON holds.

    Raises:
        ValueError or RecursionError: if it is none.
    """
    try:
        parsed: _M = ParseDict(_ids(message, _to_base64), kind(), ignore_unknown_fields=True)
    except ParseError as error:
        raise ValueError(str(error)) from None
    return parsed


def to_line(message: Message) -> str:
    """Return a message as a line of JSON, without its end."""
    return json.dumps(_ids(MessageToDict(message), _to_hex), ensure_ascii=False, separators=(",", ":"))


def _ids(value: Any, change: Callable[[str], str]) -> Any:
    # A key of an attribute is a value of OTLP's JSON, never a key of it: no attribute is touched.
    if isinstance(value, dict):
        return {
            key: change(item) if key in _IDS and isinstance(item, str) else _ids(item, change)
            for key, item in value.items()
        }
    return [_ids(item, change) for item in value] if isinstance(value, list) else value


def _to_base64(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


def _to_hex(text: str) -> str:
    return base64.b64decode(text).hex()


def split(records: list[Read]) -> tuple[list[Any], list[Lost]]:
    """Return what can be stored, and what not."""
    return [each for each in records if not isinstance(each, Lost)], [
        each for each in records if isinstance(each, Lost)
    ]
