"""What CoreVital's verdicts are worth on one model of the zoo: counts of runs, from which the page is made."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from re import search
from typing import Final

import numpy as np
from zoo import store
from zoo.store import ZooRun

from opentelemetry_instrumentation_corevital.baselines.windowed import TableRows, parts
from opentelemetry_instrumentation_corevital.run import Run

from .choosing import Trial, Tried, tried
from .diagnosis import Place, alone, places
from .excess import stacked
from .lessons import Lesson, Student, calibrated, learned
from .rough_rules import RoughNumbers, measured, setting_in
from .strange import Strange, strange
from .verdicts import NONE, Baseline, Judge, first_blamed, flags_of_layers, loops
from .zoo_loops import Outcome, is_clear, is_plain, outcomes
from .zoo_runs import as_run, model_of, run_of_tokens, seen_as_windows

CHANGES: Final = 0.1
"""Bit: a fault that changes the next token's distribution by more on average counts as one that has to be found."""
REPEATING: Final = "asked: repeat"
"""Kind of SmolLM2's runs that were asked for repetition."""
NONFINITE: Final = {"NaN": "nan_detected", "Inf": "inf_detected", "float16 overflow": "inf_detected"}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is drawn.

    Attributes:
        draws: runs that teach -> number of baselines, each learned from them in another order.
        tried: baselines of each size on which rules are tried.
    """

    draws: Mapping[int, int] = field(default_factory=lambda: {50: 8, 200: 4})
    tried: int = 2


SMALL: Final = Plan({50: 2}, tried=1)
"""For a toy zoo."""


@dataclass(frozen=True, slots=True)
class Count:
    """So many of so many runs; a mean over draws has parts of a run."""

    hits: float = 0
    total: float = 0

    def __add__(self, other: "Count") -> "Count":
        """Return the sum."""
        return Count(self.hits + other.hits, self.total + other.total)

    @property
    def rate(self) -> float:
        """Return the fraction; NaN of nothing."""
        return self.hits / self.total if self.total else float("nan")

    @classmethod
    def of(cls, values: Sequence[bool]) -> "Count":
        """Return how many are true."""
        return cls(sum(map(bool, values)), len(values))


Counts = dict[str, Count]


@dataclass(slots=True)
class ModelFigures:
    """What was counted on one model.

    Attributes:
        layers: of one source of a baseline (`50`, `200`, `calibrated`, `none`): counts by row of each draw.
        flags: of a source: flag -> held-out runs that raise it, summed over draws.
        kinds: of a source: kind of fault -> first blamed layer right.
        lengths: of a source: most tokens of a healthy run -> with such a flag, or a blame.
        nonfinite: kind of fault -> flag, step and layer right without a baseline.
        loops: rows of the section on loops.
        loop_limits: what each limit of the loop's would do.
        structured, made: format -> called a loop.
        vocabulary: size.
        warned: of a source: warning -> ordinary runs with it, and `any`.
        begun: of a source: warnings that began; `tokens` of these runs.
        levels: of a source: risk level -> ordinary runs.
        contradictions: pair -> runs; `runs` are all that were looked at.
        agreement: what is judged alike on steps as kept and made of windows.
        tried: rows of a learned baseline -> what each rule does, summed over the baselines on which it was tried.
        strange: what the calibrated baseline does, by how far out a strange run is, see `strange.TIMES`.
        places: where the excess of faults is, with the largest learned baseline.
        alone: view and signal, kind of fault -> first layer right by that signal alone, with the same.
        rough: warning -> numbers of its rule without a baseline.
    """

    name: str
    vocabulary: int = 0
    layers: dict[str, list[Counts]] = field(default_factory=dict)
    flags: dict[str, Counter[str]] = field(default_factory=dict)
    kinds: dict[str, Counts] = field(default_factory=dict)
    lengths: dict[str, dict[int, Count]] = field(default_factory=dict)
    nonfinite: Counts = field(default_factory=dict)
    loops: Counts = field(default_factory=dict)
    loop_limits: dict[int, Outcome] = field(default_factory=dict)
    structured: Counts = field(default_factory=dict)
    made: Counts = field(default_factory=dict)
    warned: dict[str, Counts] = field(default_factory=dict)
    begun: dict[str, Counter[str]] = field(default_factory=dict)
    levels: dict[str, Counter[str]] = field(default_factory=dict)
    contradictions: dict[str, Counter[str]] = field(default_factory=dict)
    agreement: Counts = field(default_factory=dict)
    tried: dict[str, list[Tried]] = field(default_factory=dict)
    strange: list[Strange] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    alone: dict[tuple[str, str], Count] = field(default_factory=dict)
    rough: dict[str, RoughNumbers] = field(default_factory=dict)


class ZooModel:
    """The runs of a model, and the baselines that they teach."""

    def __init__(self, name: str, folder: Path = store.FOLDER) -> None:
        self.name, self.folder = name, folder
        self.model = model_of(store.about(name, folder))
        self.zoo = store.load(name, folder)
        self.runs = [as_run(one, self.model) for one in self.zoo]

    def of(self, group: str, side: str = "") -> list[tuple[ZooRun, Run]]:
        """Return the runs of a group, of one side of it."""
        return [
            (one, run) for one, run in zip(self.zoo, self.runs, strict=True) if (one.group, one.side) == (group, side)
        ]

    @cached_property
    def held_out(self) -> list[tuple[ZooRun, Run]]:
        """Return the healthy runs that are judged."""
        return self.of("healthy", "held_out")

    @cached_property
    def faults(self) -> list[tuple[ZooRun, Run]]:
        """Return the runs that came as far as their fault."""
        return [(one, run) for one, run in self.of("fault") if one.reached]

    @cached_property
    def grave(self) -> list[tuple[ZooRun, Run]]:
        """Return those whose fault changed the output."""
        return [(one, run) for one, run in self.faults if one.kl is not None and one.kl > CHANGES]

    @cached_property
    def students(self) -> list[Student]:
        """Return the healthy runs that may teach."""
        return [Student.of(number, run) for number, (_, run) in enumerate(self.of("healthy", "baseline"))]

    @cached_property
    def calibrated(self) -> Baseline:
        """Return the baseline of all of them."""
        return calibrated(self.students)

    def lesson(self, count: int, seed: int) -> Lesson:
        """Return what is learned from some of them."""
        return learned(self.students, count, seed)

    def trial(self) -> Trial:
        """Return the runs on which rules are tried."""
        taught, healthy, faults = (
            [student.run for student in self.students],
            [run for _, run in self.held_out],
            [run for _, run in self.grave],
        )
        rows = TableRows(self.model.layer_count or 0)
        bare = Judge()
        told = [first_blamed(bare.layers(run)) for run in faults]
        return Trial(
            rows,
            *(stacked(runs, [list(parts(run, rows)) for run in runs]) for runs in (taught, healthy, faults)),
            np.array([one.layer for one, _ in self.grave], np.intp),
            np.array([-1 if layer is None else layer for layer in told], np.intp),
        )


def figures(name: str, folder: Path = store.FOLDER, plan: Plan | None = None) -> ModelFigures:
    """Return what is counted on a model."""
    plan = plan or Plan()
    zoo = ZooModel(name, folder)
    found = ModelFigures(name, zoo.model.vocabulary_size or 0)
    lessons = {count: [zoo.lesson(count, seed) for seed in range(draws)] for count, draws in plan.draws.items()}
    sources: dict[str, list[Baseline]] = {
        **{str(count): [lesson.baseline for lesson in some] for count, some in lessons.items()},
        "calibrated": [zoo.calibrated],
        "none": [NONE],
    }
    most = str(max(plan.draws))
    for source, baselines in sources.items():
        judged = Judged(zoo, baselines[0], whole=source in (most, "calibrated", "none"))
        layers = [_layers(zoo, judged, found, source)]
        if judged.whole:
            _ordinary(zoo, judged, found, source)
            found.contradictions[source] = _contradicting(zoo, judged)
        if source == "none":
            found.nonfinite, found.loops = _nonfinite(zoo, judged), _loops(zoo, judged)
            found.structured, found.made = _structured(zoo, judged)
            found.loop_limits = _loop_limits(zoo)
        layers += [_layers(zoo, Judged(zoo, baseline), found, source) for baseline in baselines[1:]]
        found.layers[source] = layers
    found.agreement = _agreement(zoo, sources[most][0])
    found.strange = strange(
        zoo.calibrated, [run for _, run in zoo.held_out], [(run, one.layer) for one, run in zoo.grave]
    )
    trial = zoo.trial()
    for count, some in lessons.items():
        each = [tried(trial, lesson) for lesson in some[: plan.tried]]
        found.tried[str(count)] = [sum(outcomes, Tried()) for outcomes in zip(*each, strict=True)]
    kinds, lesson = [one.fault for one, _ in zoo.grave], lessons[max(plan.draws)][0]
    found.places = places(trial, lesson, kinds)
    found.alone = {key: Count(*counts) for key, counts in alone(trial, lesson, kinds).items()}
    found.rough = rough(zoo)
    return found


def rough(zoo: ZooModel) -> dict[str, RoughNumbers]:
    """Return the numbers of the warnings without a baseline, of ordinary runs and of faults with finite numbers."""
    healthy = [run for _, run in zoo.held_out]
    faults = [(one, run) for one, run in zoo.grave if one.fault not in NONFINITE]
    later = setting_in(healthy, [run for one, run in faults if one.step == 0])
    return measured(healthy, [run for _, run in faults], later)


class Judged:
    """A model's runs as judged with a baseline, each once.

    Args:
        zoo: the runs.
        baseline: what they are judged with.
        whole: whether every verdict of every run is wanted, not flags and blame of some.
    """

    def __init__(self, zoo: ZooModel, baseline: Baseline, *, whole: bool = False) -> None:
        self.judge, self.whole = Judge(baseline), whole
        self._found = {one.number: self.judge.all(run) for one, run in zip(zoo.zoo, zoo.runs, strict=True) if whole}

    def layers(self, pair: tuple[ZooRun, Run]) -> Run:
        """Return a run with flags and blame at least."""
        return self._found[pair[0].number] if self.whole else self.judge.layers(pair[1])

    def all(self, pair: tuple[ZooRun, Run]) -> Run:
        """Return a run with every verdict."""
        return self._found[pair[0].number] if self.whole else self.judge.all(pair[1])


def _layers(zoo: ZooModel, judged: Judged, found: ModelFigures, source: str) -> Counts:
    """Count flags and blame of healthy runs and of faults."""
    healthy = [judged.layers(pair) for pair in zoo.held_out]
    flags, kinds = found.flags.setdefault(source, Counter()), found.kinds.setdefault(source, {})
    flags.update(flag for run in healthy for flag in flags_of_layers(run))
    lengths = found.lengths.setdefault(source, {})
    for (one, _), run in zip(zoo.held_out, healthy, strict=True):
        alarm = Count.of([bool(flags_of_layers(run) or run.blame)])
        lengths[one.limit] = lengths.get(one.limit, Count()) + alarm
    right, told = [], []
    for pair in zoo.grave:
        one = pair[0]
        hit = first_blamed(judged.layers(pair)) == one.layer
        right.append(hit)
        kinds[one.fault] = kinds.get(one.fault, Count()) + Count.of([hit])
        if hit:
            told.append(judged.all(pair))
    return {
        "flag": Count.of([bool(flags_of_layers(run)) for run in healthy]),
        "blame": Count.of([bool(run.blame) for run in healthy]),
        "right": Count.of(right),
        "flagged": Count.of([bool(flags_of_layers(run)) for run in told]),
        "not low": Count.of([run.risk is not None and run.risk.level != "low" for run in told]),
        "named": Count.of([_named(run) for run in told]),
    }


def _named(run: Run) -> bool:
    """Whether the narrative names the first blamed layer."""
    return search(rf"[Ll]ayer {first_blamed(run)}\b", run.narrative or "") is not None


def _nonfinite(zoo: ZooModel, judged: Judged) -> Counts:
    found = dict.fromkeys(NONFINITE, Count())
    for one, run in zoo.faults:
        if one.fault in NONFINITE:
            health = judged.layers((one, run)).health
            numbers = health.evidence.get(NONFINITE[one.fault], {}) if health else {}
            found[one.fault] += Count.of([(numbers.get("step"), numbers.get("layer")) == (one.step, one.layer)])
    return found


def _loops(zoo: ZooModel, judged: Judged) -> Counts:
    looping = [(pair[0], loops(judged.layers(pair))) for pair in zoo.of("loop")]
    others = [pair for pair in (*zoo.of("healthy", "baseline"), *zoo.held_out) if pair[0].kind != REPEATING]
    healthy = [(is_plain(pair[0]), loops(judged.layers(pair))) for pair in others]
    hits = sum(told for one, told in looping if one.kind != REPEATING)
    plain = Count.of([told for clear, told in healthy if clear])
    return {
        "clear": Count.of([told for one, told in looping if is_clear(one)]),
        "all": Count.of([told for _, told in looping]),
        "precision": Count(hits, hits + plain.hits),
        "plain": plain,
        "repetitive": Count.of([told for clear, told in healthy if not clear]),
    }


def _loop_limits(zoo: ZooModel) -> dict[int, Outcome]:
    looping = [one.tokens.tolist() for one, _ in zoo.of("loop") if is_clear(one)]
    generated = [one.tokens.tolist() for one, _ in zoo.of("structured") if one.end == "length" and not one.copies]
    made = [tokens.tolist() for _, tokens in store.made_texts(zoo.name, zoo.folder)]
    return outcomes(looping, generated + made)


def _structured(zoo: ZooModel, judged: Judged) -> tuple[Counts, Counts]:
    generated: Counts = {}
    made: Counts = {}
    for pair in zoo.of("structured"):
        if pair[0].end == "length" and not pair[0].copies:
            told = Count.of([loops(judged.layers(pair))])
            generated[pair[0].kind] = generated.get(pair[0].kind, Count()) + told
    for kind, tokens in store.made_texts(zoo.name, zoo.folder):
        told = Count.of([loops(judged.judge.layers(run_of_tokens(tokens, zoo.model)))])
        made[kind] = made.get(kind, Count()) + told
    return generated, made


def _ordinary(zoo: ZooModel, judged: Judged, found: ModelFigures, source: str) -> None:
    """Count warnings and risk levels of healthy runs."""
    runs = [judged.all(pair) for pair in zoo.held_out]
    names = sorted({name for run in runs for name in run.warnings})
    found.warned[source] = {"any": Count.of([bool(run.warnings) for run in runs])} | {
        name: Count.of([name in run.warnings for run in runs]) for name in names
    }
    found.begun[source] = Counter(name for run in runs for name in _begun(run))
    found.begun[source]["tokens"] = sum(run.steps for run in runs)
    found.levels[source] = Counter(run.risk.level for run in runs if run.risk is not None)


def _begun(run: Run) -> Iterator[str]:
    """Yield each warning as often as it began: one that goes on counts once, one of the whole run, too."""
    active = {} if run.early_warning is None else run.early_warning.active
    seen: set[str] = set()
    for before, step in pairwise((-2, *sorted(active))):
        earlier = active[before] if before + 1 == step else ()
        yield from (name for name in active[step] if name not in earlier)
        seen.update(active[step])
    yield from (name for name in run.warnings if name not in seen)


def _contradicting(zoo: ZooModel, judged: Judged) -> Counter[str]:
    from tests.support.contradictions import contradictions  # of a checkout, like the benchmarks

    found = Counter(runs=len(zoo.runs))
    for pair in zip(zoo.zoo, zoo.runs, strict=True):
        found.update(contradictions(judged.all(pair)))
    return found


def _agreement(zoo: ZooModel, baseline: Baseline) -> Counts:
    """Compare verdicts on steps as they were with those on steps that were made of windows."""
    judge = Judge(baseline)
    found = dict.fromkeys(("flags", "blame", "warnings"), Count())
    for one, run in zip(zoo.zoo, zoo.runs, strict=True):
        if not one.layers:
            continue
        whole, windowed = judge.all(run), judge.all(seen_as_windows(run))
        found["flags"] += Count.of([flags_of_layers(whole) == flags_of_layers(windowed)])
        found["blame"] += Count.of([first_blamed(whole) == first_blamed(windowed)])
        found["warnings"] += Count.of([sorted(whole.warnings) == sorted(windowed.warnings)])
    return found
