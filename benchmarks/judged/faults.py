"""Planted faults: which flags see them and when, which layer is blamed, and what healthy runs are told."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from planted.profile import KINDS, made
from planted.store import STEP, Planted, load
from runset import store as runset

from opentelemetry_instrumentation_corevital.assessment.blame import judge_blame
from opentelemetry_instrumentation_corevital.assessment.compound import judge_compound
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.catalogue.verdicts import COMPOUND, FLAGS
from opentelemetry_instrumentation_corevital.config import SUMMARY_ATTENTION_EVERY
from opentelemetry_instrumentation_corevital.run import Health, Run

from .figures import Figure, Section, share
from .layer_fitting import first_blamed, folds, tried
from .replay import as_run

_NONFINITE: Final = {"NaN": "nan_detected", "Inf": "inf_detected"}
_NARROW: Final = "with a profile of long and short answers alone"
_NEW_FLAGS: Final = tuple(flag.name for flag in FLAGS if flag.about != "text")


def sections() -> list[Section]:
    """Return the figures of planted faults and of healthy runs with layer data, with the profile and without."""
    runs = load()
    faulty = [one for one in runs if one.fault is not None and one.reached]
    report = [one for one in faulty if one.half == "report"]
    with_profile, narrow = (replace(DEFAULT, profile=made(kinds)) for kinds in (KINDS, ("long", "short")))
    healthy = [one.run for one in runs if one.fault is None and one.half == "report"]
    samples = [sample for sample in runset.load(runset.LAYERS) if sample.half == "report"]
    asked = [as_run(sample) for sample in samples if sample.prompt["class"] == "repeat"]
    healthy += [as_run(sample) for sample in samples if sample.prompt["class"] != "repeat"]
    return [
        _nonfinite(faulty, with_profile),
        _blamed(report, faulty, with_profile, narrow),
        _healthy(healthy, asked, with_profile, narrow),
        _compound(healthy + asked, with_profile),
    ]


def _nonfinite(faulty: Sequence[Planted], thresholds: Thresholds) -> Section:
    rows: list[Figure] = []
    for fault, flag in _NONFINITE.items():
        here = [one for one in faulty if one.fault == fault]
        right = 0
        for one in here:
            numbers = judge_health(one.run, thresholds).evidence.get(flag, {})
            right += numbers.get("step") == STEP and numbers.get("layer") == one.layer
        rows.append(
            share(f"one value of a layer is {fault}: flag with the right step and layer", right, len(here), least=1)
        )
    here = [one for one in faulty if one.fault == "float16 overflow"]
    flagged = sum(bool(judge_health(one.run, thresholds).inf_detected) for one in here)
    rows.append(share("float16 overflow: `inf_detected`", flagged, len(here)))
    return Section(
        "NaN and infinity", rows, ["Planted at step 16 of greedy and sampled runs, in layers all over the model."]
    )


def _blamed(
    report: Sequence[Planted], faulty: Sequence[Planted], thresholds: Thresholds, narrow: Thresholds
) -> Section:
    found: dict[str, list[bool]] = defaultdict(list)
    missed: Counter[str] = Counter()
    for one in report:
        hit = first_blamed(one.run, thresholds) == one.layer
        found[str(one.fault)].append(hit)
        if not hit:
            missed[f"{one.fault} in layer {one.layer}"] += 1
    bare, chats = ([first_blamed(one.run, how) == one.layer for one in report] for how in (DEFAULT, narrow))
    every = [first_blamed(one.run, thresholds) == one.layer for one in faulty]
    total = [hit for hits in found.values() for hit in hits]
    seldom = [first_blamed(_seldom_seen(one.run), thresholds) == one.layer for one in report]
    chosen = tried(folds(), DEFAULT)
    rows = [
        share("the layer with the fault is blamed first", sum(total), len(total), least=0.95),
        share("... on all prompts", sum(every), len(every)),
        share("... without the profile", sum(bare), len(bare)),
        share(f"... {_NARROW}", sum(chats), len(chats)),
        share("... with attention on every 8th step, as in `summary`", sum(seldom), len(seldom)),
        share("... in the cross-validation that chose the thresholds", chosen.right, chosen.faulty),
        *(share(f"... {fault}", sum(hits), len(hits)) for fault, hits in sorted(found.items())),
    ]
    notes = [
        "The profile is made of one half of the prompts, the figures are of the other. A run that ended before its "
        "fault is left out. `python benchmarks/judgement.py --fit` chose the thresholds by cross-validation on the "
        "first half: the most layers told rightly, of the pairs with which at most 2 % of the runs without a fault, "
        "and of those that were asked for repetition, blame a layer. Not blind: the figures of this half with lower "
        "thresholds, and without the change of attention, had been seen before.",
        "A cache of zeros hardly shows in layers that attend to the first token almost alone: their attention stays "
        "within what is usual over all kinds of text, and only its change at the fault's step gives most of them away. "
        "A change takes 16 attention samples in a row, so `summary` has to do without; it takes four in most of these "
        "runs, which have 32 steps.",
        "Missed: " + (", ".join(f"{what} ({count})" for what, count in sorted(missed.items())) or "none") + ".",
    ]
    return Section("Blame of planted faults, with the profile", rows, notes)


def _seldom_seen(run: Run) -> Run:
    """Return a run as `summary` measures it: attention on every 8th step."""
    columns = dict(run.columns)
    for name in (name for name in columns if name.startswith(("attention_", "collapsed_", "focused_"))):
        columns[name] = columns[name].copy()
        columns[name][np.arange(run.steps) % SUMMARY_ATTENTION_EVERY != 0] = np.nan
    return replace(run, columns=columns)


def _healthy(runs: Sequence[Run], asked: Sequence[Run], thresholds: Thresholds, narrow: Thresholds) -> Section:
    rows: list[Figure] = []
    for name, how in (("with the profile", thresholds), ("without it", DEFAULT)):
        goal = 0.02 if how is thresholds else None
        health = _judged(runs, how)
        five = sum(bool(one.raised()) for one in health)
        loops = sum(bool(one.repetition_loop_detected) for one in health)
        rows += [
            share(f"{name}: any of the five flags", five, len(runs), most=goal),
            _others(name, health, None),
            share(f"{name}: any blamed layer", _blaming(runs, how), len(runs), most=goal),
            share(f"{name}: the loop's flag", loops, len(runs)),
        ]
    for name, how in (("with the profile", thresholds), ("without it", DEFAULT)):
        kind, goal = f"repetition that was asked for, {name}", 0.02 if how is thresholds else None
        rows += [
            _others(kind, _judged(asked, how), goal),
            share(f"{kind}: any blamed layer", _blaming(asked, how), len(asked), most=goal),
        ]
    every = [*runs, *asked]
    _judged(every, narrow)
    rows.append(share(f"all of them, {_NARROW}: any blamed layer", _blaming(every, narrow), len(every)))
    return Section(
        "Healthy runs with layer data",
        rows,
        [
            "Nobody planted anything here, but a model of this size loops by itself; how rightly its loops are told "
            "is measured above. Repetition that was asked for: lists, tables, code, JSON, counting, refrains, a word "
            "so many times. Of these runs most are cut off after 96 tokens, many in mid-refrain: the loop's flag is "
            "not counted."
        ],
    )


def _judged(runs: Sequence[Run], thresholds: Thresholds) -> list[Health]:
    """Judge the runs' health, which the blame goes by."""
    for run in runs:
        run.health = judge_health(run, thresholds)
    return [run.health for run in runs if run.health is not None]


