"""The chance that a run which goes on ends in a failure, from its tokens so far.

    failure_risk = 1 / (1 + exp(-(B0 + B1 x loop + B2 x recurring)))

with `loop` 1 while a loop goes on and `recurring` the fraction of the last 24 tokens that recur; 1 once
a logit was NaN or +Inf, or a layer's output NaN or infinite. A logistic regression (Cox 1958) on the run set of
`benchmarks/runset`, on one half of its prompts: at a step of a run, both drawn at random, does the run get the flag
`repetition_loop_detected`? `python benchmarks/judgement.py --fit` computes the coefficients anew;
docs/results/judgement.md tells how good the estimate is on the other half.

Entropy, margin and surprisal are left out: they add little there, and what is usual for them differs between models.
"""

import math
from typing import Final

INTERCEPT: Final = -3.02
LOOP: Final = 1.44
RECURRING: Final = 4.10


def failure_risk(*, nonfinite: bool, loop: bool, recurring: float) -> float:
    """Return the estimate in [0, 1].

    Args:
        nonfinite: whether a number was NaN or infinite so far.
        loop: whether a loop goes on.
        recurring: fraction of the last tokens that recur.
    """
    if nonfinite:
        return 1.0
    return 1.0 / (1.0 + math.exp(-(INTERCEPT + LOOP * loop + RECURRING * recurring)))
