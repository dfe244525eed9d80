"""Read the answers: those that are committed, or what a collection left in a folder.

    for run in load("smollm2"):
        print(run.task, run.form, run.number, run.right, run.columns["surprisal"].sum())

Needs NumPy only, and `benchmarks/` on the path.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zoo.container import Arrays, meta, read
from zoo.store import SUFFIX
from zoo.store import names as names_in

FOLDER: Final = Path(__file__).with_name("runs")


@dataclass(frozen=True, slots=True)
class Sample:
    """One of five answers that were sampled in one call, at temperature 0.8."""

    answer: int
    """Equal numbers are equal texts; 0 is the greedy answer's."""
    right: bool
    surprisal: float
    """Sum, bit."""
    steps: int


@dataclass(frozen=True, slots=True)
class AnswerRun:
    """A greedy answer.

    Attributes:
        model: its name.
        task: what was asked.
        form: one of `asking.FORMS`.
        number: of the question within the model; the same question in two forms has one number.
        level: of the zoo's tasks, 0 the easiest; 0 of SmolLM2's.
        right: whether the answer is right.
        end: why the run ended, as `Run.stop_reason`.
        line_steps: tokens up to the end of the answer's line, which is counted with it; a run may go on behind it.
        columns: signal -> float32 [T]: entropy, surprisal and margin in bit, top1_prob.
        rauq: of all tokens, and of the first half of them (the larger one), nat.
        score: risk score without a baseline, in [0, 1].
        samples: sampled answers, of every third question.
    """

    model: str
    task: str
    form: str
    number: int
    level: int
    right: bool
    end: str
    line_steps: int
    columns: dict[str, NDArray[np.float32]]
    rauq: tuple[float, float]
    score: float
    samples: tuple[Sample, ...]

    @property
    def steps(self) -> int:
        """Return the number of tokens."""
        return len(self.columns["surprisal"])


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of the models of which there are answers."""
    return names_in(folder)


def about(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Return what is known of a model and of how it ran."""
    return meta(read(folder / f"{name}{SUFFIX}"))


def ordinary(name: str, folder: Path = FOLDER) -> dict[str, NDArray[np.float32]]:
    """Return the percentiles 1 to 99 of each signal over a model's ordinary text, [99]."""
    arrays = read(folder / f"{name}{SUFFIX}")
    return {key.partition("/")[2]: values.astype(np.float32) for key, values in _part(arrays, "ordinary").items()}


def load(*chosen: str, folder: Path = FOLDER) -> list[AnswerRun]:
    """Return the answers of some models, of all unless named.

    Raises:
        FileNotFoundError: if there are none of a model.
    """
    return [run for name in chosen or names(folder) for run in _runs(name, read(folder / f"{name}{SUFFIX}"))]


def _part(arrays: Arrays, prefix: str) -> Arrays:
    return {key: values for key, values in arrays.items() if key.startswith(f"{prefix}/")}


def _runs(name: str, arrays: Arrays) -> list[AnswerRun]:
    words = meta(arrays)["names"]
    run = {key.partition("/")[2]: values.tolist() for key, values in _part(arrays, "run").items()}
    columns = {key.partition("/")[2]: values.astype(np.float32) for key, values in _part(arrays, "step").items()}
    ends = np.cumsum(run["steps"]).tolist()
    samples: dict[int, list[Sample]] = {}
    fields = (arrays[f"sample/{key}"].tolist() for key in ("run", "answer", "right", "surprisal", "steps"))
    for place, answer, right, surprisal, steps in zip(*fields, strict=True):
        samples.setdefault(place, []).append(Sample(answer, right == 1, surprisal, steps))
    return [
        AnswerRun(
            model=name,
            **{key: words[key][run[key][place]] for key in ("task", "form", "end")},
            number=run["number"][place],
            level=run["level"][place],
            right=run["right"][place] == 1,
            line_steps=run["line_steps"][place],
            columns={key: values[end - run["steps"][place] : end] for key, values in columns.items()},
            rauq=tuple(arrays["rauq"][place].tolist()),
            score=float(arrays["score"][place]),
            samples=tuple(samples.get(place, ())),
        )
        for place, end in enumerate(ends)
    ]
