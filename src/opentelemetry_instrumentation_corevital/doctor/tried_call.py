"""One real `generate()` of a tiny model with random weights, measured with the settings of this environment.

The model is made in memory: nothing is downloaded, and nothing is learned of it.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .._internal.user_error import UserError
from ..config import SettingsError, read_settings
from ..semconv import CAPTURE_ABSENT, RISK_SCORE

TOKENS: Final = 8


def try_generate(
    provider: Any, listen: Callable[[Any, Any], None], keywords: Mapping[str, Any] | None
) -> tuple[list[Any], dict[str, Any]]:
    """Return the spans that a call makes, and what is told of it.

    Args:
        provider: the tracer provider of the start-up. Its sampler, which is told of by itself, has no say.
        listen: adds a span processor to a provider.
        keywords: options that a declarative configuration file gives.
    """
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    kept = InMemorySpanExporter()
    begin = time.monotonic()
    listen(provider, SimpleSpanProcessor(kept))
    provider.sampler = ALWAYS_ON
    try:
        told = _generated(provider, {**(keywords or {}), "baseline": "off"})
    except (SettingsError, UserError) as error:  # told of among settings and packages
        return [], {"failed": str(error), "elsewhere": True}
    except Exception as error:
        return [], {"failed": f"{type(error).__name__}: {error}"}
    spans = list(kept.get_finished_spans())
    told |= {"seconds": round(time.monotonic() - begin, 2), "verdict": _verdict(spans)}
    return spans, told


def _generated(provider: Any, options: dict[str, Any]) -> dict[str, Any]:
    from ..instrumentation.instrumentor import CoreVitalInstrumentor
    from ..instrumentation.machine_state import kernels_run_on, runs_compiled
    from ..loading.tiny_model import TinyModel

    settings = read_settings(options)
    model = TinyModel()
    instrumentor = CoreVitalInstrumentor()
    instrumentor.instrument(**options, tracer_provider=provider)
    try:
        model.generate(TOKENS)
    finally:
        instrumentor.uninstrument()
    there = "on" if kernels_run_on(model.device) else "none"
    return {
        "device": model.device_name,
        "kind": model.device.type,
        "kernels": "off" if settings.kernels == "off" else there,
        "compiled": runs_compiled(model.model),
        "enabled": settings.enabled,
        "tokens": TOKENS,
    }


def _verdict(spans: Iterable[Any]) -> dict[str, Any] | None:
    """Return what of a call's span is worth telling, and None where there is no span."""
    for span in spans:
        found = span.attributes or {}
        return {"risk": found.get(RISK_SCORE), "absent": json.loads(found.get(CAPTURE_ABSENT, "{}"))}
    return None
