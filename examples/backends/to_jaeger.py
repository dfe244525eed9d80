"""A run in Jaeger, or in whatever else takes spans by OTLP over gRPC.

    docker run --rm -p 16686:16686 -p 4317:4317 jaegertracing/all-in-one
    python to_jaeger.py            # http://localhost:16686, service `to-jaeger`

OTEL_EXPORTER_OTLP_ENDPOINT names another place. The model is a folder or a hub id: the first argument, else MODEL.
"""

import os
import sys

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from transformers import pipeline

import opentelemetry_instrumentation_corevital as corevital

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
ENDPOINT = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")

provider = TracerProvider(resource=Resource.create({"service.name": "to-jaeger"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(ENDPOINT, insecure=ENDPOINT.startswith("http:"))))
corevital.CoreVitalInstrumentor().instrument(tracer_provider=provider)

chat = pipeline("text-generation", MODEL)
chat([{"role": "user", "content": "Name three primary colours."}], max_new_tokens=16, do_sample=False)
run = corevital.last_run()
print(run.narrative if run else "the run was not measured")
provider.shutdown()  # sends what still waits
