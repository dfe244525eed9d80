"""What the receiver says of itself at `/metrics`, in Prometheus' text format."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from .answers import Accepted, Answer, Refused

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Statistics:
    """Counts answers; one per receiver."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # resident memory, open files, CPU seconds; on Linux
        self._requests = Counter(
            "corevital_receiver_requests",
            "Requests, by what became of them: accepted, partial, refused, busy or unavailable.",
            ("signal", "protocol", "outcome"),
            registry=self.registry,
        )
        self._rejected = Counter(
            "corevital_receiver_rejected_items",
            "Spans, log records and data points that were left out of accepted requests.",
            ("signal",),
            registry=self.registry,
        )
        self._bytes = Counter(
            "corevital_receiver_body_bytes", "Bytes of requests, as they came.", ("signal",), registry=self.registry
        )
        self._seconds = Histogram(
            "corevital_receiver_store_seconds",
            "From the end of a request's body to its answer.",
            ("signal",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._waiting = Gauge("corevital_receiver_waiting_bytes", "Bodies in memory.", registry=self.registry)
        self._current = Gauge("corevital_receiver_requests_current", "Requests under way.", registry=self.registry)
        self._healthy = Gauge(
            "corevital_receiver_store_writable", "1 if the store can be written, else 0.", registry=self.registry
        )

    def watch(self, waiting_bytes: Callable[[], int], requests: Callable[[], int], healthy: Callable[[], bool]) -> None:
        """Have gauges read when somebody looks at them."""
        self._waiting.set_function(waiting_bytes)
        self._current.set_function(requests)
        self._healthy.set_function(lambda: float(healthy()))

    def answered(self, signal: str, protocol: str, answer: Answer, size: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(signal, protocol, outcome(answer)).inc()
        self._bytes.labels(signal).inc(size)
        if seconds:
            self._seconds.labels(signal).observe(seconds)
        if isinstance(answer, Accepted) and answer.rejected:
            self._rejected.labels(signal).inc(answer.rejected)

    def text(self) -> bytes:
        """Return everything."""
        return generate_latest(self.registry)


def outcome(answer: Answer) -> str:
    """Return the word for an answer."""
    if isinstance(answer, Accepted):
        return "partial" if answer.rejected else "accepted"
    if isinstance(answer, Refused):
        return "refused"
    return "busy" if answer.busy else "unavailable"
