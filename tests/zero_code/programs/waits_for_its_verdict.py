"""Generates, and prints whether the run was on standard output within 3 seconds, while the program goes on."""

import io
import sys
import time

from tests.support.tiny_models import prompt, tiny_model

usual, sys.stdout = sys.stdout, io.StringIO()
tiny_model().generate(prompt(), max_new_tokens=4, do_sample=False, eos_token_id=None)
end = time.monotonic() + 3
while "risk" not in sys.stdout.getvalue() and time.monotonic() < end:
    time.sleep(0.05)
print("seen" if "risk" in sys.stdout.getvalue() else "late", file=usual)
