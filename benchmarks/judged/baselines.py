"""Simpler rules for loops on the same runs: what the detector has to be better than."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from .figures import Section, share
from .replay import Replay

TAIL = 32


def hidden_cosine(one: Replay) -> bool:
    """Tell whether the last layer's output hardly changed (cosine above 0.9995) three steps in a row."""
    still = one.sample.columns["hidden_cosine"] > 0.9995
    return len(still) >= 3 and bool((still[:-2] & still[1:-1] & still[2:]).any())


def repeated_grams(one: Replay) -> bool:
    """Tell whether more than half of the 4-grams of the last 32 tokens stand there more than once."""
    tail = one.sample.tokens[-TAIL:].tolist()
    grams = Counter(tuple(tail[i : i + 4]) for i in range(len(tail) - 3))
    return len(tail) == TAIL and sum(n for n in grams.values() if n > 1) > 0.5 * sum(grams.values())


def three_copies(one: Replay) -> bool:
    """Tell whether the run ends with three exact copies of at most 64 tokens that span at least 32."""
    tokens = one.sample.tokens
    for period in range(1, 65):
        span = max(3 * period, -(-32 // period) * period)
        tail = tokens[-span:]
        if len(tail) == span and np.array_equal(tail[period:], tail[:-period]):
            return True
    return False


RULES: dict[str, Callable[[Replay], bool]] = {
    "hidden cosine above 0.9995 for 3 steps": hidden_cosine,
    "half of the 4-grams of the last 32 tokens more than once there": repeated_grams,
    "three exact copies, period up to 64, spanning 32 tokens": three_copies,
}


def sections(replays: Sequence[Replay]) -> list[Section]:
    """Return recall and precision of each rule, raised only for runs that were cut off, as the flag is."""
    half = [one for one in replays if one.sample.half == "report" and one.sample.prompt["class"] != "repeat"]
    degenerate = sum(one.sample.degenerate for one in half)
    rows = []
    for name, rule in RULES.items():
        raised = [one for one in half if not one.sample.stopped and rule(one)]
        hits = sum(one.sample.degenerate for one in raised)
        rows += [share(f"{name}: recall", hits, degenerate), share("... precision", hits, len(raised))]
    return [Section("Simpler rules on the same half", rows)]
