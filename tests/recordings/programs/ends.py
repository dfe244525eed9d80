"""Records into the store that is named, and ends in the way that is named."""

import multiprocessing
import os
import sys
import time

import opentelemetry_instrumentation_corevital as corevital

way, path = sys.argv[1:]
recording = corevital.recording(path).start()
assert "torch" not in sys.modules, "it waits for the import"

from tests.support.tiny_models import prompt, tiny_model  # noqa: E402

model = tiny_model()


def generate(tokens: int) -> None:
    model.generate(prompt(), max_new_tokens=tokens, eos_token_id=None)


def child(tokens: int) -> None:
    generate(tokens)
    assert corevital.last_run().steps == tokens


generate(4)
if way == "waits":
    print("generated", flush=True)
    for _ in range(600):  # Python handles a signal that came just before a long sleep only behind it
        time.sleep(0.1)
elif way == "raises":
    raise RuntimeError("the end")
elif way == "forks":
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=child, args=(tokens,)) for tokens in (5, 6)]
    for each in children:
        each.start()
    for each in children:
        each.join()
    generate(7)
    assert sorted(run.output_tokens for run in recording.runs) == [4, 7], "those of this process"
elif way == "forks and exits":
    pid = os.fork()
    generate(5 if pid else 6)
    if not pid:
        sys.exit()
    os.waitpid(pid, 0)
