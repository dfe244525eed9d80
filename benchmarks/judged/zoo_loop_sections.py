"""The page's sections on loops of the zoo's runs."""

from collections.abc import Mapping
from typing import Final

from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT

from .figures import Figure, Section
from .zoo_loops import CLEAR_TOKENS, MOST_STRUCTURED, Outcome, chosen
from .zoo_model import Count
from .zoo_rows import Models, by_model, held, pooled, total

_ROWS: Final[Mapping[str, tuple[str, float | None]]] = {
    "clear": ("recall on clear loops", 0.97),
    "all": ("recall on all loops, those that had just begun among them", None),
    "precision": ("precision", 0.97),
    "plain": ("plain healthy runs with the flag", None),
    "repetitive": ("repetitive healthy runs with the flag", None),
}
"""Row -> its title, and the least it should be."""


def loops(models: Models) -> Section:
    """Recall, precision and false alarms of the flag."""
    rows: list[Figure] = []
    for name, (title, least) in _ROWS.items():
        rows.append(pooled(title, total(model.loops.get(name, Count()) for model in models), least=least))
        rows.append(by_model(models, lambda model, name=name: model.loops.get(name, Count())))  # type: ignore[misc]
    note = (
        f"Loops: runs that were cut off in one by their text's label; clear from {CLEAR_TOKENS} tokens after the "
        "second copy's first one. Healthy: the other runs, of both sides. A healthy run is "
        "repetitive if a laxer label calls its end a repetition (shorter, with more between the copies, numbers taken "
        "for each other, `zoo/rows.py`); a reader could call it a loop or not, so precision is against the plain ones. "
        "SmolLM2's runs that were asked for repetition count in recall alone. The flag's rule and the laxer label took "
        "their form with texts of all these models in view; what is chosen on the other models is below."
    )
    return Section("Loops", rows, [note])


def limit(models: Models) -> Section:
    """Each model with the loop's limit that is chosen on the others."""
    known = {model.name: model.loop_limits for model in models if model.loop_limits}
    rows, sums = [], {"chosen": Outcome(), "shipped": Outcome()}
    for name, own in known.items():
        limit = chosen(each for other, each in known.items() if other != name)
        sums["chosen"] += own[limit]
        sums["shipped"] += own[DEFAULT.unlike_recurring]
        rows.append(Figure(f"... {name}", f"{limit} of {DEFAULT.loop_window}; {_said(own[limit])}"))
    every = chosen(known.values())
    called = sums["chosen"].alarms
    heads = [
        held("chosen on the others: structured text called a loop", _said(sums["chosen"]), called, None, 0.02),
        *rows,
        Figure("chosen on all models", f"{every} of {DEFAULT.loop_window}"),
        Figure(f"as shipped: {DEFAULT.unlike_recurring} of {DEFAULT.loop_window}", _said(sums["shipped"])),
    ]
    note = (
        "`unlike_recurring`: how many of the last tokens have to be in a third copy where no copy was alike. For "
        f"each model the smallest with which at most {MOST_STRUCTURED:.0%} of the other models' structured texts, "
        "generated and made, are called a loop."
    )
    return Section("The loop's limit, chosen on the other models", heads, [note])


def _said(outcome: Outcome) -> str:
    return (
        f"{outcome.alarms:.4f} ({outcome.called} of {outcome.structured}); clear loops found {outcome.recall:.3f} "
        f"({outcome.found} of {outcome.loops})"
    )
