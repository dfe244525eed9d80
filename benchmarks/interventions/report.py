"""The figures of the page: healthy runs of the run set by replay, and live runs against the same runs untouched."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from collect import encode
from judged.figures import Figure, Section, share
from judged.replay import as_run
from label import tokenizer
from labels import fold, loop_onset
from store import Half, Sample, load, prompts

from opentelemetry_instrumentation_corevital.assessment.live_judge import LiveJudge
from opentelemetry_instrumentation_corevital.assessment.repetition import RepetitionDetector
from opentelemetry_instrumentation_corevital.policies import Condition, condition
from opentelemetry_instrumentation_corevital.run import Run

LIMIT = 400
AGAIN = 100
"""Tokens after an intervention within which a loop counts as one that came again."""

INTRO = f"""
Made by `python benchmarks/interventions`, see there for the commands. The limit is {LIMIT} tokens. A run *loops* if its
text ends in a loop, by the run set's label, without an end by itself, and nobody asked for repetition. Every other run
is *healthy*, but for a requested repetition that the limit cuts off in mid-refrain: such a run is in neither. Lists,
tables, code, counting, JSON and refrains are among the healthy ones. Shares come with Wilson's 95 % interval, means
with a bootstrap's. Thresholds were chosen on the half `fit`; figures are of `report` where nothing else is said.
"""


# --- by replay -------------------------------------------------------------------------------------------------------


def steps(sample: Sample) -> Iterator[Run]:
    """Yield the steps of a sample, up to the limit, as live runs hand them on."""
    run = as_run(sample)
    for step in range(min(LIMIT, len(sample.tokens))):
        yield Run(
            model=run.model,
            decoding=run.decoding,
            start_ns=0,
            end_ns=1,
            tokens=run.tokens[step : step + 1],
            columns={name: column[step : step + 1] for name, column in run.columns.items()},
            time_ns=np.zeros(1, np.int64),
        )


@cache
def decoder() -> Any:
    """Return the demo model's tokenizer."""
    return tokenizer()


def acts_at(sample: Sample, on: Condition) -> int | None:
    """Return the step at which a policy would have acted on a sample; None where it would not, or at its last one."""
    judge = LiveJudge(prompt=lambda: encode(decoder(), sample.prompt))
    for step, part in enumerate(steps(sample)):
        if on.holds(judge.judge(step, part).event):
            return step + 1 if step + 2 < min(LIMIT, len(sample.tokens)) else None
    return None


def loops(sample: Sample) -> bool:
    """Whether a sample, cut off at the limit, ends in a loop without an end by itself."""
    if sample.stopped and len(sample.tokens) <= LIMIT:
        return False
    text = decoder().decode(sample.tokens[:LIMIT], skip_special_tokens=True)
    return loop_onset(fold(text)) is not None


_NUMBERS = dict(zip(("three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty"),
                    (3, 4, 5, 6, 7, 8, 9, 10, 12, 20), strict=True))  # fmt: skip
_REQUEST = re.compile(rf'(?:Repeat|Say|Write the word) "([^"]+)" (\d+|{"|".join(_NUMBERS)}) times')


def had_enough(sample: Sample, step: int) -> bool:
    """Whether a sample had said what it was asked to say at least once more than it was asked to, by then."""
    asked = _REQUEST.search(sample.prompt["messages"][-1]["content"] if "messages" in sample.prompt else "")
    if asked is None:
        return False
    count = int(asked[2]) if asked[2].isdigit() else _NUMBERS[asked[2]]
    said: str = decoder().decode(sample.tokens[: step + 1], skip_special_tokens=True)
    return said.lower().count(asked[1].lower()) > count + 1


def replay_sections() -> list[Section]:
    """Return what `Stop` would have done to the run set's runs."""
    samples = load()
    return [_replayed(samples, on, goal) for on, goal in (("repetition_loop", True), ("repetition_risk", False))]


def _replayed(samples: Sequence[Sample], name: str, goal: bool) -> Section:
    on, rows = condition(name), []
    acted = {sample.number: acts_at(sample, on) for sample in samples}
    looping = {sample.number: loops(sample) for sample in samples}
    halves: tuple[tuple[str, Half | None], ...] = (("`report`", "report"), ("`fit`", "fit"), ("both halves", None))
    enough, touched = list[int](), list[int]()
    for title, half in halves:
        chosen = [one for one in samples if half is None or one.half == half]
        asked = [one for one in chosen if one.prompt["class"] == "repeat" and not looping[one.number]]
        ordinary = [one for one in chosen if one.prompt["class"] != "repeat" and not looping[one.number]]
        enough = [one.number for one in asked if _enough(one, acted[one.number])]
        asked = [one for one in asked if one.number not in enough]
        healthy = [*asked, *ordinary]
        touched = [one.number for one in healthy if acted[one.number] is not None]
        limits = {"most": 0.01} if goal else {}
        rows += [
            share(f"{title}: healthy runs touched", len(touched), len(healthy), **limits),
            share(f"{title}: ... repetition was asked for", _touched(asked, acted), len(asked)),
            share(f"{title}: ... it was not", _touched(ordinary, acted), len(ordinary)),
        ]
        bad = [one for one in chosen if one.prompt["class"] != "repeat" and looping[one.number]]
        saved = [_unspent(acted[one.number]) for one in bad]
        rows.append(_mean(f"{title}: tokens of looping runs not generated", saved, 0.45 if goal and half else None))
    return Section(
        f"`Stop(on=\"{name}\")`, by replay of the run set",
        rows,
        [
            "A run in which repetition was asked for is healthy up to the point at which it has said it more often "
            f"than it was asked to: runs stopped only after that are left out ({len(enough)}).",
            f"Touched: {_listed(touched)}.",
        ],
    )  # fmt: skip


