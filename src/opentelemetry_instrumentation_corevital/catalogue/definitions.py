"""What is declared of an emitted name, and all names that are declared so far; `semconv` declares them."""

from dataclasses import dataclass
from typing import Final, Literal

MOST_LAYERS: Final = 4096
LONG: Final = 2**20
"""Most characters of JSON and of what is read as a whole."""
LONGEST_WORD: Final = 32
"""Of one word of a list that is known; a later version may have more words than this one."""
LONGEST_TRIGGER: Final = 128
"""Of what a policy acted on: a name of the catalogue's, a threshold, or what somebody called a function."""
LONGEST_LINE: Final = 120
"""Of a verdict that is one short line."""

Kind = Literal["attribute", "event", "event attribute", "metric", "metric attribute", "resource attribute"]
ValueType = Literal[
    "string", "int", "double", "boolean", "string[]", "int[]", "double[]", "gauge", "counter", "histogram", "-"
]


@dataclass(frozen=True, slots=True)
class Definition:
    """One emitted name: what carries it, its value's type, its UCUM unit and its meaning."""

    name: str
    kind: Kind
    type: ValueType
    unit: str
    meaning: str
    content: bool = False
    """True for what is emitted only when message content is switched on."""
    lowest: float | None = None
    highest: float | None = None
    """The ends of the range of its numbers, both included; None: it has none."""
    longest: int | None = None
    """Most characters of its texts; None: any."""


MOST_STEPS: Final = 2**18
"""Of a run: more tokens than any model generates in one call."""
MOST_ITEMS: Final = 2**16
"""Of a list."""
LONGEST_NAME: Final = 4096
"""Of a text that is neither content nor declared to be a long one."""

_RANGES: Final[dict[tuple[ValueType, str], tuple[float | None, float | None]]] = {
    ("int", "{step}"): (0, MOST_STEPS),
    ("int", "{layer}"): (0, MOST_LAYERS),
    ("int", "{head}"): (0, MOST_LAYERS),
    ("int", "{token}"): (0, 2**40),
    ("int", "{sequence}"): (0, 2**31),
    ("int", "{document}"): (0, 2**31),
    ("int", "{choice}"): (0, 2**31),
    ("int", "{chunk}"): (0, 2**31),
    ("double", "s"): (0.0, 1e9),
    ("double", "{step}"): (0.0, MOST_STEPS),
}
"""Type and unit -> the range of what has them, where the name declares no other."""

DEFINITIONS: dict[tuple[Kind, str], Definition] = {}


def define(
    kind: Kind,
    name: str,
    type_: ValueType,
    unit: str,
    meaning: str,
    *,
    content: bool = False,
    between: tuple[float | None, float | None] | None = None,
    longest: int | None = None,
) -> str:
    """Declare a name; `between` are the ends of its numbers' range, `longest` the most characters of its texts.

    Raises:
        ValueError: if it is declared already, here or in the catalogue.
    """
    if (kind, name) in DEFINITIONS:
        raise ValueError(f"the {kind} {name} is declared twice")
    lowest, highest = between or _RANGES.get((type_, unit), (None, None))
    most = None if content else longest or LONGEST_NAME
    DEFINITIONS[kind, name] = Definition(name, kind, type_, unit, meaning, content, lowest, highest, most)
    return name


def attribute(
    name: str,
    type_: ValueType,
    unit: str,
    meaning: str,
    *,
    content: bool = False,
    between: tuple[float | None, float | None] | None = None,
    longest: int | None = None,
) -> str:
    """Declare an attribute of spans or log records."""
    return define("attribute", name, type_, unit, meaning, content=content, between=between, longest=longest)


def step_attribute(
    name: str,
    type_: ValueType,
    unit: str,
    meaning: str,
    *,
    content: bool = False,
    between: tuple[float | None, float | None] | None = None,
    longest: int | None = None,
) -> str:
    """Declare an attribute of an event of a span."""
    return define("event attribute", name, type_, unit, meaning, content=content, between=between, longest=longest)


def metric(name: str, type_: ValueType, unit: str, meaning: str) -> str:
    """Declare a metric."""
    return define("metric", name, type_, unit, meaning)


def known(kind: Kind, name: str) -> str:
    """Return a name that the catalogue has made, for those who spell it as a constant.

    Raises:
        KeyError: if it has not.
    """
    return DEFINITIONS[kind, name].name
