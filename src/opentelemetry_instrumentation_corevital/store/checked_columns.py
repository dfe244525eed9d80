"""Run data from anywhere as columns: what is declared of each, and that all speak of the same steps and layers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._internal.json_text import MOST_JSON, json_object, too_deep
from .._internal.npz import Archive, Member
from ..catalogue import alternative_names
from ..catalogue.alternative_names import RANKS
from ..catalogue.definitions import MOST_LAYERS, MOST_STEPS
from ..catalogue.prompt_columns import COLUMNS as PROMPT_COLUMNS
from ..catalogue.prompt_columns import PromptColumn
from ..catalogue.signal import SLACK, Shape, Signal
from ..catalogue.signals import in_row
from .checked_attributes import REPORT, RUN_DATA, Damage, Findings

_KEEP_BYTES: Final = 64 * 1024**2
"""Of all columns: as much is read once and kept; of more, each column is read whenever it is asked for."""
_DIMENSIONS: Final[Mapping[Shape, int]] = {"step": 1, "layer": 2, "head": 3}
PROMPT: Final = {each.name: each for each in PROMPT_COLUMNS}
"""Name -> a column that is of the prompt, and so of no step."""
_SIGNALS: Final = {each.name: each for each in in_row()}
_MOST_COUNT: Final = 2**31 - 1
_OF_RANKS: Final = alternative_names.COLUMNS
"""Columns that have five numbers per step, and none of layers."""


@dataclass(frozen=True, slots=True)
class _Declared:
    """What is declared of a column."""

    dimensions: int
    whole: bool = False
    lowest: float | None = None
    highest: float | None = None


def _of_prompt(column: PromptColumn) -> _Declared:
    whole = column.dtype == "int32"
    return _Declared(len(column.shape), whole, column.lowest, _MOST_COUNT if whole else column.highest)


def _of_signal(signal: Signal) -> _Declared:
    dimensions = _DIMENSIONS[signal.shape]
    if signal.stored == "int32":
        return _Declared(dimensions, True, 0 if signal.shape == "step" else -1, _MOST_COUNT)  # -1: not looked at
    if dimensions > 1:  # any finite number can be drawn, and the first CoreVital meant others by the same names
        return _Declared(dimensions)
    return _Declared(dimensions, False, *signal.read_range())


_DECLARED: Final[Mapping[str, _Declared]] = {
    "tokens": _Declared(1, True, 0, _MOST_COUNT),
    "time_ns": _Declared(1, True, 0, 2**63 - 1),
    alternative_names.PROBABILITY: _Declared(2, False, 0.0, 1.0),
    alternative_names.TOKEN: _Declared(2, True, -1, _MOST_COUNT),
    **{name: _of_prompt(column) for name, column in PROMPT.items()},
    **{name: _of_signal(signal) for name, signal in _SIGNALS.items()},
}
"""Every column that is ours."""


class Columns(Mapping[str, "NDArray[Any]"]):
    """The columns of a run's data that can be read, each [steps], [steps, layers] or [steps, layers, heads].

    Those of the prompt are in `of_prompt` alone.

    Args:
        data: the run data, a compressed NumPy `.npz` from anywhere.
        steps: of the run, where its span says so.
        layers: of the model, where the span says so.

    Raises:
        ValueError: if the bytes are no such archive at all.
    """

    def __init__(self, data: bytes, *, steps: int | None = None, layers: int | None = None) -> None:
        self._archive = Archive(data)
        self.findings = Findings()
        """What is left out, and why."""
        members = self._archive.members
        self._names = _fitting(self._archive, steps, layers, self.findings)
        self._keep = sum(members[name].bytes for name in self._names) <= _KEEP_BYTES
        self._kept: dict[str, NDArray[Any]] = {}
        for name in tuple(self._names):  # what is damaged inside is not there either
            try:
                values = self._read(name)
            except ValueError as error:
                self._leave_out(name, str(error))
                self._names.remove(name)
            else:
                if self._keep:
                    self._kept[name] = values
        self._of_prompt = [name for name in self._names if name in PROMPT]
        self._names = [name for name in self._names if name not in PROMPT]

    def __getitem__(self, name: str) -> "NDArray[Any]":
        if name not in self._names:
            raise KeyError(name)
        if name in self._kept:
            return self._kept[name]
        return self._read(name)

    def of_prompt(self) -> "dict[str, NDArray[Any]]":
        """Return the columns that are of the prompt, which are no columns of steps."""
        return {name: self._kept[name] if name in self._kept else self._read(name) for name in self._of_prompt}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def _leave_out(self, name: str, why: str) -> None:
        self.findings.add(f"{RUN_DATA}.{name}", why)

    def _read(self, name: str) -> "NDArray[Any]":
        """Return a column without the values that are beyond its range.

        Raises:
            ValueError: if its bytes are damaged, or a column of whole numbers has one beyond its range.
        """
        values, declared = self._archive.read(name), _DECLARED.get(name)
        if declared is None or not values.size:
            return values
        slack = 0.0 if declared.whole else SLACK
        with np.errstate(invalid="ignore"):
            beyond = np.zeros(values.shape, np.bool_)
            if declared.lowest is not None:
                beyond |= values < declared.lowest - slack
            if declared.highest is not None:
                beyond |= values > declared.highest + slack
        count = int(np.count_nonzero(beyond))
        if not count:
            return values
        what = (
            f"{count} of its values {'is' if count == 1 else 'are'} below {declared.lowest} or above {declared.highest}"
        )
        if declared.whole:
            raise ValueError(what)
        self._leave_out(name, f"{what}, and left out")
        if values.dtype.kind != "f":
            values = values.astype(np.float64)
        return np.where(beyond, np.nan, values).astype(values.dtype)


def header_damage(data: bytes, *, steps: int | None = None, layers: int | None = None) -> Damage:
    """Return what is wrong with run data by directory and headers alone: name of a column -> why it is left out.

    What is wrong with the values is seen by who reads them. Arguments and errors are those of `Columns`.
    """
    findings = Findings()
    _fitting(Archive(data), steps, layers, findings)
    return findings.named


def _fitting(archive: Archive, steps: int | None, layers: int | None, findings: Findings) -> list[str]:
    """Return the columns that can be read, by their headers; what is wrong with the others goes into `findings`.

    Columns that speak of other steps or layers than the span are left out; where none agrees, than most do.
    """
    shapes, wrong = dict[str, tuple[int, ...]](), dict(archive.wrong)
    for name, member in archive.members.items():
        if why := _wrong_shape(name, member):
            wrong[name] = why
        elif name in PROMPT:  # speaks of no step
            if PROMPT[name].shape[0] == "L" and layers is not None and member.shape[0] != layers:
                wrong[name] = f"has {member.shape[0]} layers, not {layers}"
        elif name != REPORT and member.shape[0]:  # a run without steps has empty columns
            shapes[name] = member.shape
    for axis, what, told in ((0, "steps", steps), (1, "layers", layers)):
        sizes = {
            name: shape[axis]
            for name, shape in shapes.items()
            if len(shape) > axis and name not in wrong and (axis == 0 or _is_of_layers(name))
        }
        usual = told if told in sizes.values() else _usual(sizes)
        wrong |= {name: f"has {size} {what}, not {usual}" for name, size in sizes.items() if size != usual}
    for name, why in wrong.items():
        findings.add(f"{RUN_DATA}.{name}", why)
    return [name for name in archive.members if name not in wrong]


def _wrong_shape(name: str, member: Member) -> str | None:
    """Return what is wrong with a column by its header; None: nothing."""
    shape, kind = member.shape, member.dtype.kind
    if name == REPORT:
        return None if len(shape) == 1 and member.dtype == np.uint8 else "is no text in bytes"
    declared = _DECLARED.get(name)
    if declared is not None and len(shape) != declared.dimensions:
        return f"has {len(shape)} dimensions, not {declared.dimensions}"
    if declared is not None and declared.whole and kind == "f":
        return "has fractions where whole numbers belong"
    if shape[0] > MOST_STEPS:
        return f"has {shape[0]} steps; {MOST_STEPS} are the most"
    most = RANKS if name in _OF_RANKS else MOST_LAYERS
    if any(size > most for size in shape[1:]):
        what = "tokens of a step" if name in _OF_RANKS else "layers or heads"
        return f"has {max(shape[1:])} {what}; {most} are the most"
    return None


def _is_of_layers(name: str) -> bool:
    signal = _SIGNALS.get(name)  # one of single heads has the middle third of the layers only
    return name not in _OF_RANKS and (signal is None or signal.shape != "head")


def _usual(sizes: Mapping[str, int]) -> int | None:
    """Return what most columns have; None where there is none."""
    counts = Counter(sizes.values())
    return counts.most_common(1)[0][0] if counts else None


def read_report(values: "NDArray[Any]", findings: Findings) -> dict[str, Any] | None:
    """Return what a migrated run's report says beside its columns, as far as it has a report's form.

    Args:
        values: the bytes of its JSON.
        findings: gets what is left out, and why.
    """
    found = json_object(values.tobytes().decode("utf-8", "replace")) if values.size <= MOST_JSON else None
    if found is None or too_deep(found):
        findings.add(f"{RUN_DATA}.{REPORT}", "cannot be read: it is no JSON object, or too large or too deep a one")
        return None
    for name, form in (("timeline", list), ("extensions", dict)):
        if not isinstance(found.get(name), form | None):
            findings.add(f"{RUN_DATA}.{REPORT}.{name}", f"is no {'list' if form is list else 'object'}")
            del found[name]
    if not all(_is_step(step) for step in found.get("timeline") or ()):
        findings.add(f"{RUN_DATA}.{REPORT}.timeline", "has a step that is none")
        del found["timeline"]
    return found


def _is_step(step: Any) -> bool:
    if not isinstance(step, dict) or not isinstance(step.get("token"), dict | None):
        return False
    layers = step.get("layers")
    return layers is None or (isinstance(layers, list) and all(isinstance(layer, dict) for layer in layers))