def _blaming(runs: Sequence[Run], thresholds: Thresholds) -> int:
    """Return how many of the runs, whose health was judged alike, blame a layer."""
    return sum(bool(judge_blame(run, thresholds)) for run in runs)


def _others(name: str, health: Sequence[Health], goal: float | None) -> Figure:
    """Return how many have a flag other than the loop's, and which."""
    flags = Counter(flag for one in health for flag in _NEW_FLAGS if one.flags().get(flag))
    told = ", ".join(f"{flag} {count}" for flag, count in flags.items()) or "none"
    flagged = sum(any(one.flags().get(flag) for flag in _NEW_FLAGS) for one in health)
    return share(f"{name}: any but the loop's ({told})", flagged, len(health), most=goal)


def _compound(runs: Sequence[Run], thresholds: Thresholds) -> Section:
    counts: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    for run in runs:
        found, absent = judge_compound(run, thresholds)
        counts.update(signal.name for signal in found)
        judged.update(name for name in _COMPOUND if name not in absent)
    rows = [share(f"`{name}` on healthy runs", counts[name], judged[name]) for name in _COMPOUND]
    by_kind: dict[tuple[str, str], list[tuple[str, ...]]] = defaultdict(list)
    for sample in runset.load():
        found, _ = judge_compound(as_run(sample), DEFAULT)
        by_kind[sample.prompt["class"], sample.plan["name"]].append(tuple(signal.name for signal in found))
    for (kind, plan), told in sorted(by_kind.items()):
        some = [float(np.mean([name in names for names in told])) for name in _COMPOUND[:2]]
        rows.append(Figure(f"run set, {kind}, {plan}: " + ", ".join(_COMPOUND[:2]), f"{some[0]:.3f}, {some[1]:.3f}"))
    notes = [
        "None of them has a labelled truth: the rows say how often they fire. Hot runs are sampled at a temperature at "
        "which the text falls apart."
    ]
    return Section("Compound signals", rows, notes)


_COMPOUND: Final = tuple(signal.name for signal in reversed(COMPOUND))
