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
from opentelemetry_instrumentation_corevital.run import Health, Run

from .figures import Figure, Section, share
from .replay import as_run

_NONFINITE: Final = {"NaN": "nan_detected", "Inf": "inf_detected"}
_NARROW: Final = "with a profile of long and short answers alone"
_NEW_FLAGS: Final = ("nan_detected", "inf_detected", "attention_collapse_detected", "mid_layer_anomaly_detected")


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
    for one in report:
        found[str(one.fault)].append(_first(one.run, thresholds) == one.layer)
    bare, chats = ([_first(one.run, how) == one.layer for one in report] for how in (DEFAULT, narrow))
    every = [_first(one.run, thresholds) == one.layer for one in faulty]
    total = [hit for hits in found.values() for hit in hits]
    rows = [
        share("the layer with the fault is blamed first", sum(total), len(total), least=0.95),
        share("... on all prompts", sum(every), len(every)),
        share("... without the profile", sum(bare), len(bare)),
        share(f"... {_NARROW}", sum(chats), len(chats)),
        *(share(f"... {fault}", sum(hits), len(hits)) for fault, hits in sorted(found.items())),
    ]
    notes = [
        "The profile is made of one half of the prompts, the figures are of the other. A run that ended before its "
        "fault is left out. A cache of zeros is missed in layers that attend to the first token almost alone: their "
        "attention does not leave what is usual over all kinds of text. A profile of fewer kinds has narrower tails "
        "and misses fewer of them, but blames layers of healthy runs of other kinds, as the next section shows. "
        "Thresholds from 1.4 to 1.8, larger ones during repetition, and the weight on the first keys as one more "
        "signal were tried: none meets both goals.",
    ]
    return Section("Blame of planted faults, with the profile", rows, notes)


def _first(run: Run, thresholds: Thresholds) -> int | None:
    run.health = judge_health(run, thresholds)
    blame = judge_blame(run, thresholds)
    return blame[0].layer if blame else None


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


_COMPOUND: Final = ("confident_confusion", "degenerating_generation", "context_loss")
