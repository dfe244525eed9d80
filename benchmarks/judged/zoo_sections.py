"""The page's sections on the zoo, from what was counted on each model: rows, goals, and whether they are met."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from opentelemetry_instrumentation_corevital.catalogue.verdicts import COMPOUND, EARLY_WARNINGS, HIGH_ENTROPY_SHARE

from . import rough_sections, rule_sections, zoo_loop_sections
from .figures import Figure, Section
from .zoo_model import NONFINITE, Count, ModelFigures
from .zoo_rows import SOURCES, Models, by_model, held, pooled, total

_ALARMS: Final = {"50": (0.03, 0.06), "200": (0.01, 0.03), "calibrated": (0.01, 0.03), "none": (0.005, 0.01)}
"""Most of the healthy runs: of all models, of one."""
_WARNINGS: Final = sorted([HIGH_ENTROPY_SHARE, *(each.name for each in (*EARLY_WARNINGS, *COMPOUND))])
_RIGHT: Final = {"50": 0.80, "200": 0.85, "calibrated": 0.90}


def sections(models: Models) -> list[Section]:
    """Return the sections."""
    return [
        _alarms(models, "flag", "Healthy runs with any flag but the loop's", [_which_flags(models), _lengths(models)]),
        _alarms(models, "blame", "Healthy runs that blame a layer", []),
        _blamed(models),
        _story(models),
        _nonfinite(models),
        zoo_loop_sections.loops(models),
        _structured(models),
        zoo_loop_sections.limit(models),
        _warnings(models),
        *rough_sections.sections(models),
        _levels(models),
        _contradictions(models),
        *rule_sections.sections(models),
        _agreement(models),
    ]


# --- counts ------------------------------------------------------------------------------------------------------


def _of_draws(model: ModelFigures, source: str, row: str) -> Count:
    """Return a row of a model: the mean over the baselines that were drawn."""
    draws = model.layers.get(source, [])
    found = total(draw[row] for draw in draws)
    return Count(found.hits / len(draws), found.total / len(draws)) if draws else Count()


def _spread(models: Models, source: str, row: str) -> str:
    """Return the smallest and the largest share that single draws have, over all models."""
    draws = zip(*(model.layers[source] for model in models if source in model.layers), strict=True)
    rates = [total(counts[row] for counts in draw).rate for draw in draws]
    return f"{len(rates)}: {min(rates):.4f} to {max(rates):.4f}" if rates else "none"


# --- sections ----------------------------------------------------------------------------------------------------


def _alarms(models: Models, row: str, title: str, notes: Sequence[str]) -> Section:
    rows: list[Figure] = []
    for source, words in SOURCES.items():
        here = [model for model in models if source in model.layers]
        if not here:
            continue
        of_all, of_one = _ALARMS[source]
        counts = {model.name: _of_draws(model, source, row) for model in here}
        worst = max(counts, key=lambda name: counts[name].rate)
        rows.append(pooled(f"{words}: pooled", total(counts.values()), most=of_all))
        value = f"{worst} {counts[worst].rate:.4f} ({counts[worst].hits:.4g} of {counts[worst].total:.5g})"
        rows.append(held(f"... {words}: worst model", value, counts[worst].rate, None, of_one))
        rows.append(by_model(here, lambda model, source=source: _of_draws(model, source, row)))  # type: ignore[misc]
        if source.isdigit():
            rows.append(Figure(f"... {words}: single draws, pooled", _spread(here, source, row)))
    note = (
        "Healthy runs of 40 to 600 tokens of prompts that taught nothing. A share is the mean over baselines that were "
        "learned from the other prompts' runs, each in another random order. Learned and calibrated are of each model "
        "itself, as in use; only the rule is the same for all."
    )
    return Section(title, rows, [note, *notes])


def _which_flags(models: Models) -> str:
    told = []
    for source, words in SOURCES.items():
        flags: Counter[str] = Counter()
        for model in models:
            flags.update(model.flags.get(source, Counter()))
        if flags:
            told.append(f"{words}: " + ", ".join(f"`{flag}` {count}" for flag, count in flags.most_common()))
    return "Flags, summed over draws: " + ("; ".join(told) or "none") + "."


def _lengths(models: Models) -> str:
    """Return how often runs of each length raise a false alarm: longer ones have more windows."""
    most = _most(models)
    limits = sorted({limit for model in models for limit in model.lengths.get(most, {})})
    counts = {limit: total(model.lengths[most].get(limit, Count()) for model in models) for limit in limits}
    told = ", ".join(f"{limit} tokens {count.rate:.4f}" for limit, count in counts.items())
    return f"A flag or a blame by the most tokens of a run, {SOURCES[most]}: {told}."


def _blamed(models: Models) -> Section:
    rows: list[Figure] = []
    for source, words in SOURCES.items():
        here = [model for model in models if source in model.layers]
        if not here:
            continue
        counts = {model.name: _of_draws(model, source, "right") for model in here}
        rows.append(pooled(f"{words}: pooled", total(counts.values()), least=_RIGHT.get(source)))
        rows.append(by_model(here, lambda model, source=source: _of_draws(model, source, "right")))  # type: ignore[misc]
        if source.isdigit():
            rows.append(Figure(f"... {words}: single draws, pooled", _spread(here, source, "right")))
        finite = total(
            count
            for model in here
            for kind, count in model.kinds.get(source, {}).items()
            if kind not in ("NaN", "Inf", "float16 overflow")
        )
        if finite.total:
            rows.append(pooled(f"... {words}: of faults that leave all numbers finite", finite))
    most = _most(models)
    kinds = sorted({kind for model in models for kind in model.kinds.get(most, {})})
    rows += [
        pooled(f"{SOURCES[most]}: {kind}", total(model.kinds[most].get(kind, Count()) for model in models))
        for kind in kinds
    ]
    note = (
        "Planted faults that changed the next token's distribution by more than 0.1 bit on average, in runs that came "
        "as far as their fault: the layer that is blamed first is the one with the fault."
    )
    return Section("Faults that change the output: first blamed layer is the right one", rows, [note])


def _most(models: Models) -> str:
    """Return the largest learned baseline of which there are figures."""
    return max((source for model in models for source in model.layers if source.isdigit()), key=int, default="none")


def _story(models: Models) -> Section:
    rows: list[Figure] = []
    for source, words in SOURCES.items():
        here = [model for model in models if source in model.layers]
        for row, what in (
            ("flagged", "a flag is raised"),
            ("not low", "risk is not low"),
            ("named", "narrative names it"),
        ):
            count = total(_of_draws(model, source, row) for model in here)
            if count.total:
                goal = 0.95 if source in _RIGHT else None
                rows.append(pooled(f"{words}: {what}", count, least=goal))
                rows.append(by_model(here, lambda model, at=(source, row): _of_draws(model, *at)))  # type: ignore[misc]
    return Section("Runs with a right blame", rows, ["Of the runs above whose first blamed layer is the right one."])


def _nonfinite(models: Models) -> Section:
    names = {
        "NaN": "one value of a layer is NaN: flag with the right step and layer",
        "Inf": "one value of a layer is Inf: flag with the right step and layer",
        "float16 overflow": "float16 overflow: `inf_detected` with the right step and layer",
    }
    rows: list[Figure] = []
    for kind in NONFINITE:
        rows.append(pooled(names[kind], total(model.nonfinite.get(kind, Count()) for model in models), least=1))
        rows.append(by_model(models, lambda model, kind=kind: model.nonfinite.get(kind, Count())))  # type: ignore[misc]
    return Section("NaN and infinity", rows, ["Without a baseline. Planted at step 16, in layers all over each model."])


def _structured(models: Models) -> Section:
    rows: list[Figure] = []
    for what, of in (("generated", lambda model: model.structured), ("made", lambda model: model.made)):
        every = total(count for model in models for count in of(model).values())
        rows.append(pooled(f"{what}: all formats", every, most=0.02))
        rows.append(by_model(models, lambda model, of=of: total(of(model).values())))  # type: ignore[misc]
        for kind in sorted({kind for model in models for kind in of(model)}):
            count = total(of(model).get(kind, Count()) for model in models)
            rows.append(pooled(f"{what}: {kind}", count, most=0.02))
    sizes = sorted({model.vocabulary for model in models})
    note = (
        "Generated: begun with two to four records and cut off by the limit, without three exact copies at the end. "
        "Made: documents with varying values that no model wrote, cut off, in each model's tokens. Vocabularies: "
        + ", ".join(f"{size:,}" for size in sizes)
        + "."
    )
    return Section("Structured text called a loop", rows, [note])


def _warnings(models: Models) -> Section:
    rows: list[Figure] = []
    for source in (_most(models), "calibrated", "none"):
        here = [model for model in models if source in model.warned]
        if not here:
            continue
        words = SOURCES[source]
        rows.append(pooled(f"{words}: any warning", total(model.warned[source]["any"] for model in here), most=0.2))
        rows.append(by_model(here, lambda model, source=source: model.warned[source]["any"]))  # type: ignore[misc]
        begun: Counter[str] = Counter()
        for model in here:
            begun.update(model.begun[source])
        tokens = max(1, begun.pop("tokens", 0))
        rows.append(Figure(f"{words}: warnings per 1,000 tokens", f"{1000 * begun.total() / tokens:.2f}"))
        runs = sum(model.warned[source]["any"].total for model in here)
        for name in _WARNINGS:
            hits = total(model.warned[source].get(name, Count()) for model in here).hits
            value = f"{hits:.0f} of {runs:.0f} runs; {1000 * begun[name] / tokens:.2f} per 1,000 tokens"
            rows.append(Figure(f"{words}: `{name}`", value))
    note = (
        "Ordinary: the healthy runs that are judged, of temperatures 0, 0.7 and 1. A warning that goes on counts once."
    )
    return Section("Warnings on the zoo's ordinary runs", rows, [note])


def _level(model: ModelFigures, source: str, level: str) -> Count:
    levels = model.levels.get(source, Counter())
    return Count(levels[level], levels.total())


def _levels(models: Models) -> Section:
    rows: list[Figure] = []
    for source in (_most(models), "calibrated", "none"):
        levels: Counter[str] = Counter()
        for model in models:
            levels.update(model.levels.get(source, Counter()))
        if levels.total():
            for level in ("low", "medium", "high"):
                rows.append(pooled(f"{SOURCES[source]}: {level}", Count(levels[level], levels.total())))
                rows.append(by_model(models, lambda model, at=(source, level): _level(model, *at)))  # type: ignore[misc]
    return Section("Risk level of ordinary runs", rows)


def _contradictions(models: Models) -> Section:
    rows, told = [], []
    for source, words in SOURCES.items():
        found: Counter[str] = Counter()
        for model in models:
            found.update(model.contradictions.get(source, Counter()))
        runs = found.pop("runs", 0)
        if runs:
            rows.append(Figure(f"{words}: forbidden pairs", f"{found.total()} in {runs} runs", "0", not found.total()))
            told += [f"{words}: {pair} {count}" for pair, count in found.most_common()]
    return Section("Verdicts that contradict each other", rows, [f"Pairs: {'; '.join(told) or 'none'}."])


def _agreement(models: Models) -> Section:
    rows = [
        pooled(f"the same {what}", total(model.agreement.get(what, Count()) for model in models))
        for what in ("flags", "blame", "warnings")
    ]
    note = (
        "Most runs are kept as windows, and judged on steps that have these windows. Of the runs that are kept with "
        "every step: how many are judged alike on both. What rests on a single step's norm needs the steps."
    )
    return Section("Runs as kept and as made of windows", rows, [note])
