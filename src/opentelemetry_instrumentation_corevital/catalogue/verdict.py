"""What is declared of a verdict: the types that `flags`, `warnings` and `verdicts` fill in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final, Literal, get_args

from . import measured, signals

VerdictType = Literal["boolean", "int", "double", "string", "string[]", "int[]", "double[]"]
SQLType = Literal["INTEGER", "REAL", "TEXT"]

About = Literal["numbers", "text", "layers"]
"""What a flag speaks of: numbers that are not finite, the tokens, or what goes on in the layers.

The narrative has a sentence for the gravest flag about numbers or text, and one for the gravest about layers unless
numbers were not finite, from which the rest follows."""

Role = Literal[
    "health",
    "early_warning",
    "compound",
    "risk",
    "answer",
    "blame",
    "fingerprint",
    "narrative",
    "warnings",
    "outcome",
    "baseline",
    "assessment",
]
"""Whose verdict it is: the roles of the judgements in their order, the union of their warnings, and what is no
judgement but known of every run: what ended it, what policies did to it, what it was judged with, and the one line that
says it all."""

Carrier = Literal["route", "keep"]
"""What has it beside a run's span. `route`: its log events, by which routers choose. `keep`: a span whose SDK allows
fewer attributes than a run has."""

_WORD: Final = re.compile("[a-z][a-z0-9_]*")
_PATH: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")

SQL_TYPES: Final[Mapping[VerdictType, SQLType]] = {
    "boolean": "INTEGER",
    "int": "INTEGER",
    "double": "REAL",
    "string": "TEXT",
    "string[]": "TEXT",
}
"""Type of a value -> of its column in `runs`; a list of strings is JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of docs/judgement.md. The texts may have the places of docs/templated.py, as `{{limit NAME}}`."""

    definition: str
    unit: str
    default: str
    """What it compares with, and which option changes it."""
    evidence: str
    measured: str
    advice: str
    """What to do when it fires."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the narrative, for evidence that has every field that it names, and these values."""

    text: str
    """A format string over the fields of the evidence."""
    given: tuple[tuple[str, Any], ...] = ()

    def of(self, evidence: Mapping[str, Any]) -> str | None:
        """Return the sentence with its numbers; None where it does not fit the evidence."""
        if any(evidence.get(name) != value for name, value in self.given):
            return None
        return self.text.format_map(evidence) if evidence.keys() >= self.fields() else None

    def fields(self) -> set[str]:
        """Return the fields that it names."""
        return {name for _, name, _, _ in Formatter().parse(self.text) if name is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A health flag: raised, not raised, or absent with a reason. `assessment/health.py` has its definition by name."""

    name: str
    """Ends in `_detected`: of its field in `Health`, its column, its option and its word in metrics."""
    word: str
    """One word for it, which ends the name of its index in the store."""
    label: str
    """For people."""
    meaning: str
    """Of its attribute."""
    about: About
    needs: tuple[str, ...]
    """Without which it cannot be judged: names of `measured.py`."""
    weight: float
    """Its part of the `rules` risk, from 0 to 1."""
    sentences: tuple[Sentence, ...]
    """For the narrative: the first that fits its evidence."""
    entry: Entry
    since: int
    """The version of the store that first has its column."""
    in_reports: str = ""
    """What schema 0.4.0 of a report calls it among the factors of the risk; empty: its short name."""

    @property
    def attribute(self) -> str:
        """Return the name of its attribute."""
        return f"corevital.health.{self.name}"

    @property
    def short(self) -> str:
        """Return its name in tables and as an option."""
        return self.name.removesuffix("_detected")

    def sentence(self, evidence: Mapping[str, Any]) -> str | None:
        """Return the sentence that its evidence makes; None where none fits."""
        return next((said for each in self.sentences if (said := each.of(evidence))), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningSignal:
    """An early warning. `assessment/early_warning.py` has its definition by name."""

    name: str
    signal: str = ""
    """The column without which it cannot be judged; empty: it needs the tokens only."""
    needs: str
    """The group under which that column is absent."""
    sentence: str
    """Goes on after `The first warning came at step N: `."""
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Compound:
    """A compound signal. `assessment/compound.py` has its definition by name."""

    name: str
    severity: float
    """In (0, 1]: an order, not a probability."""
    needs: tuple[str, ...]
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A verdict that is no flag, as an attribute, and as a column of `runs` where it has one."""

    path: str
    """Its attribute's name after `corevital.`."""
    type: VerdictType
    meaning: str
    role: Role
    unit: str = ""
    between: tuple[float, float] | None = None
    """The ends of the range of its numbers, both included; None: that of its type and unit."""
    longest: int | None = None
    """Most characters of its text; None: that of any text."""
    column: str = ""
    since: int = 0
    """The version of the store that first has its column."""
    view: str = ""
    """Its column in ClickHouse's view of runs; empty: it is not there."""
    carriers: tuple[Carrier, ...] = ()

    @property
    def attribute(self) -> str:
        """Return the name of its attribute."""
        return f"corevital.{self.path}"


def problems(
    flags: Iterable[Flag], warned: Iterable[WarningSignal], compound: Iterable[Compound], carried: Iterable[Carried]
) -> list[str]:
    """Return what is wrong with declarations, a sentence each; empty: nothing."""
    flags, warned, compound, carried = tuple(flags), tuple(warned), tuple(compound), tuple(carried)
    names = [flag.name for flag in flags]
    others = [*(each.name for each in warned), *(each.name for each in compound)]
    measured_names = list(dict.fromkeys((*(each.name for each in signals.SIGNALS), *measured.names())))
    return [
        *_doubled("name", names + others + measured_names),
        *_doubled("attribute", [flag.attribute for flag in flags] + [each.attribute for each in carried]),
        *_doubled("column", names + [each.column for each in carried if each.column]),
        *_doubled("word", [flag.word for flag in flags]),
        *_doubled("label", [flag.label for flag in flags]),
        *_doubled("column of the view", [each.view for each in carried if each.view]),
        *(problem for flag in flags for problem in _wrong_flag(flag)),
        *(f"{name}: it is not one word in lower case" for name in others if not _WORD.fullmatch(name)),
        *(problem for warning in warned for problem in _wrong_warning(warning)),
        *(problem for signal in compound for problem in _wrong_compound(signal)),
        *(problem for each in carried for problem in _wrong_carried(each)),
    ]


def _doubled(what: str, values: list[str]) -> list[str]:
    return [f"the {what} {value} is declared twice" for value in dict.fromkeys(values) if values.count(value) > 1]


def _unknown_needs(name: str, needs: tuple[str, ...]) -> list[str]:
    return [f"{name}: nothing is absent under {need}" for need in needs if need not in measured.names()]


def _wrong_flag(flag: Flag) -> list[str]:
    found = []
    if not re.fullmatch(r"[a-z][a-z0-9_]*_detected", flag.name):
        found.append(f"{flag.name}: a flag's name is lower case and ends in _detected")
    if not re.fullmatch(r"[a-z]+", flag.word):
        found.append(f"{flag.name}: {flag.word!r} is not one lower-case word")
    if not 0 <= flag.weight <= 1:
        found.append(f"{flag.name}: its weight {flag.weight} is not in [0, 1]")
    if flag.about not in get_args(About):
        found.append(f"{flag.name}: there is nothing called {flag.about} to be about")
    if flag.since < 1:
        found.append(f"{flag.name}: there is no version {flag.since} of the store")
    if not (flag.needs and flag.sentences and flag.meaning and flag.label):
        found.append(f"{flag.name}: needs, sentences, meaning and label may not be empty")
    for sentence in flag.sentences:
        try:
            unnamed = not all(name.isidentifier() for name in sentence.fields())
        except ValueError:
            unnamed = True
        if unnamed:
            found.append(f"{flag.name}: {sentence.text!r} is no format with names of fields")
    return found + _unknown_needs(flag.name, flag.needs)


def _wrong_warning(warning: WarningSignal) -> list[str]:
    found = []
    if warning.signal and warning.signal not in {each.name for each in signals.SIGNALS}:
        found.append(f"{warning.name}: there is no signal {warning.signal}")
    if not warning.sentence:
        found.append(f"{warning.name}: its sentence may not be empty")
    return found + _unknown_needs(warning.name, (warning.needs,))


def _wrong_compound(signal: Compound) -> list[str]:
    found = [] if 0 < signal.severity <= 1 else [f"{signal.name}: its severity {signal.severity} is not in (0, 1]"]
    if not signal.needs:
        found.append(f"{signal.name}: what it needs may not be empty")
    return found + _unknown_needs(signal.name, signal.needs)


def _wrong_carried(each: Carried) -> list[str]:
    found = []
    if not _PATH.fullmatch(each.path) or not each.meaning:
        found.append(f"{each.attribute}: it needs a path of words in lower case, and a meaning")
    if each.column and not _WORD.fullmatch(each.column):
        found.append(f"{each.attribute}: a column is one word in lower case")
    if each.longest is not None and each.longest < 1:
        found.append(f"{each.attribute}: no text has at most {each.longest} characters")
    if each.type not in get_args(VerdictType):
        found.append(f"{each.attribute}: there is no type {each.type}")
    elif each.column and each.type not in SQL_TYPES:
        found.append(f"{each.attribute}: the store has no column of type {each.type}")
    if bool(each.column) != (each.since > 0):
        found.append(f"{each.attribute}: a column has a version of the store, and only a column has one")
    if each.between is not None and not each.between[0] <= each.between[1]:
        found.append(f"{each.attribute}: its range {each.between} has no number")
    if (each.between and "string" in each.type) or (each.longest and "string" not in each.type):
        found.append(f"{each.attribute}: numbers have a range, and text a length")
    if each.role not in get_args(Role):
        found.append(f"{each.attribute}: there is no role {each.role}")
    found += [
        f"{each.attribute}: there is no carrier {name}" for name in each.carriers if name not in get_args(Carrier)
    ]
    return found
