"""Starts the spans of a call where somebody takes them, else where nobody does: a run has a trace id in any case."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Link, ProxyTracer, Span, SpanContext, Tracer, get_current_span, get_tracer, use_span

from ..emission.ids import use_system_ids
from ..semconv import SCOPE_NAME
from ..version import __version__

logger = logging.getLogger(__name__)


class CallTracer(Tracer):
    """The tracer of one `run()`, stream or block.

    Args:
        tracer: the instrumentor's; None: that of the global provider.
        own: makes the spans that nobody else takes.
        link: ids of the span that this call's is linked to; None: to none.
        keep: whether finished spans are kept, for a store.
    """

    def __init__(self, tracer: Tracer | None, own: TracerProvider, link: SpanContext | None, *, keep: bool) -> None:
        if tracer is None or isinstance(tracer, ProxyTracer):  # a proxy's own tracer cannot be given other ids
            tracer = get_tracer(SCOPE_NAME, __version__)
        self._shared = tracer
        self._own = own.get_tracer(SCOPE_NAME, __version__)
        for each in (self._shared, self._own):
            use_system_ids(each)
        self._links = [Link(link)] if link is not None and link.is_valid else []
        self._keep = keep
        self._lock = threading.Lock()
        self._kept: list[ReadableSpan] = []
        self._calls: dict[int, bool] = {}
        """Ids of the spans of calls -> whether nobody else takes them."""

    def start_span(self, name: str, context: Context | None = None, *args: Any, **kwargs: Any) -> Span:
        """Start a span, as any tracer does; that of a call gets the link."""
        above = get_current_span(context).get_span_context().span_id
        if above in self._calls:
            span = (self._own if self._calls[above] else self._shared).start_span(name, context, *args, **kwargs)
        else:
            span = self._start_call(name, context, *args, **kwargs)
        if self._keep and isinstance(span, ReadableSpan):
            with self._lock:
                self._kept.append(span)
        return span

    def _start_call(self, name: str, context: Context | None, *args: Any, **kwargs: Any) -> Span:
        kwargs["links"] = [*(kwargs.get("links") or ()), *self._links]
        span, alone = self._shared.start_span(name, context, *args, **kwargs), False
        if not span.get_span_context().is_valid or (self._keep and not span.is_recording()):
            span, alone = self._own.start_span(name, context, *args, **kwargs), True
        elif self._keep and not isinstance(span, ReadableSpan):
            logger.warning("CoreVital: the tracer provider is not the SDK's, so runs are not written into the store")
        self._calls[span.get_span_context().span_id] = alone
        return span

    @contextmanager
    def start_as_current_span(self, name: str, *args: Any, end_on_exit: bool = True, **kwargs: Any) -> Iterator[Span]:  # type: ignore[override]
        """Start a span and make it the current one for the block."""
        with use_span(self.start_span(name, *args, **kwargs), end_on_exit=end_on_exit) as span:
            yield span

    def take_ended(self) -> list[ReadableSpan]:
        """Return the kept spans that have ended since the last time."""
        with self._lock:
            ended = [span for span in self._kept if span.end_time is not None]
            self._kept = [span for span in self._kept if span.end_time is None]
        return ended
