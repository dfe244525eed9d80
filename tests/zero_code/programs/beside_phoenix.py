"""Phoenix's `register()` sets up OpenTelemetry; CoreVital is switched on in code."""

import os

from opentelemetry import trace
from phoenix.otel import register

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from tests.support.tiny_models import prompt, tiny_model

provider = register(endpoint=os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces", verbose=False)
CoreVitalInstrumentor().instrument()
with trace.get_tracer("program").start_as_current_span("request"):
    tiny_model().generate(prompt(), max_new_tokens=4, do_sample=False, eos_token_id=None)
provider.shutdown()
