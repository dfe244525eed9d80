"""The page's section on the warnings of runs without a baseline: limits that are chosen on the other models."""

from collections.abc import Iterable, Mapping

import numpy as np

from .figures import Figure, Section
from .rough_rules import BEFORE_FAULT, RULES, SHARE, Floats, RoughNumbers, RoughRule, chosen
from .zoo_model import Count, ModelFigures
from .zoo_rows import Models, pooled, total

_GROUPS = {"healthy": "ordinary runs", "faults": "faults", "setting_in": "faults that set in"}


def sections(models: Models) -> list[Section]:
    """Return the section; none where nothing was measured."""
    here = [model for model in models if model.rough]
    if len(here) < 2:
        return []
    rows = [row for rule in RULES for row in _of_rule(here, rule)]
    for what, limits in (("as shipped", _shipped()), ("absolute numbers instead", _absolute())):
        rows += [
            pooled(f"any of these, {what}: {words}", total(_any(model, limits, group) for model in here))
            for group, words in _GROUPS.items()
        ]
    note = (
        f"For each model the limit is taken that {100 * SHARE:g} % of the ordinary runs of the other models cross. "
        "What ships is chosen on all, rounded to the quiet side; where it was stricter already, it was left. Faults: "
        "those that change the output by more than 0.1 bit and leave all numbers finite. That set in: the first "
        f"{BEFORE_FAULT} steps of a healthy run, then a run with a fault of all its tokens. Absolute: the numbers that "
        "these rules replaced, with what belonged to them (`judged/rough_rules.py`). The limits alone are left out by "
        "model: what a rule compares, and for how many steps, was chosen knowing all of them."
    )
    return [Section("Warnings without a baseline: limits chosen on the other models", rows, [note])]


def _of_rule(models: Models, rule: RoughRule) -> Iterable[Figure]:
    healthy = {model.name: model.rough[rule.name].healthy for model in models}
    limits = {name: chosen([healthy[other] for other in healthy if other != name]) for name in healthy}
    crossed = {name: _beyond(healthy[name], limits[name]) for name in healthy}
    worst = max(crossed, key=lambda name: crossed[name].rate)
    yield pooled(f"`{rule.name}`: chosen on the others", total(crossed.values()))
    yield Figure(f"... `{rule.name}`: worst model", f"{worst} {crossed[worst].rate:.4f}")
    told = "; ".join(f"{name} {abs(limits[name]):.3f}: {crossed[name].rate:.3f}" for name in healthy)
    yield Figure(f"... `{rule.name}`: each model, limit and rate", told)
    everywhere = abs(chosen(list(healthy.values())))
    yield Figure(
        f"... `{rule.name}`: fraction of {rule.what}", f"chosen on all {everywhere:.3f}; ships {abs(rule.shipped):g}"
    )
    yield Figure(f"... `{rule.name}`: as shipped", _three(models, rule.name, rule.shipped))
    if rule.absolute is not None:
        value = _three(models, f"absolute {rule.name}", rule.absolute)
        yield Figure(f"... `{rule.name}`: the absolute number {abs(rule.absolute):g} instead", value)


def _three(models: Models, name: str, limit: float) -> str:
    told = []
    for group, words in _GROUPS.items():
        found = total(_beyond(getattr(model.rough[name], group), limit) for model in models)
        if found.total:
            told.append(f"{words} {found.rate:.3f} ({found.hits:.0f} of {found.total:.0f})")
    return ", ".join(told)


def _beyond(numbers: Floats, limit: float) -> Count:
    return Count(float((numbers > limit).sum()), len(numbers))


def _any(model: ModelFigures, limits: Mapping[str, float], group: str) -> Count:
    crossed = [_of(model.rough[name], group) > limit for name, limit in limits.items()]
    return Count(float(np.any(crossed, axis=0).sum()), len(crossed[0]))


def _of(numbers: RoughNumbers, group: str) -> Floats:
    found: Floats = getattr(numbers, group)
    return found


def _shipped() -> dict[str, float]:
    return {rule.name: rule.shipped for rule in RULES}


def _absolute() -> dict[str, float]:
    found = _shipped()
    for rule in RULES:
        if rule.absolute is not None:
            del found[rule.name]
            found[f"absolute {rule.name}"] = rule.absolute
    return found
