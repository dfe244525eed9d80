"""Generates below three parents: none, one that is sampled, one that is not."""

from opentelemetry import context as otel_context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from tests.support.tiny_models import prompt, tiny_model

model = tiny_model()
for parent in (None, TraceFlags.SAMPLED, TraceFlags.DEFAULT):
    remote = otel_context.Context()
    if parent is not None:
        ids = SpanContext(0xAB + parent, 0xCD, is_remote=True, trace_flags=TraceFlags(parent))
        remote = set_span_in_context(NonRecordingSpan(ids))
    token = otel_context.attach(remote)
    model.generate(prompt(), max_new_tokens=4, do_sample=False)
    otel_context.detach(token)
