"""Generates once, says so, and waits for a signal."""

import time

from tests.support.tiny_models import prompt, tiny_model

tiny_model().generate(prompt(), max_new_tokens=4, do_sample=False)
print("generated", flush=True)
time.sleep(120)
