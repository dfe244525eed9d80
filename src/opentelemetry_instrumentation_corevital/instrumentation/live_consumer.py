"""Who watches the calls of a block while they go on, carried in the OpenTelemetry context."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

if TYPE_CHECKING:
    from ..assessment.live_judge import Judged
    from ..assessment.step_event import StepEvent
    from ..run import Run

_KEY: Final = otel_context.create_key("corevital-live-consumer")


class TokenText(Protocol):
    """Makes text of tokens as they come."""

    def __call__(self, sequence: int, token: int) -> str:
        """Return what a sequence's next token adds to its text."""


class CallRecorder(Protocol):
    """Records generate() calls, see `Recorder`."""

    def generate(self, wrapped: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run `wrapped` as it is, recorded; return and raise exactly what it does."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class LiveConsumer:
    """Who watches a call while it goes on. Everything here is called on the thread that generates."""

    judged: Callable[["Judged"], object] | None = None
    """Gets each step with its evidence, before the listener does."""
    listener: Callable[["StepEvent"], object] | None = None
    """Gets each step in order; what it raises ends nothing."""
    may_stop: bool = False
    """Whether a listener that returns `"stop"` ends the sequence, as a policy does."""
    rolled_back: Callable[[int, int], object] | None = None
    """Gets sequence and step where tokens are taken back: steps come again from that one on."""
    intervened: Callable[[int, Any], object] | None = None
    """Gets sequence and `Intervention` when a policy has acted."""
    token_text: TokenText | None = None
    early_warning: bool = True
    is_cancelled: Callable[[], bool] = _never
    """Asked at each step: whether the call ends there."""
    finished: Callable[[Sequence["Run"], SpanContext], object] | None = None
    """Gets the judged runs of a call and its span's ids before the span ends."""
    recorder: CallRecorder | None = None
    """What records the call; None: that of the instrumentor."""


@contextmanager
def live_consumer(consumer: LiveConsumer) -> Iterator[None]:
    """Have the outermost generate() calls in the block watched."""
    token = otel_context.attach(otel_context.set_value(_KEY, consumer))
    try:
        yield
    finally:
        otel_context.detach(token)


def current_consumer(context: Context | None = None) -> LiveConsumer | None:
    """Return who watches the calls in a context, by default the current one."""
    consumer = otel_context.get_value(_KEY, context)
    return consumer if isinstance(consumer, LiveConsumer) else None
