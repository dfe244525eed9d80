"""A process of its own that starts OpenTelemetry as `opentelemetry-instrument` does, and sends test telemetry.

Run as `python -m opentelemetry_instrumentation_corevital.doctor.probe SECONDS [quick]`; prints JSON lines. Exporters
may hang, print or end the process: here that harms nobody. A provider's processors are caught on their way in, so that
nothing but the test goes out: the span of one real `generate()`, or with `quick` a span without one.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import IO, Any, Final

from ..instrumentation.declarative_config import declared_options
from .trial import SPAN_NAME, Heard, Trial, answers_of, hear

_MANY: Final = 512
"""Attributes and events of the span that measures the limits; more than any default."""
_LONG: Final = 256 * 1024


class _Caught:
    """The processors and readers that the start-up hands to its providers, by signal."""

    def __init__(self) -> None:
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.trace import TracerProvider

        self.found: list[tuple[str, Any]] = []
        self.listen: Callable[[Any, Any], None] = TracerProvider.add_span_processor
        """Adds a span processor to a provider, as it does where nobody catches it."""
        construct = MeterProvider.__init__

        def made(provider: Any, metric_readers: Any = (), *args: Any, **keywords: Any) -> None:
            self.found += [("metrics", reader) for reader in metric_readers]
            construct(provider, (), *args, **keywords)

        for owner, method, instead in (
            (TracerProvider, "add_span_processor", self._catch("traces")),
            (LoggerProvider, "add_log_record_processor", self._catch("logs")),
            (MeterProvider, "__init__", made),
        ):
            setattr(owner, method, instead)

    def _catch(self, signal: str) -> Callable[[Any, Any], None]:
        def catch(_provider: Any, processor: Any) -> None:
            self.found.append((signal, processor))

        return catch


def main() -> None:
    """Start up, tell what is configured, test it, and leave without waiting for anybody."""
    seconds, quick = float(sys.argv[1]), sys.argv[2:] == ["quick"]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a console exporter's span is not for whoever reads the answers
    heard = Heard()
    hear(heard)
    try:
        caught = _Caught()
        distro, configurator = _start()
        trials = [Trial(signal, processor) for signal, processor in caught.found]
        started = {
            "distro": distro,
            "configurator": configurator,
            "exporters": [trial.described() for trial in trials],
            "heard": heard.of(threading.current_thread().name),
            "corevital": declared_options(),
            **_measured(),
        }
        _tell(answers, started)
        span = None if quick or configurator is None else _try_generate(answers, heard, caught, started["corevital"])
        hear(heard)
        for index, answer in enumerate(answers_of(trials, heard, seconds, span)):
            _tell(answers, {"exporter": index, **answer})
    except Exception as error:
        _tell(
            answers, {"failed": f"{type(error).__name__}: {error}", "heard": heard.of(threading.current_thread().name)}
        )
    answers.close()
    os._exit(0)  # neither threads that hang nor flushes at the exit are waited for


def _try_generate(answers: IO[str], heard: Heard, caught: _Caught, keywords: dict[str, Any] | None) -> Any:
    """Tell of a call of `generate()`; return the span that it made, or None."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import get_tracer_provider

    from .tried_call import try_generate

    provider = get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return None
    before = len(heard.of(threading.current_thread().name))
    spans, told = try_generate(provider, caught.listen, keywords)
    said = heard.of(threading.current_thread().name)[before:]
    _tell(answers, {"ran": {**told, "said": [line for line in said if line.startswith("CoreVital")]}})
    return spans[0] if spans else None


def _tell(answers: IO[str], value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def _start() -> tuple[str | None, str | None]:
    """Configure OpenTelemetry as the zero-code start-up does; return the names of distro and configurator."""
    wanted = os.environ.get("OTEL_PYTHON_DISTRO")
    distro = next((each for each in entry_points(group="opentelemetry_distro") if wanted in (None, each.name)), None)
    if distro is not None:
        distro.load()().configure()
    wanted = os.environ.get("OTEL_PYTHON_CONFIGURATOR")
    found = (each for each in entry_points(group="opentelemetry_configurator") if wanted in (None, each.name))
    configurator = next(found, None)
    if configurator is not None:
        configurator.load()().configure()
    return tuple(None if each is None else each.value.partition(":")[0] for each in (distro, configurator))  # type: ignore[return-value]


def _measured() -> dict[str, Any]:
    """Return sampler, service, and the limits of spans as a span meets them; a limit that is not there is None."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.trace import get_tracer_provider

    provider = get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return {"sampler": None, "service": None, "limits": {}}
    sampler, provider.sampler = provider.sampler, ALWAYS_ON
    told = {"sampler": sampler.get_description(), "service": provider.resource.attributes.get("service.name")}
    span: Any = provider.get_tracer(__name__).start_span(SPAN_NAME)  # never ended, so nobody sees it
    if not span.is_recording():
        return {**told, "limits": {}}
    numbered = {f"attribute.{index}": index for index in range(_MANY)}
    span.set_attribute("length", "x" * _LONG)
    length = len(span.attributes.get("length", "x" * _LONG))
    span.set_attributes(numbered)
    for _ in range(_MANY):
        span.add_event("event", numbered)
    events = span.events
    counts = {
        "attributes": len(span.attributes),
        "events": len(events),
        "event_attributes": len(events[-1].attributes) if events else 0,
    }
    limits = {name: None if count >= _MANY else count for name, count in counts.items()}
    limits["length"] = None if length >= _LONG else length
    return {**told, "limits": limits}


if __name__ == "__main__":
    main()
