"""Label the packed runs: labels.json, by `labels.py`; and the texts of a hundred runs to read by eye.

    python benchmarks/runset/label.py             # labels.json
    python benchmarks/runset/label.py --read      # prints the runs of eye.json for a reader, without their labels

Needs the demo model's tokenizer. `eye.json` holds what a reader said of the ends of a hundred runs, before looking at
the automatic labels: a third of them drawn where the automatic criterion is near its limit, so that agreement on them
is worse than on the whole set.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from labels import LOOP, copied_tail, fold, is_correct, loop_onset
from store import HERE, LABELS, Sample, load

EYE = "eye.json"
READ = {"near the limit": 34, "loop": 33, "no loop": 33}


def tokenizer() -> Any:
    """Return the demo model's tokenizer."""
    from transformers import AutoTokenizer

    from opentelemetry_instrumentation_corevital.loading.models import demo_model_path

    return AutoTokenizer.from_pretrained(demo_model_path())


def token_at(decoder: Any, tokens: np.ndarray, begin: int) -> int:
    """Return the index of the token with which a folded text is longer than `begin` characters."""
    low, high = 0, len(tokens) - 1
    while low < high:
        middle = (low + high) // 2
        if len(fold(decoder.decode(tokens[: middle + 1], skip_special_tokens=True))) > begin:
            high = middle
        else:
            low = middle + 1
    return low


def label(decoder: Any, sample: Sample) -> tuple[bool, int | None, bool | None]:
    """Return a run's row of labels.json."""
    text = decoder.decode(sample.tokens, skip_special_tokens=True)
    onset = loop_onset(fold(text))
    answers = sample.prompt.get("answers")
    return (
        onset is not None,
        None if onset is None else token_at(decoder, sample.tokens, onset),
        None if answers is None else is_correct(text, answers),
    )


def chosen(decoder: Any, samples: list[Sample]) -> list[int]:
    """Return the runs that are read by eye: cut off, without a request for repetition, from three strata."""
    strata: dict[str, list[int]] = {name: [] for name in READ}
    for sample in samples:
        if not sample.stopped and sample.prompt["class"] in ("long", "free"):
            text = fold(decoder.decode(sample.tokens, skip_special_tokens=True))
            length = copied_tail(text, 2).length
            near = LOOP // 3 <= length < 3 * LOOP or (length < LOOP <= copied_tail(text, 1).length)
            strata["near the limit" if near else "loop" if length >= LOOP else "no loop"].append(sample.number)
    draw = random.Random(6)
    picked = [n for name, runs in strata.items() for n in draw.sample(runs, min(READ[name], len(runs)))]
    rest = sorted({n for name in ("loop", "no loop") for n in strata[name]} - set(picked))
    picked += draw.sample(rest, sum(READ.values()) - len(picked))
    draw.shuffle(picked)
    return picked


def main() -> None:
    """Label, or print what is to be read."""
    decoder, samples = tokenizer(), load()
    if "--read" in sys.argv:
        for number in chosen(decoder, samples):
            print(f"--- {number}\n{decoder.decode(samples[number].tokens, skip_special_tokens=True)[-700:]}\n")
        return
    rows = [label(decoder, sample) for sample in samples]
    text = ",\n".join(json.dumps(row) for row in rows)
    text = f'{{"columns": ["loop", "onset", "correct"], "runs": [\n{text}\n]}}\n'
    Path(HERE / LABELS).write_text(text, encoding="utf-8")
    print(len(rows), "runs,", sum(row[0] for row in rows), "end in a loop")


if __name__ == "__main__":
    main()
