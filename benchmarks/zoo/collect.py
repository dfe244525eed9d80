"""Collect the runs of one model: healthy, looping, structured, with planted faults, and answers that can be checked."""

import math
import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from . import prompts, structured, tasks
from .corpus import Corpus, Fact
from .faults import FAULTS
from .generation import Distributions, Generator, Moments
from .plan import PARTS, Amounts
from .prompts import Prompt
from .rows import Row, Sampled, Side, label

TEMPERATURES: Final = (0.0, 0.7, 1.0)
_BASELINE_OF_11: Final = 5
_MOST_ROWS: Final = 240
_MORE_TRIES: Final = 3


class Collector:
    """Collects group by group; a group that a folder holds already is not made again."""

    def __init__(self, generator: Generator, corpus: Corpus, amounts: Amounts, work: Path) -> None:
        self._generator, self._corpus, self._amounts, self._work = generator, corpus, amounts, work
        self._seed = 1000 * generator.plan.seed
        self._began = time.monotonic()

    @property
    def facts(self) -> Sequence[Fact]:
        """Return what questions are about."""
        return self._corpus.facts

    def every(self, names: Sequence[str] = PARTS) -> list[Row]:
        """Return the groups' rows."""
        makers = (self.healthy_runs, self.structured_runs, self.answers, self.faulty_runs)
        groups: dict[str, Callable[[], list[Row]]] = dict(zip(PARTS, makers, strict=True))
        return [row for name in names for row in self._stage(name, groups[name])]

    def _stage(self, name: str, make: Callable[[], list[Row]]) -> list[Row]:
        file = self._work / f"{name}.pickle"
        if file.exists():
            return list(pickle.loads(file.read_bytes()))
        rows = make()
        aside = file.with_suffix(".part")
        aside.write_bytes(pickle.dumps(rows))
        aside.replace(file)
        self._say(f"{name}: {len(rows)} runs, {sum(row.run.steps for row in rows)} tokens")
        return rows

    def _say(self, text: str) -> None:
        print(f"{self._generator.plan.name}: {text}, {time.monotonic() - self._began:.0f} s", flush=True)

    def _rows(self, chosen: Sequence[Prompt], first: int, group: Any, limit: int, temperature: float) -> list[Row]:
        """Generate and label a batch."""
        generator, rows = self._generator, []
        for begin in range(0, len(chosen), _MOST_ROWS):
            part = chosen[begin : begin + _MOST_ROWS]
            ids = [generator.ids(prompt, limit) for prompt in part]
            runs = generator.watch(ids, limit, temperature, self._seed + first + begin)
            for number, (prompt, run) in enumerate(zip(part, runs, strict=True), first + begin):
                row = Row(group, prompt, number, limit, temperature, run, generator.text(run.tokens))
                label(row, generator.tokenizer)
                rows.append(row)
        return rows

    def healthy_runs(self) -> list[Row]:
        """Return healthy runs of all lengths and temperatures, and the loops found on the way."""
        source, wanted = prompts.healthy(self._generator.plan, self._corpus, self._seed), self._amounts
        kept: list[Row] = []
        loops: list[Row] = []
        first = 0

        def add(limit: int, temperature: float, quota: int) -> None:
            nonlocal first
            count = math.ceil(quota * wanted.more[temperature])
            rows = self._rows(prompts.some(source, count), first, "healthy", limit, temperature)
            first += count
            good = [row for row in rows if not row.loop and row.run.steps >= wanted.shortest]
            loops.extend(row for row in rows if row.loop and not row.ended)
            kept.extend(good[:quota])
            self._say(f"limit {limit}, temperature {temperature}: {len(good)} of {count} healthy, {quota} wanted")

        for limit, quota in wanted.lengths.items():
            for temperature in TEMPERATURES:
                add(limit, temperature, quota)
        for _ in range(_MORE_TRIES):
            missing = sum(wanted.lengths.values()) * len(TEMPERATURES) - len(kept)
            if missing <= 0:
                break
            limit = sorted(wanted.lengths)[len(wanted.lengths) // 2]
            add(limit, 0.7, max(missing, 4))
        for row in kept:
            row.side = side(row.number)
        for row in loops:
            row.group = "loop"
        chosen = np.linspace(0, len(loops) - 1, min(wanted.loops, len(loops))).round().astype(int).tolist()
        return kept + [loops[number] for number in chosen]

    def structured_runs(self) -> list[Row]:
        """Return runs of structured text, cut off by their limit unless the model ends them."""
        rows, amounts = [], self._amounts
        for turn, temperature in enumerate((0.7, 1.0)):
            first = 10_000 + 1000 * turn
            begun = structured.beginnings(amounts.structured, Random(self._seed + first))
            chosen = [Prompt(kind, text) for kind, text in begun]
            rows += self._rows(chosen, first, "structured", amounts.structured_tokens, temperature)
        return rows

    def answers(self) -> list[Row]:
        """Return greedy answers to questions of a fitting difficulty, each with sampled ones."""
        generator, amounts, draw = self._generator, self._amounts, Random(self._seed + 3)
        facts = self._corpus.facts
        levels = tasks.fitting_levels(self.pilot(facts, draw))
        asked = [
            make(facts, levels[name][number % len(levels[name])], draw)
            for name, make in tasks.TASKS.items()
            for number in range(amounts.questions)
        ]
        chosen = [Prompt(q.task, text) for q, text in zip(asked, self._asked(asked, facts, draw), strict=True)]
        ids = [generator.ids(prompt, amounts.answer_tokens) for prompt in chosen]
        moments, until = Moments(generator.model), generator.until_line_end()
        rows: list[Row] = []
        for begin in range(0, len(chosen), _MOST_ROWS):
            part = slice(begin, begin + _MOST_ROWS)
            with moments.watching():
                runs = generator.watch(ids[part], amounts.answer_tokens, 0.0, self._seed + begin, **until)
            spectra = moments.entropies([run.steps for run in runs]).numpy()
            for prompt, question, run, spectrum in zip(chosen[part], asked[part], runs, spectra, strict=True):
                number, text = 20_000 + len(rows), generator.text(run.tokens)
                row = Row("task", prompt, number, amounts.answer_tokens, 0.0, run, text)
                row.task, row.level, row.spectrum = question.task, question.level, spectrum
                row.right = question.right(row.text)
                rows.append(row)
        self._sample(rows, asked, ids)
        for name in tasks.TASKS:
            right = [bool(row.right) for row in rows if row.task == name]
            self._say(f"task {name}, levels {levels[name]}: {np.mean(right):.2f} right")
        return rows

    def _asked(self, asked: Sequence[tasks.Question], facts: Sequence[Any], draw: Random) -> list[str]:
        return tasks.asked(asked, facts, self._generator.plan.shots, draw)

    def pilot(self, facts: Sequence[Fact], draw: Random) -> dict[tuple[str, int], float]:
        """Ask a few questions of every task and level, and return the share of right answers."""
        generator, amounts = self._generator, self._amounts
        pilot = [
            make(facts, level, draw)
            for make in tasks.TASKS.values()
            for level in range(tasks.LEVELS)
            for _ in range(amounts.pilot)
        ]
        ids = [generator.ids(Prompt("", text), amounts.answer_tokens) for text in self._asked(pilot, facts, draw)]
        right: dict[tuple[str, int], list[bool]] = {}
        rows = tasks.LEVELS * amounts.pilot  # those of one task, which are of like length
        for begin in range(0, len(ids), rows):
            part = slice(begin, begin + rows)
            answers = generator.unwatched(ids[part], amounts.answer_tokens, 0.0, 0)
            for question, answer in zip(pilot[part], answers, strict=True):
                right.setdefault((question.task, question.level), []).append(question.right(generator.text(answer)))
        return {key: float(np.mean(found)) for key, found in right.items()}

    def _sample(self, rows: Sequence[Row], asked: Sequence[tasks.Question], ids: Sequence[list[int]]) -> None:
        """Add sampled answers at temperature 1 to each row."""
        generator, amounts = self._generator, self._amounts
        for turn in range(amounts.samples):
            for begin in range(0, len(rows), _MOST_ROWS):
                part = slice(begin, begin + _MOST_ROWS)
                seed = self._seed + 7000 + 100 * turn + begin
                answers = generator.unwatched(ids[part], amounts.answer_tokens, 1.0, seed)
                said = generator.surprisals(ids[part], answers)
                for row, question, answer, bits in zip(rows[part], asked[part], answers, said, strict=True):
                    right = question.right(generator.text(answer))
                    row.samples.append(Sampled(np.array(answer, np.int32), bits, right, 0))
        for row in rows:
            different = [tasks.folded(row.text)]
            for sample in row.samples:
                answer = tasks.folded(generator.text(sample.tokens))
                if answer not in different:
                    different.append(answer)
                sample.answer = different.index(answer)

    def faulty_runs(self) -> list[Row]:
        """Return runs with a planted fault of every kind, in layers all over the model."""
        generator, amounts = self._generator, self._amounts
        source, rows = prompts.healthy(generator.plan, self._corpus, self._seed + 5), []
        for turn in range(amounts.fault_layers):
            for kind, name in enumerate(FAULTS):
                layer = (turn * generator.layers // amounts.fault_layers + kind) % generator.layers
                chosen = prompts.some(source, amounts.fault_rows)
                rows += self._faulty(name, layer, chosen, 30_000 + len(rows), 0.7 if turn % 2 else 0.0)
        return rows

    def _faulty(self, name: str, layer: int, chosen: Sequence[Prompt], first: int, temperature: float) -> list[Row]:
        generator, limit, fault = self._generator, self._amounts.fault_tokens, FAULTS[name]
        ids = [generator.ids(prompt, limit) for prompt in chosen]
        said = Distributions()
        with fault.plant(generator.model, layer):
            runs = generator.watch(ids, limit, temperature, self._seed + first, **said.option())
        rows = []
        usual = generator.log_probabilities(ids, [run.tokens.tolist() for run in runs])
        for number, (prompt, run, expected) in enumerate(zip(chosen, runs, usual, strict=True)):
            row = Row("fault", prompt, first + number, limit, temperature, run, generator.text(run.tokens))
            row.fault, row.layer, row.step = name, layer, fault.step
            row.kl = _divergence(expected, [step[number] for step in said.steps[: run.steps]], fault.step)
            rows.append(row)
        return rows


def _divergence(expected: Any, found: Sequence[Any], first: int) -> float:
    """Return the mean divergence in bit of the next token from a step on; NaN where the run ended before it."""
    values = []
    for usual, said in zip(expected[first:], found[first:], strict=True):
        if not bool(said.isfinite().any()) or bool(said.isnan().any()):
            return math.inf
        values.append(float((usual.exp() * (usual.clamp(min=-100) - said.clamp(min=-100))).sum()) / math.log(2))
    return float(np.mean(values)) if values else math.nan


def side(number: int) -> Side:
    """Return what the healthy run of a prompt is for: five of eleven teach a baseline, the others are judged."""
    return "baseline" if number % 11 < _BASELINE_OF_11 else "held_out"
