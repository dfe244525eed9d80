"""Read the runs of the zoo: those that are committed, or what a collection left in a folder.

    for run in load("llama"):
        print(run.group, run.side, run.kind, run.steps, run.fault, run.layer, run.kl)

Needs NumPy only.
"""

import json
import lzma
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .container import Arrays, meta, read, window_count, windows

FOLDER: Final = Path(__file__).with_name("runs")
SUFFIX: Final = ".npz.xz"
TEXTS: Final = "-texts.json.xz"

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Windows:
    """Numbers of windows of 8 steps, the first of which begins with the run's second step."""

    median: NDArray[np.float32]
    """[windows, layers]"""
    largest: NDArray[np.float32]
    """[windows, layers]"""
    place: NDArray[np.uint8]
    """[windows, layers]: the step of the largest within its window; 255 where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled answer."""

    tokens: NDArray[np.int32]
    surprisal: float
    """Sum, bit."""
    right: bool
    answer: int
    """Equal numbers are equal texts; 0 is the greedy answer's."""


@dataclass(frozen=True, slots=True)
class ZooRun:
    """One run.

    Attributes:
        model: name of its model.
        group: healthy, loop, structured, fault or task.
        side: of healthy runs: `baseline` or `held_out`, by prompt.
        kind: of text, format or task of its prompt.
        number: of its prompt, one for each within a model.
        end: why it ended, as `Run.stop_reason`.
        loop: whether its text ends in a loop; `onset` is the token at which that loop's second copy begins.
        copies: whether its text ends in three or more exact copies.
        repetitive: whether a reader could call the text's end a loop, whatever its label.
        fault, layer, step: what was planted, where, and from when on; `kl` is what it did to the next token, bit.
        task, level, right, samples: of answers that can be checked.
        columns: signal -> float32 [T].
        layers: signal -> float32 [T, layers], of the runs that are kept with every step.
        counts: `logits_nan`, `logits_posinf`, `logits_neginf` [T], `hidden_nan`, `hidden_inf` [T, layers].
        previous: [T, middle layers, heads] attention to the previous token, of answers.
        spectrum: [layers] nat, of answers.
    """

    model: str
    group: str
    side: str
    kind: str
    number: int
    limit: int
    temperature: float
    input_tokens: int
    end: str
    loop: bool
    copies: bool
    repetitive: bool
    onset: int | None
    fault: str
    layer: int | None
    step: int | None
    kl: float | None
    task: str
    level: int | None
    right: bool | None
    tokens: NDArray[np.int32]
    columns: Columns
    layers: Columns
    counts: Columns
    samples: tuple[Sample, ...] = ()
    previous: NDArray[np.float32] | None = None
    spectrum: NDArray[np.float32] | None = None
    kept_windows: dict[str, Windows] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Return the number of tokens."""
        return len(self.tokens)

    @property
    def reached(self) -> bool:
        """Whether it came as far as its fault."""
        return self.step is not None and self.steps > self.step + 1

    def windows(self, signal: str) -> Windows | None:
        """Return the windows of a layer signal; None where it was not kept."""
        if signal in self.kept_windows:
            return self.kept_windows[signal]
        steps = self.layers.get(signal)
        return None if steps is None else Windows(*windows(steps))


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of the models of which there are runs."""
    found = {each.name.split(SUFFIX)[0] for each in folder.glob(f"*{SUFFIX}*")}
    return sorted(name for name in found if name)


