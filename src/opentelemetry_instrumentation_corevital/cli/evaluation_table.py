"""What `corevital evaluate` prints for people: the conclusions, the mean over groups, and each group."""

from typing import Final

from rich.table import Table
from rich.text import Text

from .._internal.printable import one_line
from ..evaluation.evaluate import Evaluated, Evaluation
from ..evaluation.labelled_answers import ANSWER
from ..presentation.evaluation_text import best_baseline, headline, interval_text, not_counted, value_text
from .evaluated_runs import OUTSIDE, FoundAnswers
from .printing import console

_FIGURES: Final = {
    "PRR": "prr",
    "E-AURC": "e_aurc",
    "matched": "auroc_same_length",
    "half": "auroc_half",
    "ECE": "ece",
    "skill": "brier_skill",
}
"""Heading -> figure, behind AUROC and its interval."""
_LEGEND: Final = (
    "matched: AUROC over pairs of equally many tokens; half: at half the tokens; "
    "skill: Brier score against the base rate"
)
_MOST_NAME: Final = 60


def coverage_text(found: FoundAnswers) -> str:
    """Return how many runs are labelled, and which of them are in no figure."""
    models, tasks = len({each.model for each in found.groups}), len({each.task for each in found.groups})
    said = (
        f"{found.labelled:,} labelled runs of {_many(models, 'model')} and {_many(tasks, 'task')}; "
        f"{found.wrong:,} wrong ({100 * found.wrong / found.labelled:.0f} %); "
        f"{found.outside:,} outside the answer risk's support"
    )
    if found.left_out[OUTSIDE]:
        said += ", and not in the figures"
    others = [(reason, count) for reason, count in found.left_out.most_common() if reason != OUTSIDE and count]
    told = ", ".join(f"{reason} {count:,}" for reason, count in others)
    return f"{said}. Also left out: {told}." if told else f"{said}."


def print_evaluation(found: FoundAnswers, result: Evaluation) -> None:
    """Print it."""
    out = console()
    out.print(coverage_text(found))
    for line in headline(result):
        out.print(line)
    if result.mean is not None:
        out.print()
        out.print(_scores(result.mean))
        out.print(_LEGEND, style="dim")
    out.print()
    out.print(_groups(result))
    if (told := not_counted(result)) is not None:
        out.print(Text(told, "yellow"))


def _scores(mean: Evaluated) -> Table:
    """Return a row per score."""
    title = "one group" if mean.groups == 1 else f"mean of {mean.groups} groups"
    table = _table(title)
    for heading in ("AUROC", "95 %", *_FIGURES):
        table.add_column(heading, justify="right", no_wrap=True)
    for score, figures in mean.scores.items():
        cells = [value_text(figures.get(name)) for name in _FIGURES.values()]
        auroc = figures.get("auroc")
        table.add_row(Text(score, "bold" if score == ANSWER else ""), value_text(auroc), interval_text(auroc), *cells)
    return table


def _groups(result: Evaluation) -> Table:
    """Return a row per group: the answer risk, and the best baseline."""
    table = _table("model")
    table.columns[0].ratio = 1
    table.add_column("task", overflow="ellipsis", no_wrap=True)
    for heading in ("runs", "wrong", "AUROC", "95 %", "best", "ECE", "perfect"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in result.groups:
        answer, best = each.scores.get(ANSWER, {}), best_baseline(each)
        perfect = each.perfect.get(ANSWER)
        table.add_row(
            one_line((each.model or "").rpartition("/")[2], _MOST_NAME),
            one_line(each.task or "", _MOST_NAME),
            f"{each.runs}",
            f"{each.wrong}",
            value_text(answer.get("auroc")),
            interval_text(answer.get("auroc")),
            "-" if best is None else value_text(each.scores[best]["auroc"]),
            value_text(answer.get("ece")),
            "-" if perfect is None else f"{perfect.mean:.3f}",
            style="" if each.groups else "dim",
        )
    return table


def _table(first: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column(first, overflow="ellipsis", no_wrap=True)
    return table


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
