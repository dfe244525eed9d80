"""Logfire's SDK sets up OpenTelemetry; CoreVital is switched on in code."""

import logfire

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from tests.support.tiny_models import prompt, tiny_model

logfire.configure(send_to_logfire=False, console=False, service_name="beside")
CoreVitalInstrumentor().instrument()
with logfire.span("request"):
    tiny_model().generate(prompt(), max_new_tokens=4, do_sample=False, eos_token_id=None)
logfire.shutdown()
