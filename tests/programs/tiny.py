"""Generates with a random model, twice; the second time below a span of the program's own."""

from opentelemetry import trace

from tests.support import prompt, tiny_model

model = tiny_model()
model.generate(prompt(), max_new_tokens=4, do_sample=False)
with trace.get_tracer("program").start_as_current_span("request"):
    answer = model.generate(prompt(), max_new_tokens=4, do_sample=False)
print(answer.tolist())
