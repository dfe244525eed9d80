"""Imports transformers before CoreVital is switched on in code, below the providers of `opentelemetry-instrument`."""

import transformers.generation  # noqa: F401

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from tests.support.tiny_models import prompt, tiny_model

model = tiny_model()
model.generate(prompt(), max_new_tokens=2, do_sample=False)
CoreVitalInstrumentor().instrument(capture="full")
model.generate(prompt(), max_new_tokens=3, do_sample=False, eos_token_id=None)
