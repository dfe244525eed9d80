"""How far out a layer has to be to be blamed: chosen on one half of the prompts, by cross-validation."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from planted.store import Planted
from planted.store import load as planted
from runset import store as runset

from opentelemetry_instrumentation_corevital.assessment.blame import judge_blame
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.calibration import Profile, fit_profile
from opentelemetry_instrumentation_corevital.run import Run

from .replay import as_run

FOLDS: Final = 5
WINDOWS: Final = (1.6, 1.8, 2.0, 2.2, 2.5)
CHANGES: Final = (1.6, 1.8, 2.0, 2.2)
MOST: Final = 0.02
"""Share of the runs without a fault that may blame a layer: the goal, for ordinary runs and for asked repetition."""


@dataclass(frozen=True, slots=True)
class Fold:
    """The runs of some prompts, and the profile of all others'."""

    profile: Profile
    faulty: Sequence[Planted]
    ordinary: Sequence[Run]
    asked: Sequence[Run]


@dataclass(frozen=True, slots=True)
class Blamed:
    """Whom some thresholds blame: counts, each of so many runs."""

    right: int
    faulty: int
    ordinary: tuple[int, int]
    asked: tuple[int, int]

    @property
    def quiet(self) -> bool:
        """Whether runs without a fault blame as few as the goal asks."""
        return all(blaming <= MOST * runs for blaming, runs in (self.ordinary, self.asked))


def layer_thresholds(told: Callable[[str], None] = print) -> Thresholds:
    """Return the thresholds that blame the right layer most often, of those that are quiet.

    Of equals those that blame least without a fault, then the lowest.
    """
    parts, ranked = folds(), []
    for window, change in product(WINDOWS, CHANGES):
        found = tried(parts, replace(DEFAULT, window_excess=window, change_excess=change))
        told(
            f"window {window}, change {change}: {found.right} of {found.faulty} right; blame without a fault "
            f"{found.ordinary[0]} of {found.ordinary[1]}, asked for repetition {found.asked[0]} of {found.asked[1]}"
        )
        if found.quiet:
            ranked.append((-found.right, found.ordinary[0] + found.asked[0], window, change))
    *_, window, change = min(ranked)
    told(f"best: window {window}, change {change}")
    return replace(DEFAULT, window_excess=window, change_excess=change)


def folds() -> list[Fold]:
    """Return the runs of the fitting half in folds; all runs of a prompt, or of prompts of one group, are in one."""
    runs = [one for one in planted() if one.half == "fit"]
    samples = [sample for sample in runset.load(runset.LAYERS) if sample.half == "fit"]
    healthy = [(_fold(one.prompt), one.run, "") for one in runs if one.fault is None]
    healthy += [(_fold(sample.prompt["group"]), as_run(sample), sample.prompt["class"]) for sample in samples]
    return [
        Fold(
            fit_profile([run for fold, run, _ in healthy if fold != number]),
            [one for one in runs if one.fault is not None and one.reached and _fold(one.prompt) == number],
            [run for fold, run, kind in healthy if fold == number and kind != "repeat"],
            [run for fold, run, kind in healthy if fold == number and kind == "repeat"],
        )
        for number in range(FOLDS)
    ]


def _fold(prompt: object) -> int:
    return hashlib.sha256(str(prompt).encode()).digest()[-1] % FOLDS


def tried(parts: Sequence[Fold], thresholds: Thresholds) -> Blamed:
    """Return whom thresholds blame in each fold, with the profile of the others."""
    right = faulty = 0
    ordinary, asked = [0, 0], [0, 0]
    for part in parts:
        limits = replace(thresholds, profile=part.profile)
        faulty += len(part.faulty)
        right += sum(first_blamed(one.run, limits) == one.layer for one in part.faulty)
        for count, runs in ((ordinary, part.ordinary), (asked, part.asked)):
            count[0] += sum(first_blamed(run, limits) is not None for run in runs)
            count[1] += len(runs)
    return Blamed(right, faulty, (ordinary[0], ordinary[1]), (asked[0], asked[1]))


def first_blamed(run: Run, thresholds: Thresholds) -> int | None:
    """Return the layer that is blamed first; None where none is."""
    run.health = judge_health(run, thresholds)
    blame = judge_blame(run, thresholds)
    return blame[0].layer if blame else None
