"""The fingerprint's vector: is the run nearest to a run, among those of other prompts, one of its kind?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.assessment.behaviour import vector
from opentelemetry_instrumentation_corevital.run import Run

from .figures import Figure, Section, bootstrap
from .replay import Replay

ENTROPY = slice(1, 2)
"""Of the median entropy alone."""


def sections(replays: Sequence[Replay]) -> list[Section]:
    """Return how often the nearest run is of the same kind."""
    long = [one for one in replays if one.sample.prompt["class"] != "short"]
    unasked = [one for one in replays if one.sample.prompt["class"] != "repeat"]
    ways, loops = [one.sample.plan["name"] for one in long], [one.sample.degenerate for one in unasked]
    decoded = of_runs([one.run for one in long], [one.sample.prompt["group"] for one in long], ways)
    looping = of_runs([one.run for one in unasked], [one.sample.prompt["group"] for one in unasked], loops)
    way = "decoded in the same way: greedy, temperature 0.7, temperature 1"
    return [
        Section(
            "Fingerprint: the nearest other run",
            [
                Figure(way, nearest(*decoded)),
                Figure("... by the median entropy alone", nearest(*decoded, ENTROPY)),
                Figure("degenerate, or ordinary", nearest(*looping)),
                Figure("... by the median entropy alone", nearest(*looping, ENTROPY)),
            ],
            [
                "Share of the runs whose nearest run, among those that answer another prompt, is of the same kind, "
                "averaged over kinds; intervals by prompt group. Nothing is fitted."
            ],
        )
    ]


Rows = tuple[NDArray[np.float64], list[str], NDArray[Any]]


def of_runs(runs: Sequence[Run], groups: Sequence[str], kinds: Sequence[Any]) -> Rows:
    """Return the vectors, the prompt groups and the kinds of the runs that have a vector of the most components."""
    found = [(made[0], group, kind) for run, group, kind in zip(runs, groups, kinds, strict=True)
             if not isinstance(made := vector(run), str)]  # fmt: skip
    size = max(len(numbers) for numbers, _, _ in found)
    whole = [each for each in found if len(each[0]) == size]
    return np.array([each[0] for each in whole]), [each[1] for each in whole], np.array([each[2] for each in whole])


def nearest(vectors: NDArray[np.float64], groups: list[str], kinds: NDArray[Any], part: slice = slice(None)) -> str:
    """Return the share of the runs whose nearest run of another group is of their kind, averaged over kinds."""
    numbers = vectors[:, part]
    names, place = np.unique(np.array(groups), return_inverse=True)
    same = np.empty(len(numbers), bool)
    for group in range(len(names)):
        mine, others = np.flatnonzero(place == group), np.flatnonzero(place != group)
        away = ((numbers[mine, None] - numbers[None, others]) ** 2).sum(2)
        same[mine] = kinds[others[away.argmin(1)]] == kinds[mine]
    every = np.unique(kinds)

    def balanced(rows: NDArray[np.int64]) -> float:
        return float(np.mean([same[rows][kinds[rows] == kind].mean() for kind in every]))

    return f"{bootstrap(groups, balanced)}; by chance {1 / len(every):.2f}"
