"""Generates in this process and in two workers forked from it, as a server that loads its model first does."""

import os

from tests.support.tiny_models import prompt, tiny_model

model = tiny_model()
model.generate(prompt(), max_new_tokens=4, do_sample=False)
workers = []
for tokens in (5, 6):
    worker = os.fork()
    if not worker:
        model.generate(prompt(), max_new_tokens=tokens, do_sample=False, eos_token_id=None)
        raise SystemExit  # a worker that ends in order, through the interpreter's exit
    workers.append(worker)
for worker in workers:
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
