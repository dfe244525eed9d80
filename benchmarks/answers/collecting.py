"""Collect the answers of one model: greedy ones, sampled ones to every third question, with CoreVital's own capture."""

import json
import lzma
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zoo import prompts
from zoo.corpus import Corpus
from zoo.generation import Generator
from zoo.tasks import folded

from .asking import Asked, grouped
from .grading import short
from .keeping import kept
from .rauq import rauq
from .score import risk_score

COLUMNS: Final = ("entropy", "surprisal", "margin", "top1_prob")
BATCH: Final = 32
SAMPLES: Final = 5
SAMPLED: Final = 3
"""Of so many questions one gets sampled answers, too."""
TEMPERATURE: Final = 0.8
ORDINARY: Final = (20, 100)
"""Ordinary texts at each temperature, and most tokens of one."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One of the answers that are sampled in one call."""

    answer: int
    """Equal numbers are equal texts; 0 is the greedy answer's."""
    right: bool
    surprisal: float
    """Sum, bit."""
    steps: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A greedy answer with what is known of it."""

    asked: Asked
    text: str
    right: bool
    end: str
    line_steps: int
    """Tokens up to the end of the answer's line, which is counted with it."""
    columns: dict[str, NDArray[np.float32]]
    """Signal -> [T]."""
    rauq: tuple[float, float]
    """Of all tokens, and of the first half of them, nat."""
    score: float
    """Risk score without a baseline."""
    samples: tuple[Sampled, ...] = ()


class Answers:
    """Collects task by task; what a folder holds already is not asked again."""

    def __init__(self, generator: Generator, work: Path) -> None:
        self._generator, self._work = generator, work
        self._began = time.monotonic()

    def every(self, asked: Sequence[Asked]) -> list[Answer]:
        """Return the answers to all questions."""
        found: list[Answer] = []
        for (task, form), some in grouped(asked).items():
            file = self._work / f"answers-{form}-{task.replace(' ', '-')}.pickle"
            answers: list[Answer] = kept(file, partial(self._group, some))
            wrong = np.mean([not answer.right for answer in answers])
            name, spent = self._generator.plan.name, time.monotonic() - self._began
            print(f"{name}: {task}, {form}: {len(answers)} answers, {wrong:.2f} wrong, {spent:.0f} s", flush=True)
            found += answers
        return found

    def _group(self, asked: Sequence[Asked]) -> list[Answer]:
        found: list[Answer] = []
        for begin in range(0, len(asked), BATCH):
            some = asked[begin : begin + BATCH]
            found += [self._answer(one, run) for one, run in zip(some, self._runs(some, 0.0), strict=True)]
        return self._with_samples(found)

    def _runs(self, asked: Sequence[Asked], temperature: float) -> list[Any]:
        generator, first = self._generator, asked[0]
        ids = [generator.ids(one.prompt, first.limit) for one in asked]
        options: dict[str, Any] = {}
        if first.form == "stopped":
            options = generator.until_line_end()
        elif first.form == "unstopped":  # an end token is one like others: nothing stops the run before its limit
            options = {"eos_token_id": generator.tokenizer.pad_token_id}
        return generator.watch(ids, first.limit, temperature, first.number, **options)

    def _answer(self, asked: Asked, run: Any) -> Answer:
        text, columns = self._text(run), run.columns
        half = (run.steps + 1) // 2
        known = [
            rauq(columns["surprisal"][:end], columns["attention_previous_heads"][:end]) for end in (run.steps, half)
        ]
        return Answer(
            asked,
            text,
            asked.right(text),
            str(run.stop_reason or ""),
            self._line_steps(run),
            {name: np.asarray(columns[name], np.float32) for name in COLUMNS},
            (known[0], known[1]),
            risk_score(run),
        )

    def _text(self, run: Any) -> str:
        """Return the text before the first end token."""
        tokens, end = run.tokens.tolist(), self._generator.tokenizer.eos_token_id
        return self._generator.text(tokens[: tokens.index(end)] if end in tokens else tokens)

    def _line_steps(self, run: Any) -> int:
        tokens, end = run.tokens.tolist(), self._generator.tokenizer.eos_token_id
        for step in range(1, len(tokens) + 1):
            if tokens[step - 1] == end or "\n" in self._generator.text(tokens[:step]).lstrip():
                return step
        return len(tokens)

    def _with_samples(self, answers: list[Answer]) -> list[Answer]:
        chosen = [place for place, answer in enumerate(answers) if answer.asked.number % SAMPLED == 0]
        at_once = BATCH // SAMPLES + 1
        for begin in range(0, len(chosen), at_once):
            places = chosen[begin : begin + at_once]
            asked = [answers[place].asked for place in places for _ in range(SAMPLES)]
            runs = self._runs(asked, TEMPERATURE)
            for number, place in enumerate(places):
                mine = runs[number * SAMPLES : (number + 1) * SAMPLES]
                answers[place] = self._sampled(answers[place], mine)
        return answers

    def _sampled(self, answer: Answer, runs: Sequence[Any]) -> Answer:
        def key(text: str) -> str:
            return short(text) if answer.asked.grade == "short" else folded(text)

        different, samples = [key(answer.text)], []
        for run in runs:
            text = self._text(run)
            if key(text) not in different:
                different.append(key(text))
            said = float(np.sum(run.columns["surprisal"], dtype=np.float64))
            samples.append(Sampled(different.index(key(text)), answer.asked.right(text), said, run.steps))
        return replace(answer, samples=tuple(samples))


def ordinary(
    generator: Generator, corpus: Corpus, work: Path, amount: tuple[int, int] = ORDINARY
) -> dict[str, NDArray[np.float32]]:
    """Return the percentiles 1 to 99 of each signal over a model's ordinary text, greedy and sampled."""

    def make() -> dict[str, NDArray[np.float32]]:
        rows, limit = amount
        source = prompts.healthy(generator.plan, corpus, 1000 * generator.plan.seed + 11)
        runs: list[Any] = []
        for temperature in (0.0, 0.7, 1.0):
            chosen = prompts.some(source, rows)
            ids = [generator.ids(prompt, limit) for prompt in chosen]
            runs += generator.watch(ids, limit, temperature, generator.plan.seed)
        long = [run for run in runs if run.steps >= limit // 5]
        return percentiles([run.columns for run in long])

    found: dict[str, NDArray[np.float32]] = kept(work / "answers-ordinary.pickle", make)
    return found


def percentiles(columns: Sequence[Any]) -> dict[str, NDArray[np.float32]]:
    """Return the percentiles 1 to 99 of each signal, [99]."""
    every = {name: np.concatenate([one[name] for one in columns]) for name in COLUMNS}
    return {name: np.nanpercentile(values, range(1, 100)).astype(np.float32) for name, values in every.items()}


def write_texts(file: Path, answers: Sequence[Answer]) -> None:
    """Write questions and answers, to be read by a person; they are not committed."""
    lines = [
        {
            "task": answer.asked.task,
            "form": answer.asked.form,
            "number": answer.asked.number,
            "prompt": answer.asked.prompt.messages[-1]["content"]
            if answer.asked.prompt.messages
            else answer.asked.prompt.text,
            "expected": answer.asked.answers,
            "text": answer.text,
            "right": answer.right,
            "end": answer.end,
        }
        for answer in answers
    ]
    file.write_bytes(lzma.compress(json.dumps(lines, ensure_ascii=False).encode()))


def ordinary_of_zoo(name: str) -> dict[str, NDArray[np.float32]]:
    """Return the percentiles of a model's committed healthy runs."""
    from zoo.store import load

    return percentiles([run.columns for run in load(name) if run.group == "healthy"])