def _listed(numbers: Sequence[int]) -> str:
    few = ", ".join(map(str, numbers[:50]))
    return f"runs {few}" if len(numbers) <= 50 else f"{len(numbers)} runs"


def _enough(sample: Sample, step: int | None) -> bool:
    return step is not None and had_enough(sample, step)


def _touched(samples: Sequence[Sample], acted: dict[int, int | None]) -> int:
    return sum(acted[one.number] is not None for one in samples)


def _unspent(step: int | None) -> float:
    return 0.0 if step is None else 1 - (step + 1) / LIMIT


def _mean(name: str, values: Sequence[float], least: float | None = None) -> Figure:
    """Return a mean with its bootstrap interval."""
    if not values:
        return Figure(name, "no run")
    draw = np.random.default_rng(0)
    means = [float(np.mean(draw.choice(values, len(values)))) for _ in range(1000)]
    low, high = np.percentile(means, [2.5, 97.5])
    mean = float(np.mean(values))
    text = f"{mean:.3f} ({len(values)} runs; {low:.3f} to {high:.3f})"
    return Figure(name, text) if least is None else Figure(name, text, f">= {least:g}", mean >= least)


# --- live ------------------------------------------------------------------------------------------------------------


def live_sections(folder: Path) -> list[Section]:
    """Return what policies did to live runs, a section for each."""
    shards = dict[str, dict[str, Any]]()
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        before = shards.setdefault(content["policy"], {**content, "runs": []})
        before["runs"] += content["runs"]
    sections = []
    for name, shard in shards.items():
        if not name.startswith("untouched"):
            alone = name.startswith("RollBack")
            sections.append(_live(name, shard, shards["untouched alone" if alone else "untouched"]["runs"]))
    return sections


ACTED, ENDED = "looping runs on which it acted", "looping runs whose loop it ended for good"
UNSPENT, CAME_BACK = "tokens of looping runs not generated", f"... in a loop again within {AGAIN} tokens"
TOUCHED = "healthy runs touched"


def overview(sections: Sequence[Section]) -> str:
    """Return the table of all policies, a row for each."""
    lines = [
        f"| policy | loops ended | {UNSPENT} | a loop again within {AGAIN} tokens | {TOUCHED} |",
        "|---|---|---|---|---|",
    ]
    for section in sections:
        values = {figure.name: figure.value for figure in section.figures}
        cells = (values.get(ENDED, values[ACTED]), values[UNSPENT], values.get(CAME_BACK, "the run is over"))
        lines.append(f"| {section.title.removesuffix(', live')} | {' | '.join(cells)} | {values[TOUCHED]} |")
    return "\n".join(lines)


def _live(name: str, shard: dict[str, Any], untouched: list[dict[str, Any]]) -> Section:
    before = {(live["prompt"], live["plan"]): live for live in untouched}
    pairs = [(before[live["prompt"], live["plan"]], live) for live in shard["runs"]]
    looping = [pair for pair in pairs if pair[0]["loops"] and not _asked(pair[0])]
    healthy = [pair for pair in pairs if not pair[0]["loops"]]
    acted = [after for _, after in looping if after["interventions"]]
    differ = sum(not _same_before(before, after) for before, after in pairs)
    ended = [after for after in acted if not after["loops"] and not _told(after)]
    rows = [share(ACTED, len(acted), len(looping))]
    if name.startswith("Stop"):
        goal = 0.45 if "repetition_loop" in name else None
        rows.append(_mean(UNSPENT, [_left(after) for _, after in looping], goal))
    else:
        limits = {"least": 0.8} if name.startswith("RollBack") else {}
        rows += [
            share(ENDED, len(ended), len(looping), **limits),
            share(CAME_BACK, sum(map(_told, acted)), len(acted)),
            _mean(UNSPENT, [_left(after) for _, after in looping]),
        ]
    rows += [
        share(TOUCHED, sum(bool(after["interventions"]) for _, after in healthy), len(healthy)),
        Figure("runs whose tokens differ before it acted", str(differ), "0", differ == 0),
    ]
    made = ", ".join(str(shard[key]) for key in ("device", "dtype", "torch", "transformers"))
    return Section(f"`{name}`, live", rows, [f"{len(pairs)} runs, {made}."])


def _asked(live: dict[str, Any]) -> bool:
    return bool(prompts()[live["prompt"]]["class"] == "repeat")


def _left(live: dict[str, Any]) -> float:
    return 1 - len(live["tokens"]) / LIMIT


def _same_before(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the tokens are those of the untouched run up to the first intervention, that step's token included."""
    if not after["interventions"]:
        return bool(before["tokens"] == after["tokens"])
    first = after["interventions"][0]
    upto = first["to_step"] if first["to_step"] is not None else first["step"] + 1
    return bool(before["tokens"][:upto] == after["tokens"][:upto])


def _told(live: dict[str, Any]) -> bool:
    """Whether the detector tells a loop within `AGAIN` tokens after the last intervention, its settling left out."""
    last = live["interventions"][-1]
    begin = last["to_step"] if last["to_step"] is not None else last["step"] + 1 + _SETTLING
    detector, told = RepetitionDetector(), False
    for step, token in enumerate(live["tokens"]):
        repetition = detector.update(token)
        told |= begin <= step < begin + AGAIN and repetition is not None and repetition.loop
    return told


_SETTLING = 24
"""Tokens of the detector's window: until they are over it still tells the loop of before."""
