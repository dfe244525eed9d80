"""Generates with a random model, twice; the second time below a span of the program's own. Prints the tokens."""

import os

from opentelemetry import trace

from tests.support.tiny_models import prompt, tiny_model

TOKENS = int(os.environ.get("NEW_TOKENS", "4"))

model = tiny_model()
model.generate(prompt(), max_new_tokens=TOKENS, do_sample=False, eos_token_id=None)
with trace.get_tracer("program").start_as_current_span("request"):
    answer = model.generate(prompt(), max_new_tokens=TOKENS, do_sample=False, eos_token_id=None)
print(f"tokens {answer.tolist()}")
