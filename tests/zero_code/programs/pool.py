"""Generates in this process and in the workers of a pool, which are forked after it and ended by SIGTERM."""

import multiprocessing

from tests.support.tiny_models import prompt, tiny_model

model = tiny_model()


def generate(tokens: int) -> None:
    model.generate(prompt(), max_new_tokens=tokens, do_sample=False, eos_token_id=None)


if __name__ == "__main__":
    generate(4)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(generate, [5, 6], 1)
    pool.join()
