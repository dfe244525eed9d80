"""What a sender may ask of the receiver at most."""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of requests, of memory, and of time; docs/receiver.md says what becomes of what is beyond."""

    body_bytes: int = 32 * MIB
    """Of one request, as it comes and once it is decompressed."""
    json_bytes: int = 8 * MIB
    """Of one request in JSON, decompressed: as Python's objects it takes up to thirty times as much."""
    json_brackets: int = 500_000
    """Objects and lists of one request in JSON: each takes microseconds and hundreds of bytes, however short it is."""
    json_values: int = 1_000_000
    """Objects, lists and commas of one request in JSON, likewise."""
    members: int = 4096
    """Of gzip in one body: each costs microseconds, however empty it is."""
    item_bytes: int = 4 * MIB
    """Of one span, log record, metric, resource or scope."""
    items: int = 100_000
    """Spans, log records or metrics of one request, with their resources and scopes."""
    attributes: int = 1024
    """Of one span, event, link, log record, data point, resource or scope."""
    children: int = 10_000
    """Events and links of one span, data points of one metric."""
    waiting_bytes: int = 256 * MIB
    """Bodies that are being received or stored, as they came and decompressed, over both protocols."""
    requests: int = 64
    """Requests that are being received or stored, over both protocols."""
    grpc_reads: int = 16
    """Requests over gRPC that are being received: each may take `body_bytes` where its size cannot be seen yet."""
    connections: int = 256
    """Open connections over HTTP of senders that have shown a valid token, and as many over gRPC."""
    strangers: int = 256
    """Open connections of those that have not, of each protocol; the one that has been open longest makes room."""
    strangers_of_a_peer: int = 128
    """Of them from one address, likewise."""
    stranger_seconds: float = 2.0
    """For which one too many may stay all the same, so that what it asks is read before another one takes its place."""
    header_block_bytes: int = 32 * 1024
    """Of the header block of an HTTP/2 request, with its CONTINUATION frames."""
    header_block_frames: int = 16
    """Frames of such a block."""
    requests_of_a_stranger: int = 8
    """HTTP/2 requests over a connection that has not shown a valid token."""
    flood_seconds: float = 10.0
    """For which connections from an address wait for a moment after a flood from there."""
    frames_of_a_stranger: int = 256
    """HTTP/2 frames other than DATA of a connection that has not shown a valid token."""
    workers: int = 4
    """Requests that are decoded or wait for the disk at the same time, of those that are not large."""
    large_bytes: int = MIB
    """A request of more, decompressed, is large: decoded it may take many times as much, so there is one at a time."""
    header_seconds: float = 10.0
    """For a TLS handshake, and from a connection's opening to the end of its first request's headers."""
    idle_seconds: float = 75.0
    """From an answer to the end of the headers of a connection's next request."""
    read_seconds: float = 30.0
    """From a request's headers to the end of its body."""
    worker_seconds: float = 4.0
    """For which a request waits for a worker before its sender is asked to try again. Senders give up after 5 to 30."""
    decode_seconds: float = 10.0
    """Of a processor's time that decompressing and decoding one request may take, however busy the machine is."""
    store_seconds: float = 6.0
    """For which each transaction of a request waits for the disk, likewise."""
    locked_seconds: float = 3.0
    """For which the store is tried again while another process holds its lock."""
    stop_seconds: float = 20.0
    """Within which the process ends once it is told to, whatever its workers do; until 5 s before it answers."""
