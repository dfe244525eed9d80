"""A test of one exporter: a span sent, or an empty message of another signal, and what it says to that."""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

SPAN_NAME: Final = "corevital doctor"


class Heard(logging.Handler):
    """What exporters log, by the thread in which they do."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: dict[str | None, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:  # noqa: D102
        lines = self._lines.setdefault(record.threadName, [])
        line = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            line = f"{line}: {record.exc_info[1]}"
        if line not in lines:
            lines.append(line)

    def of(self, thread: str) -> list[str]:
        """Return the lines of a thread, by its name: the number of one that has ended may be another's."""
        return list(self._lines.get(thread, ()))


def hear(heard: Heard) -> None:
    """Hear all that is logged, also what the SDK would leave out because another exporter has said it."""
    logging.getLogger().addHandler(heard)
    for name in logging.root.manager.loggerDict:
        if name.startswith("opentelemetry"):
            logging.getLogger(name).filters.clear()


class Trial:
    """One exporter of the start-up, and a test of it.

    Processors keep their exporters in attributes without a public name (but `span_exporter`); where a version of the
    SDK has other ones the exporter is told of, and not tested.
    """

    def __init__(self, signal: str, processor: Any) -> None:
        self.signal = signal
        self._processor = processor
        self._batching = getattr(processor, "_batch_processor", None)
        places = (
            (processor, "span_exporter"),
            (processor, "_exporter"),
            (processor, "_log_exporter"),
            (self._batching, "_exporter"),
        )
        self.exporter = next((getattr(holder, name) for holder, name in places if hasattr(holder, name)), None)

    def described(self) -> dict[str, Any]:
        """Return what the exporter is and where it sends."""
        exporter = self.exporter
        if exporter is None:
            return {"signal": self.signal, "kind": type(self._processor).__name__, "where": None, "batch": None}
        kind = type(exporter)
        protocol = next((name for name in ("grpc", "http") if f".{name}" in kind.__module__), None)
        where = getattr(exporter, "path", None) if self._in_store else getattr(exporter, "_endpoint", None)
        sizes = (getattr(holder, "_max_export_batch_size", None) for holder in (self._batching, self._processor))
        sizes = (size or getattr(self._processor, "max_export_batch_size", None) for size in sizes)
        return {
            "signal": self.signal,
            "kind": kind.__name__,
            "protocol": protocol,
            "where": where if isinstance(where, str) else None,
            "batch": next((size for size in sizes if size is not None), None),
            "headers": _header_values(exporter),
        }

    @property
    def _in_store(self) -> bool:
        return type(self.exporter).__module__.startswith("opentelemetry_instrumentation_corevital.store.")

    def send(self, span: Any) -> dict[str, Any]:
        """Send a span, or an empty message of another signal, which leaves nothing behind; return the answer.

        Args:
            span: a finished one; None: one that is made here.
        """
        if self.exporter is None:
            return {"result": "untested"}
        if self._in_store and self.signal != "traces":
            return _opened(self.exporter.path)
        if self.signal == "metrics":
            from opentelemetry.sdk.metrics.export import MetricsData

            return {"result": self.exporter.export(MetricsData([])).name}
        if self.signal == "logs":
            return {"result": self.exporter.export([]).name}
        span = _span() if span is None else span
        if self._in_store:
            return {**_stored(self.exporter.path, span), "sent": span.name}
        return {"result": self.exporter.export([span]).name, "trace_id": _trace_id(span), "sent": span.name}


def _header_values(exporter: Any) -> list[str]:
    """Return the values of the headers that an exporter sends: they are nothing to print."""
    headers = getattr(exporter, "_headers", None) or ()
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [str(value) for _, value in pairs]


def _span() -> Any:
    from opentelemetry.sdk.trace import SynchronousMultiSpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.trace import get_tracer_provider

    from ..semconv import SCOPE_NAME
    from ..version import __version__

    kept = InMemorySpanExporter()
    processors = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
    processors.add_span_processor(SimpleSpanProcessor(kept))
    resource = getattr(get_tracer_provider(), "resource", None)
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, active_span_processor=processors)
    provider.get_tracer(SCOPE_NAME, __version__).start_span(SPAN_NAME).end()
    return kept.get_finished_spans()[0]


def _trace_id(span: Any) -> str:
    return f"{span.context.trace_id:032x}"


def _stored(path: str, span: Any) -> dict[str, Any]:
    """Store a span, read it back, and remove it. Nothing that is too old goes meanwhile, as it would in a program."""
    from ..store import SQLiteSpanExporter, open_store
    from ..store.maintenance import delete_call

    exporter = SQLiteSpanExporter(path, retain=False)
    result = exporter.export([span]).name
    exporter.shutdown()
    if exporter.last_error is not None:
        return {"result": "FAILURE", "said": [str(exporter.last_error)]}
    trace_id = _trace_id(span)
    with open_store(path) as store:
        back = any(True for _ in store.otlp([trace_id]))
    delete_call(path, trace_id, [f"{span.context.span_id:016x}"])
    return {"result": result if back else "FAILURE", "trace_id": trace_id, "read_back": back}


def _opened(path: str) -> dict[str, Any]:
    """Open a store for writing, which an empty message would not do."""
    from ..store.database import open_database
    from ..store.store_error import StoreError

    try:
        open_database(path).close()
    except StoreError as error:
        return {"result": "FAILURE", "said": [str(error)]}
    return {"result": "SUCCESS"}


def answers_of(trials: list[Trial], heard: Heard, seconds: float, span: Any) -> list[dict[str, Any]]:
    """Test all exporters at once, each for so many seconds at most.

    Args:
        trials: the exporters.
        heard: what they log.
        seconds: how long each may take.
        span: what those of traces get; None: a span that is made for it.
    """
    answers: list[dict[str, Any]] = [{"result": "no answer"} for _ in trials]

    def ask(index: int) -> None:
        begin = time.monotonic()
        try:
            answer = trials[index].send(span)
        except Exception as error:
            answer = {"result": "FAILURE", "said": [f"{type(error).__name__}: {error}"]}
        answers[index] = {**answer, "seconds": round(time.monotonic() - begin, 3)}

    threads = [
        threading.Thread(target=ask, args=(index,), name=f"corevital-trial-{index}", daemon=True)
        for index in range(len(trials))
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return [
        {**answer, "said": [*answer.get("said", ()), *heard.of(thread.name)]}
        for answer, thread in zip(list(answers), threads, strict=True)
    ]
