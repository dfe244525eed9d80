"""Langfuse's SDK sets up OpenTelemetry; CoreVital is switched on in code."""

import os

from langfuse import Langfuse

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from tests.support.tiny_models import prompt, tiny_model

langfuse = Langfuse(public_key="pk-lf-x", secret_key="sk-lf-x", base_url=os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"])
CoreVitalInstrumentor().instrument()
model = tiny_model()
with langfuse.start_as_current_observation(name="request"):
    model.generate(prompt(), max_new_tokens=4, do_sample=False, eos_token_id=None)
    model.generate(prompt(batch=2), max_new_tokens=4, do_sample=False, eos_token_id=None)
langfuse.flush()
langfuse.shutdown()
