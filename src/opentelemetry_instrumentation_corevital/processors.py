"""The eight judgements as span processors, for a tracer provider or `instrument(judgements=[...])`.

Each makes one judgement of a finished run and writes it on the run's span. CoreVital has one of each and calls it
itself before the span ends, since the SDK freezes a span's attributes before a processor sees its end. One that you add
takes the place of CoreVital's own of the same `role`; without `instrument()` it does nothing.

    from opentelemetry_instrumentation_corevital.calibration import Profiles

    provider.add_span_processor(RiskProcessor(Thresholds(risk_high=0.5)))
    provider.add_span_processor(HealthProcessor(Thresholds(collapse_rise=0.2), Profiles()))
    CoreVitalInstrumentor().instrument(tracer_provider=provider)

Health, compound and blame also compare with the baseline profile of the run's model, where they are given `Profiles()`,
as CoreVital's own are.
"""

from .assessment.thresholds import Thresholds
from .emission.judgements import (
    AnswerProcessor,
    BlameProcessor,
    CompoundProcessor,
    EarlyWarningProcessor,
    FingerprintProcessor,
    HealthProcessor,
    Judgement,
    NarrativeProcessor,
    RiskProcessor,
)

__all__ = [
    "AnswerProcessor",
    "BlameProcessor",
    "CompoundProcessor",
    "EarlyWarningProcessor",
    "FingerprintProcessor",
    "HealthProcessor",
    "Judgement",
    "NarrativeProcessor",
    "RiskProcessor",
    "Thresholds",
]
