"""How far CoreVital's numbers are from lm-polygraph's where both measure the same."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from answers.rauq import rauq

from .own_runs import OwnRun

LN2: Final = math.log(2)
BIASED: Final = 2
"""First steps at which lm-polygraph forbids the end token (`min_new_tokens=2`) before it takes the distribution."""


def differences(own: Sequence[OwnRun], theirs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return what differs most, by name, over runs with the same tokens; entropies and log-probabilities in nat."""
    rows = [_of_run(run, found) for run, found in zip(own, theirs, strict=True)]
    return {name: max(row[name] for row in rows) for name in rows[0]}


def _of_run(own: OwnRun, theirs: dict[str, Any]) -> dict[str, float]:
    surprisal, entropy = own.columns["surprisal"] * LN2, own.columns["entropy"] * LN2
    of_tokens = np.abs(surprisal + np.array(theirs["log_likelihoods"]))
    of_entropies = np.abs(entropy - np.array(theirs["entropies"]))
    whole = theirs["whole"]
    own_rauq = 1 + rauq(own.columns["surprisal"], own.previous)
    return {
        "negative log-probability of the run": abs(surprisal.sum() - whole["MaximumSequenceProbability"]),
        "log-perplexity": abs(surprisal.mean() - whole["Perplexity"]),
        "mean entropy": abs(entropy.mean() - whole["MeanTokenEntropy"]),
        "log-probability of a token": float(of_tokens.max()),
        f"log-probability of a token behind the first {BIASED}": float(of_tokens[BIASED:].max(initial=0.0)),
        "entropy of a step": float(of_entropies.max()),
        f"entropy of a step behind the first {BIASED}": float(of_entropies[BIASED:].max(initial=0.0)),
        "attention of a head to the previous token": float(
            np.abs(own.previous[BIASED:] - np.array(theirs["previous"])).max(initial=0.0)
        ),
        "RAUQ of the same attention": abs(own_rauq - theirs["rauq_of_given"]),
        "RAUQ as each defines the attention": abs(own_rauq - whole["RAUQ"]),
    }
