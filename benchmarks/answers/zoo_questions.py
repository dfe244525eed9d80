"""What the zoo's trained models are asked: its tasks, at levels that fit each, each question in two forms."""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Final

from zoo import tasks
from zoo.collect import Collector
from zoo.prompts import Prompt

from .asking import Asked
from .keeping import kept

STOPPED: Final = 40
"""Most tokens of an answer that ends with its line."""
UNSTOPPED: Final = 12
UNSTOPPED_LONG: Final = {"copying": 32}
"""Task -> tokens of its unstopped answers, where a right one has more than twelve."""


def questions(collector: Collector, each: int, seed: int, work: Path) -> list[Asked]:
    """Return so many questions of every task at a level where it is mostly right and one where not, in two forms."""
    facts, draw = collector.facts, Random(1000 * seed + 9)
    pilot = kept(work / "answers-pilot.pickle", lambda: collector.pilot(facts, Random(1000 * seed + 8)))
    levels = levels_on_both_sides(pilot)
    asked = [
        make(facts, levels[name][number % len(levels[name])], draw)
        for name, make in tasks.TASKS.items()
        for number in range(each)
    ]
    found: list[Asked] = []
    for form in ("stopped", "unstopped"):
        for number, question in enumerate(asked, 1):
            limit = STOPPED if form == "stopped" else UNSTOPPED_LONG.get(question.task, UNSTOPPED)
            prompt = Prompt(question.task, question.text)
            found.append(Asked(number, question.task, form, prompt, question.answers, "line", limit, question.level))
    return found


def levels_on_both_sides(right: Mapping[tuple[str, int], float]) -> dict[str, list[int]]:
    """Return for each task the level nearest to half right, and the nearest one on the other side of a half.

    Where all levels are on one side these are the two nearest ones. A model that knows what it was trained on and
    nothing else would otherwise be asked questions of one outcome alone.
    """

    def misfit(share: float, level: int) -> tuple[float, int]:
        return abs(share - 0.5), level if share < 0.5 else -level

    chosen = {}
    for task in tasks.TASKS:
        shares = {level: share for (name, level), share in right.items() if name == task}
        first, *others = sorted(shares, key=lambda level: misfit(shares[level], level))
        across = [level for level in others if (shares[level] < 0.5) != (shares[first] < 0.5)]
        chosen[task] = sorted([first, (across or others)[0]])
    return chosen
