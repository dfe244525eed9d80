"""Forks, and generates in the child and in the parent."""

import os

from tests.support.tiny_models import prompt, tiny_model

model = tiny_model()
child = os.fork()
model.generate(prompt(), max_new_tokens=4, do_sample=False, eos_token_id=None)
if child:
    os.waitpid(child, 0)