@cache
def about(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Return what is known of a model: `model`, `layers`, `heads`, `dtype`, `report` of its training."""
    return meta(read(folder / f"{name}{SUFFIX}"))


def load(name: str, folder: Path = FOLDER) -> list[ZooRun]:
    """Return the runs of a model.

    Raises:
        FileNotFoundError: if there are none.
    """
    return list(_runs(name, read(folder / f"{name}{SUFFIX}")))


def read_texts(file: Path) -> dict[int, str]:
    """Return the text of each run that a collection left, by its number."""
    found = json.loads(lzma.decompress(file.read_bytes()))
    return {int(number): text for number, (*_, text) in found.items()}


def made_texts(name: str, folder: Path = FOLDER) -> list[tuple[str, NDArray[np.int32]]]:
    """Return (format, tokens): structured documents with varying values, cut off, that no model wrote."""
    arrays = read(folder / f"{name}{SUFFIX}")
    formats, spans = meta(arrays)["names"]["format"], _spans(arrays["made/steps"].astype(int))
    pairs = zip(arrays["made/kind"].tolist(), spans, strict=True)
    return [(formats[kind], arrays["made/tokens"][span].astype(np.int32)) for kind, span in pairs]


def _runs(name: str, arrays: Arrays) -> Iterator[ZooRun]:
    words, run = meta(arrays)["names"], {key[4:]: values for key, values in arrays.items() if key.startswith("run/")}
    steps = run["steps"].astype(int)
    of_step, of_layer = _spans(steps), _spans(np.where(run["layered"] == 2, steps, 0))
    counts = np.array([window_count(int(count)) for count in steps])
    of_window = _spans(np.where(run["layered"] == 1, counts, 0))
    is_task = run["group"] == words["group"].index("task")
    of_answer, task_number = _spans(np.where(is_task, steps, 0)), np.cumsum(is_task) - 1
    samples = _samples(arrays)
    layers = int(meta(arrays)["layers"])
    for number in range(len(steps)):

        def given(key: str, number: int = number) -> Any:
            value = run[key][number].item()
            return None if value == -1 or math.isnan(value) else value

        here, span = of_step[number], of_layer[number]
        whole, windowed = run["layered"][number] == 2, run["layered"][number] == 1
        right = given("right")
        yield ZooRun(
            model=name,
            **{key: words[key][run[key][number]] for key in ("group", "side", "kind", "fault", "task", "end")},
            **{key: run[key][number].item() for key in ("number", "limit", "input_tokens")},
            **{key: given(key) for key in ("onset", "layer", "step", "kl", "level")},
            temperature=round(run["temperature"][number].item(), 3),
            loop=run["loop"][number] == 1,
            copies=run["copies"][number] == 1,
            repetitive=bool("repetitive" in run and run["repetitive"][number] == 1),
            right=None if right is None else bool(right),
            tokens=arrays["tokens"][here].astype(np.int32),
            columns={key: arrays[f"step/{key}"][here].astype(np.float32) for key in _parts(arrays, "step/")},
            layers=_by_step(arrays, span) if whole else {},
            counts=_counts(arrays, number, int(steps[number]), layers),
            samples=samples.get(number, ()),
            previous=_previous(arrays, of_answer[number]) if is_task[number] else None,
            spectrum=arrays["spectrum"][:, task_number[number]] if is_task[number] else None,
            kept_windows=_windows(arrays, of_window[number]) if windowed else {},
        )


def _spans(counts: NDArray[Any]) -> list[slice]:
    ends = np.cumsum(counts).tolist()
    return [slice(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def _parts(arrays: Arrays, prefix: str) -> list[str]:
    return [key[len(prefix) :] for key in arrays if key.startswith(prefix)]


def _by_step(arrays: Arrays, span: slice) -> Columns:
    found = {key: arrays[f"layers/{key}"][:, span].T.astype(np.float32) for key in _parts(arrays, "layers/")}
    if "hidden_l2_norm" in found:  # as a profile knows it
        with np.errstate(divide="ignore", invalid="ignore"):
            found["log2_norm"] = np.log2(found["hidden_l2_norm"])
            found["log2_gain"] = np.diff(found["log2_norm"], axis=1, prepend=0.0)
    return found


def _windows(arrays: Arrays, span: slice) -> dict[str, Windows]:
    signals = {key.rsplit("/", 1)[0] for key in _parts(arrays, "window/")}
    return {
        signal: Windows(
            arrays[f"window/{signal}/median"][:, span].T.astype(np.float32),
            arrays[f"window/{signal}/max"][:, span].T.astype(np.float32),
            arrays[f"window/{signal}/argmax"][:, span].T,
        )
        for signal in sorted(signals)
    }


def _counts(arrays: Arrays, number: int, steps: int, layers: int) -> Columns:
    found: Columns = {name: np.zeros(steps, np.int32) for name in ("logits_nan", "logits_posinf", "logits_neginf")}
    found |= {name: np.zeros((steps, layers), np.float32) for name in ("hidden_nan", "hidden_inf")}
    for _, step, *values in arrays["logits"][arrays["logits"][:, 0] == number].tolist():
        for name, value in zip(("logits_nan", "logits_posinf", "logits_neginf"), values, strict=True):
            found[name][step] = value
    for _, step, layer, nan, inf in arrays["nonfinite"][arrays["nonfinite"][:, 0] == number].tolist():
        found["hidden_nan"][step, layer], found["hidden_inf"][step, layer] = nan, inf
    return found


def _previous(arrays: Arrays, span: slice) -> NDArray[np.float32]:
    return np.moveaxis(arrays["previous"][..., span], -1, 0).astype(np.float32)


def _samples(arrays: Arrays) -> dict[int, tuple[Sample, ...]]:
    if "sample/run" not in arrays:
        return {}
    found: dict[int, tuple[Sample, ...]] = {}
    spans = _spans(arrays["sample/steps"].astype(int))
    for place, number in enumerate(arrays["sample/run"].tolist()):
        sample = Sample(
            arrays["sample/tokens"][spans[place]].astype(np.int32),
            arrays["sample/surprisal"][place].item(),
            arrays["sample/right"][place] == 1,
            arrays["sample/answer"][place].item(),
        )
        found[number] = (*found.get(number, ()), sample)
    return found
