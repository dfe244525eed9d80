"""What there is to know first of an evaluation, in sentences, for a terminal and for a page."""

from typing import Final

from ..evaluation.evaluate import Evaluated, Evaluation
from ..evaluation.labelled_answers import ANSWER, BASELINES, FEWEST_OF_EACH
from ..evaluation.resampling import Figure

CHANCE: Final = 0.5


def best_baseline(each: Evaluated) -> str | None:
    """Return the baseline with the highest AUROC; None where none has one."""
    known = {name: each.scores[name]["auroc"].value for name in BASELINES if "auroc" in each.scores.get(name, {})}
    return max(known, key=lambda name: known[name], default=None)


def value_text(figure: Figure | None) -> str:
    """Return a figure with three digits; a dash where it is not known."""
    return "-" if figure is None else f"{figure.value:.3f}"


def interval_text(figure: Figure | None) -> str:
    """Return its interval; nothing where there is none."""
    if figure is None or figure.low is None or figure.high is None:
        return ""
    return f"{figure.low:.3f}-{figure.high:.3f}" if figure.low >= 0 else f"{figure.low:.3f} to {figure.high:.3f}"


def headline(result: Evaluation) -> list[str]:
    """Return the conclusions, one or two sentences each: ranking, then probabilities."""
    mean = result.mean
    if mean is None:
        return [
            f"No group of one model and task has {FEWEST_OF_EACH} answers of each outcome, so there is no mean. "
            "The figures of so few are chance."
        ]
    if ANSWER not in mean.scores:
        return ["No run has an answer risk: only the baselines are compared."]
    return [_ranking(mean), _calibration(mean)]


def _ranking(mean: Evaluated) -> str:
    auroc, best = mean.scores[ANSWER]["auroc"], best_baseline(mean)
    of_groups = "of one group" if mean.groups == 1 else f"as the mean of {mean.groups} groups"
    said = f"AUROC of the answer risk is {auroc.value:.3f} ({_between(auroc)}), {of_groups}"
    if best is None:
        return f"{said}; {CHANCE} is chance."
    ahead = mean.scores[best]["answer_ahead"]
    return (
        f"{said}. The best baseline, {best}, has {mean.scores[best]['auroc'].value:.3f}: the answer risk is "
        f"{abs(ahead.value):.3f} {'ahead' if ahead.value >= 0 else 'behind'} ({_between(ahead)}"
        f"{'' if _clear(ahead) else ', so it may be chance'})."
    )


def _calibration(mean: Evaluated) -> str:
    error, perfect = mean.scores[ANSWER]["ece"], mean.perfect[ANSWER]
    beyond = error.value > perfect.q95
    return (
        f"Its calibration error is {error.value:.3f}. A perfect forecaster has {perfect.mean:.3f} with as many runs, "
        f"and at most {perfect.q95:.3f} in 95 of 100 cases: "
        + ("the probabilities are further off than chance." if beyond else "no more than chance explains.")
    )


def _between(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "too few for an interval"
    return f"95 % interval {figure.low:.3f} to {figure.high:.3f}"


def _clear(figure: Figure) -> bool:
    return figure.low is not None and figure.high is not None and (figure.low > 0 or figure.high < 0)


def not_counted(result: Evaluation) -> str | None:
    """Return which groups are not in the mean, and why; None where all are."""
    few = sum(not each.groups for each in result.groups)
    if not few or result.mean is None:
        return None
    groups = "1 group is" if few == 1 else f"{few} groups are"
    return (
        f"{groups} not in the mean: fewer than {FEWEST_OF_EACH} answers of an outcome, or no answer risk. "
        "Their figures say little."
    )
