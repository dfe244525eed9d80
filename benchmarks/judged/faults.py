"""Planted faults: which flags see them and when, which layer is blamed, and what healthy runs are told."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from planted.profile import made
from planted.store import STEP, Planted, load
from runset import store as runset

from opentelemetry_instrumentation_corevital.assessment.blame import judge_blame
from opentelemetry_instrumentation_corevital.assessment.compound import judge_compound
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.run import Run

from .figures import Figure, Section, share
from .replay import as_run

_NONFINITE: Final = {"NaN": "nan_detected", "Inf": "inf_detected"}
_NEW_FLAGS: Final = ("nan_detected", "inf_detected", "attention_collapse_detected", "mid_layer_anomaly_detected")


def sections() -> list[Section]:
    """Return the figures of planted faults and of healthy runs with layer data, with the profile and without."""
    runs = load()
    faulty = [one for one in runs if one.fault is not None and one.reached]
    report = [one for one in faulty if one.half == "report"]
    with_profile = replace(DEFAULT, profile=made())
    healthy = [one.run for one in runs if one.fault is None and one.half == "report"]
    long = [as_run(sample) for sample in runset.load(runset.LAYERS) if sample.half == "report"]
    return [
        _nonfinite(faulty, with_profile),
        _blamed(report, faulty, with_profile),
        _healthy(healthy + long, with_profile),
        _compound(healthy + long, with_profile),
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


def _blamed(report: Sequence[Planted], faulty: Sequence[Planted], thresholds: Thresholds) -> Section:
    found: dict[str, list[bool]] = defaultdict(list)
    bare: list[bool] = []
    for one in report:
        found[str(one.fault)].append(_first(one.run, thresholds) == one.layer)
        bare.append(_first(one.run, DEFAULT) == one.layer)
    every = [_first(one.run, thresholds) == one.layer for one in faulty]
    total = [hit for hits in found.values() for hit in hits]
    rows = [
        share("the layer with the fault is blamed first", sum(total), len(total), least=0.95),
        share("... on all prompts", sum(every), len(every)),
        share("... without the profile", sum(bare), len(bare)),
        *(share(f"... {fault}", sum(hits), len(hits)) for fault, hits in sorted(found.items())),
    ]
    notes = [
        "The profile is made of one half of the prompts, the figures are of the other. A run that ended before its "
        "fault is left out. A cache of zeros is missed in layers that attend to the first token almost alone.",
    ]
    return Section("Blame of planted faults, with the profile", rows, notes)


def _first(run: Run, thresholds: Thresholds) -> int | None:
    run.health = judge_health(run, thresholds)
    blame = judge_blame(run, thresholds)
    return blame[0].layer if blame else None


def _healthy(runs: Sequence[Run], thresholds: Thresholds) -> Section:
    rows: list[Figure] = []
    for name, how in (("with the profile", thresholds), ("without it", DEFAULT)):
        health = [judge_health(run, how) for run in runs]
        loops = sum(bool(one.repetition_loop_detected) for one in health)
        flags = Counter(flag for one in health for flag in _NEW_FLAGS if one.flags().get(flag))
        flagged = sum(any(one.flags().get(flag) for flag in _NEW_FLAGS) for one in health)
        blamed = 0
        for run, one in zip(runs, health, strict=True):
            run.health = one
            blamed += bool(judge_blame(run, how))
        goal = 0.02 if how is thresholds else None
        five = sum(bool(one.raised()) for one in health)
        told = ", ".join(f"{flag} {count}" for flag, count in flags.items()) or "none"
        rows += [
            share(f"{name}: any of the five flags", five, len(runs), most=goal),
            share(f"{name}: any but the loop's ({told})", flagged, len(runs)),
            share(f"{name}: any blamed layer", blamed, len(runs), most=goal),
            share(f"{name}: the loop's flag", loops, len(runs)),
        ]
    return Section(
        "Healthy runs with layer data",
        rows,
        [
            "Nobody planted anything here, but a model of this size loops by itself; how rightly its loops are told "
            "is measured above."
        ],
    )


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
