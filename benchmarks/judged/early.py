"""Early warning: before the flag, on runs that have nothing to warn of, and how good `failure_risk` is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.assessment.early_warning import SIGNALS

from .figures import Figure, Section, auroc, bootstrap, percentiles, share
from .replay import Replay

PREFIXES = (32, 64, 128, 256)


def sections(replays: Sequence[Replay]) -> list[Section]:
    """Return what is told of early warnings."""
    half = [one for one in replays if one.sample.half == "report"]
    return [before_the_flag(half), false_warnings(half), failure_risk(half)]


def before_the_flag(half: Sequence[Replay]) -> Section:
    """Lead of the warnings over the loop, on degenerate runs."""
    leads, any_leads, flagged = [], [], [one for one in half if one.sample.degenerate and one.flagged]
    for one in flagged:
        onset = (one.sample.label.onset if one.sample.label else None) or 0
        loop = onset + int(np.flatnonzero(one.loops[onset:])[0])
        leads.append(loop - onset - int(np.flatnonzero(one.repeats[onset:])[0]))
        warned = one.run.early_warning.first_step if one.run.early_warning else None
        any_leads.append(loop - warned if warned is not None else 0)
    return Section(
        "Warned before the flag",
        [
            share("degenerate runs with the flag: `repetition_risk` earlier", sum(v > 0 for v in leads), len(leads)),
            Figure("... lead in tokens: quartiles", percentiles(leads, (25, 50, 75))),
            share("any signal earlier", sum(lead > 0 for lead in any_leads), len(any_leads)),
            Figure("... lead in tokens, median", f"{np.median(any_leads):.0f}"),
        ],
        [
            "The flag could be raised from the first step on at which a loop is told. The first two rows count only "
            "warnings from the loop's second copy on; a warning before it may be chance."
        ],
    )


def false_warnings(half: Sequence[Replay]) -> Section:
    """Warnings on ordinary runs, by signal and way of decoding."""
    rows = []
    ordinary = [one for one in half if one.ordinary]
    ways = {
        "greedy or temperature 0.7": [one for one in ordinary if one.sample.plan["name"] != "hot"],
        "temperature 1, nothing cut off": [one for one in ordinary if one.sample.plan["name"] == "hot"],
    }
    for way, runs in ways.items():
        tokens = sum(one.run.steps for one in runs)
        for signal in SIGNALS[:4]:
            begun = sum(episodes(one, signal) for one in runs)
            hit = sum(signal in one.run.early_warning.signals for one in runs if one.run.early_warning)
            value = f"{1000 * begun / tokens:.1f} per 1,000 tokens; {hit} of {len(runs)} runs"
            rows.append(Figure(f"{way}: `{signal}`", value))
    return Section(
        "Warnings on ordinary runs",
        rows,
        [
            "Episodes, not steps: a warning that goes on counts once. Ordinary is not flawless: without any cut-off at "
            "temperature 1 this model writes word salad, of which the signals of the logits warn rightly."
        ],
    )


def episodes(one: Replay, signal: str) -> int:
    """Return how often a signal began to hold."""
    warning = one.run.early_warning
    steps = [step for step, signals in warning.active.items() if signal in signals] if warning else []
    return sum(before + 1 != step for before, step in zip([-2, *steps], steps, strict=False))


def failure_risk(half: Sequence[Replay]) -> Section:
    """Discrimination and calibration of `failure_risk`."""
    chosen = [one for one in half if one.run.steps and one.run.early_warning is not None]
    groups = [one.sample.prompt["group"] for one in chosen]
    flagged = np.array([one.flagged for one in chosen])
    risks = [one.run.early_warning.failure_risk.astype(float) for one in chosen if one.run.early_warning]
    looped = [one.loops.astype(float) for one in chosen]
    length = [np.arange(one.run.steps, dtype=float) for one in chosen]

    def over(rows: NDArray[np.int64], values: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], ...]:
        weights = np.concatenate([np.full(len(values[row]), 1 / len(values[row])) for row in rows])
        positive = np.concatenate([np.full(len(values[row]), flagged[row]) for row in rows])
        return np.concatenate([values[row] for row in rows]), positive, weights

    def brier(rows: NDArray[np.int64]) -> float:
        score, positive, weights = over(rows, risks)
        return float((weights * (score - positive) ** 2).sum() / weights.sum())

    def error(rows: NDArray[np.int64]) -> float:
        return calibration(*over(rows, risks))

    figures = [
        Figure(f"AUROC of {name}", bootstrap(groups, lambda rows, values=values: auroc(*over(rows, values)), 100))
        for name, values in (
            ("`failure_risk`", risks),
            ("a loop that goes on, alone", looped),
            ("the number of tokens so far, alone", length),
        )
    ]
    base = float(flagged.mean())
    figures += [
        Figure("Brier score; of the base rate", f"{bootstrap(groups, brier, 100)}; {base * (1 - base):.3f}"),
        Figure("expected calibration error, 10 bins", bootstrap(groups, error, 100)),
    ]
    for prefix in PREFIXES:
        rows = [i for i, one in enumerate(chosen) if one.run.steps > prefix and not one.loops[: prefix + 1].any()]
        scores, positive = np.array([risks[row][prefix] for row in rows]), flagged[rows]
        area = bootstrap([groups[row] for row in rows], lambda i, s=scores, p=positive: auroc(s[i], p[i]), 100)
        value = f"{area}; {int(positive.sum())} of {len(rows)} get the flag"
        figures.append(Figure(f"AUROC at token {prefix} of runs without a loop so far", value))
    return Section(
        "`failure_risk`",
        figures,
        [
            "At a step of a run, both drawn at random: does the run end with `repetition_loop_detected`? All classes, "
            "prompts of the half on which nothing was fitted; intervals by prompt group. Before a second copy begins "
            "it knows little, and says so: it starts at 0.05. How often a model loops differs between models; the "
            "estimate is calibrated for this one on this set."
        ],
    )


def calibration(scores: NDArray[np.float64], positive: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the expected calibration error over 10 bins of equal width."""
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = np.bincount(bins, weights * (scores - positive), 10)
    return float(np.abs(gaps).sum() / weights.sum())
