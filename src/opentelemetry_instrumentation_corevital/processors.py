"""The seven judgements as span processors, for a tracer provider or `instrument(judgements=[...])`.

Each makes one judgement of a finished run and writes it on the run's span. CoreVital calls its own ones; one of yours
with the same `role` takes their place, with other thresholds, say:

    provider.add_span_processor(RiskProcessor(Thresholds(high_entropy_bits=3.0)))
"""

from .assessment.thresholds import Thresholds
from .emission.judgements import (
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
