"""The filters of the Runs page: what each offers with how many runs, and those that are on as chips."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .._internal.printable import one_line
from ..catalogue.spelling import for_people
from ..store.facets import RunCounts
from ..store.filters import FLAGS, LEVELS, STOP_REASONS
from .list_state import ListState

MOST_CHOICES: Final = 100
"""Values of one filter that a page offers; others can stand in the address."""
_MOST_NAME: Final = 60


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that a filter offers."""

    value: str
    text: str
    runs: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class FilterField:
    """One field of the form: a list of choices, or a text or number where there are none."""

    name: str
    title: str
    value: str
    choices: tuple[Choice, ...] = ()
    kind: str = "text"
    hint: str = ""
    step: str = "any"


@dataclass(frozen=True, slots=True)
class FilterChip:
    """A filter that is on, and the address of the list without it."""

    title: str
    text: str
    without: str


_TITLES: Final[Mapping[str, str]] = {
    "search": "Search",
    "model": "Model",
    "level": "Risk level",
    "flag": "Flag",
    "warning": "Warning",
    "label": "Label",
    "stop_reason": "Ended by",
    "intervened": "Intervened",
    "risk_above": "Risk above",
    "risk_below": "Risk below",
    "since": "Since",
    "until": "Until",
    "tokens_above": "Tokens above",
    "longer_than": "Seconds above",
    "prompt_hash": "Prompt hash",
    "service": "Service",
    "experiment": "Experiment",
    "baseline_source": "Baseline",
    "request_hash": "Request hash",
    "outcome_known": "Outcome known by",
}
"""Parameter -> what people call it, in the order of the chips."""
_CHOSEN: Final = ("model", "level", "flag", "warning", "label", "stop_reason", "intervened", "service", "experiment")
_FIRST: Final = ("model", "level", "flag", "label")
"""Fields that are always in sight."""
_TYPED: Final[Mapping[str, tuple[str, str, str]]] = {
    "risk_above": ("number", "0 to 1", "any"),
    "risk_below": ("number", "0 to 1", "any"),
    "since": ("text", "7d or 2026-03-01", "any"),
    "until": ("text", "1h or 2026-03-08", "any"),
    "tokens_above": ("number", "tokens", "1"),
    "longer_than": ("number", "seconds", "any"),
    "prompt_hash": ("text", "its beginning", "any"),
}
"""Parameter -> type of its field, what it takes, and its step."""


def first_fields(state: ListState, counts: RunCounts) -> list[FilterField]:
    """Return the fields that are always in sight."""
    return [_chosen(name, state, counts) for name in _FIRST]


def more_fields(state: ListState, counts: RunCounts) -> list[FilterField]:
    """Return the other fields; a list with one value has nothing to choose, and is left out unless it is on."""
    lists = [_chosen(name, state, counts) for name in _CHOSEN if name not in _FIRST]
    typed = [
        FilterField(name, _TITLES[name], state.query.conditions.get(name, ""), (), *form)
        for name, form in _TYPED.items()
    ]
    return [field for field in lists if len(field.choices) > 1 or field.value] + typed


def more_is_on(state: ListState) -> bool:
    """Return whether a filter is on that is not among the first fields."""
    return any(name not in (*_FIRST, "search") for name in state.query.conditions)


def chips(state: ListState) -> list[FilterChip]:
    """Return the filters that are on."""
    given = state.query.conditions
    return [
        FilterChip(title, text_of(name, given[name]), state.query.address("/runs", **{**state.kept, name: None}))
        for name, title in _TITLES.items()
        if name in given
    ]


def hidden_conditions(state: ListState, shown: list[FilterField]) -> dict[str, str]:
    """Return what a form has to send along: conditions that no field shows, and the order."""
    fields = {field.name for field in shown} | {"search"}
    kept = {name: text for name, text in state.query.conditions.items() if name not in fields}
    return kept | {name: state.query.others[name] for name in ("sort", "limit") if name in state.query.others}


def text_of(name: str, value: str) -> str:
    """Return a value of a filter as people read it."""
    if name == "label" and value in ("any", "none"):
        return {"any": "with a label", "none": "without a label"}[value]
    if name == "intervened":
        return {"yes": "by a policy", "no": "by none"}.get(value, value)
    return one_line(for_people(value) if name in ("flag", "warning") else value, _MOST_NAME)


def _chosen(name: str, state: ListState, counts: RunCounts) -> FilterField:
    chosen = state.query.conditions.get(name, "")
    if name == "flag" and state.query.wanted.flag is not None:
        chosen = state.query.wanted.flag  # however it is spelled in the address
    found = _found(name, counts.by[name])
    if chosen and chosen not in found:
        found[chosen] = 0
    some = sorted(found, key=lambda value: value != chosen)[:MOST_CHOICES] if len(found) > MOST_CHOICES else list(found)
    choices = tuple(Choice(value, text_of(name, value), found[value], value == chosen) for value in some)
    return FilterField(name, _TITLES[name], chosen, choices)


def _found(name: str, values: Mapping[Any, int]) -> dict[str, int]:
    """Return how many runs there are of each value, as an address has it; known values in their own order."""
    if name == "intervened":
        return {text: values[value] for value, text in ((True, "yes"), (False, "no")) if value in values}
    known = {"level": LEVELS, "flag": FLAGS, "stop_reason": STOP_REASONS}.get(name)
    if known is not None:
        return {value: values[value] for value in known if value in values}
    found = {str(value): count for value, count in values.items() if value is not None}
    if name == "label" and values:
        labelled = sum(found.values())
        found = {"any": labelled, "none": values.get(None, 0), **found}
    return {value: count for value, count in found.items() if value.strip() == value != ""}
