"""Baselines of the zoo's healthy runs: learned as the product's learner learns them, and calibrated.

The runs of a model's `baseline` side come one after another, in a random order. Each is judged by the baseline as it
stood before it, and what happens to it then is what `emission.judgements.Teacher` and `baselines.learner` would do: a
run beyond the limit is counted and teaches nothing, one that loops teaches nothing, the numbers of the others are kept.
The learner's own code does it; only the file is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.baselines.learned import LearnedBaseline, identity_of
from opentelemetry_instrumentation_corevital.baselines.learner import ANCHOR_RUNS, Learner, Pupil, Usual, _added
from opentelemetry_instrumentation_corevital.baselines.profile_limits import limit_of_profile
from opentelemetry_instrumentation_corevital.baselines.run_numbers import RunLimit, run_number
from opentelemetry_instrumentation_corevital.baselines.sketches import Sketches
from opentelemetry_instrumentation_corevital.baselines.windowed import Part, TableRows, parts
from opentelemetry_instrumentation_corevital.calibration.fit import fit_profile
from opentelemetry_instrumentation_corevital.catalogue.verdicts import FLAG, FLAGS
from opentelemetry_instrumentation_corevital.run import Run

from .verdicts import LOOP, NONE, Baseline, Judge

_OF_LAYERS: Final = frozenset(flag.name for flag in FLAGS if flag.about == "layers")


OUTER: Final = (0.001, 0.01)
"""Levels of the quantiles, on either side, that can be the unit in which a number is far out."""


@dataclass(frozen=True, slots=True)
class Ruler:
    """What was usual at some moment, of every row: the median [rows], and for each of `OUTER` the quantiles on both
    sides [rows]."""

    centre: NDArray[np.float64]
    low: Mapping[float, NDArray[np.float64]]
    high: Mapping[float, NDArray[np.float64]]

    @classmethod
    def of(cls, sketches: Sketches) -> "Ruler":
        """Return that of sketches."""
        count = len(OUTER)
        found = sketches.quantiles((0.5, *OUTER, *(1 - level for level in OUTER)))
        return cls(
            found[0],
            dict(zip(OUTER, found[1 : 1 + count], strict=True)),
            dict(zip(OUTER, found[1 + count :], strict=True)),
        )


@dataclass(frozen=True, slots=True)
class Student:
    """A healthy run that may teach, and what it is without a baseline."""

    number: int
    """Its place among the runs of its side."""
    run: Run
    parts: list[Part]
    raised: frozenset[str]
    looped: bool
    """Whether it was in a loop at any step."""

    @classmethod
    def of(cls, number: int, run: Run) -> "Student":
        """Judge a run without a baseline."""
        judged = _bare().all(run)
        so_far = None if judged.early_warning is None else judged.early_warning.risk_so_far
        looped = so_far is not None and bool((so_far >= FLAG[LOOP].weight).any())
        raised = frozenset(judged.health.raised() if judged.health else ())
        return cls(number, run, list(parts(run, TableRows(run.model.layer_count or 0))), raised, looped)


@dataclass(slots=True)
class Lesson:
    """What a model's baseline has become after so many runs, and how it was measured on the way.

    Attributes:
        baseline: as the product would judge with it.
        ruler: what is usual, of every row, at the end.
        rulers: what it was each time that the learner renewed what runs are measured with.
        measured: (number of the run, ruler it was measured with, runs in that) of each run that taught.
    """

    baseline: Baseline
    ruler: Ruler
    rulers: list[Ruler] = field(default_factory=list)
    measured: list[tuple[int, int, int]] = field(default_factory=list)


@cache
def _bare() -> Judge:
    return Judge()


@cache
def _learner() -> Learner:
    return Learner()


def learned(students: Sequence[Student], count: int, seed: int) -> Lesson:
    """Return what is learned from the first `count` runs that teach, in a random order."""
    order = list(students)
    Random(seed).shuffle(order)
    return _taught(order, count)


def _taught(order: Sequence[Student], count: int) -> Lesson:
    learner, model = _learner(), order[0].run.model
    pupil = Pupil(Path("kept in memory"), None, LearnedBaseline.empty(identity_of(model)))
    lesson = Lesson(NONE, Ruler.of(pupil.new.sketches))
    for student in order:
        usual = pupil.usual
        if usual.runs >= count:
            break
        teaches = _teaches(student, usual)
        if teaches is None:
            continue
        if teaches and usual.yardstick is not None:
            lesson.measured.append((student.number, len(lesson.rulers) - 1, usual.measured))
        learner._learn(pupil, student.run, teaches=teaches)
        if len(pupil.waiting) >= ANCHOR_RUNS:  # it is written for the first time then
            pupil.known = _added(None, pupil)
            pupil.forget_what_is_new()
            learner._renew(pupil)
        if pupil.usual.measured > usual.measured:
            lesson.rulers.append(Ruler.of(_whole(pupil).sketches))
    pupil.count_numbers()
    whole = _whole(pupil)
    lesson.baseline = Baseline("learned", whole.profile(), whole.limit(), whole.runs, whole.tokens)
    lesson.ruler = Ruler.of(whole.sketches)
    return lesson


def _teaches(student: Student, usual: Usual) -> bool | None:
    """Return what a service would have done with a run: taught it, counted it (False), or left it out (None)."""
    raised = student.raised
    if usual.limit is not None and _beyond(student, usual.limit):
        health = Judge(Baseline("learned", usual.profile, usual.limit, usual.runs, usual.tokens)).layers(student.run)
        raised = frozenset(health.health.raised() if health.health else ())
    teaches = not raised and not student.looped
    return teaches if teaches or raised <= _OF_LAYERS else None


def _beyond(student: Student, limit: RunLimit) -> bool:
    """Whether a run is beyond a limit: without that nothing of the baseline raises a flag."""
    number = run_number(student.parts, limit.yardstick)
    return number is not None and number.value > limit.value


def _whole(pupil: Pupil) -> LearnedBaseline:
    return pupil.new if pupil.known is None else pupil.known.merged(pupil.new)


def calibrated(students: Sequence[Student]) -> Baseline:
    """Return the profile that `corevital calibrate` would make of all runs, with its limit.

    This is the one place that knows how a calibrated profile gets its limit.
    """
    profile = fit_profile([student.run for student in students if not student.raised and not student.looped])
    limit, _ = limit_of_profile(profile)
    return Baseline("calibrated", profile, limit, profile.made.runs, profile.made.steps)
