"""Structured texts, a template for each way to write them down. Every record has values of its own.

A template is a function that returns the next record of a text; half of each format's templates are for choosing, half
for figures.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from . import lines, programs
from .lines import Template
from .records import RECORDS, indented, line, yaml
from .values import Values

LONGEST: Final = 4000
"""Characters of a text at least: more than any limit of tokens takes."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text, and where it comes from."""

    format: str
    template: int
    half: str
    """`fit` for choosing, `report` for figures."""
    few: bool
    """Whether its words come from few of each kind."""
    text: str


def texts(per_format: int = 120) -> Iterator[Text]:
    """Yield so many texts of each format, its templates in turn."""
    for name, (head, templates) in FORMATS.items():
        for number in range(per_format):
            template = number % len(templates)
            few = number // len(templates) % 2 == 1
            values = Values(f"{name} {number}", few=few)
            text = head(values)
            while len(text) < LONGEST:
                text += templates[template](values)
            yield Text(name, template, "report" if template % 2 else "fit", few, text)


def _nothing(_: Values) -> str:
    return ""


def _written(make: Callable[[Values], dict[str, Any]], write: Callable[[dict[str, Any]], str]) -> Template:
    """Return the template of records that are made and written so."""
    return lambda v: write(make(v))


FORMATS: Final[dict[str, tuple[Template, tuple[Template, ...]]]] = {
    "JSON lines": (_nothing, tuple(_written(make, line) for make in RECORDS)),
    "indented JSON": (
        lambda _: "[\n",
        tuple(_written(make, partial(indented, indent=2 + 2 * (at % 2))) for at, make in enumerate(RECORDS)),
    ),
    "YAML": (_nothing, (*(_written(make, yaml) for make in RECORDS), programs.service)),
    "CSV": (
        lambda _: "id,name,city,amount,date\n",
        (
            lines.csv(Values.next_id, Values.name, Values.city, Values.price, Values.day),
            lines.csv(Values.uuid, Values.state, Values.number, Values.truth),
            lines.csv(lines.quoted(Values.name), lines.quoted(Values.email), lines.quoted(Values.state), separator=";"),
            lines.csv(Values.day, Values.share, Values.share, Values.share),
            lines.csv(Values.code, Values.thing, Values.state, Values.number, separator="\t"),
            lines.csv(Values.next_id, Values.truth, Values.state, Values.level, Values.number),
        ),
    ),
    "HTML": (
        _nothing,
        (
            lines.item,
            lines.table_row,
            lines.card,
            lines.option,
            lines.article,
            lines.field,
            lines.link,
            lines.product_card,
        ),
    ),
    "XML": (lambda _: '<?xml version="1.0"?>\n', (lines.element, lines.attributes)),
    "SQL": (
        _nothing,
        (
            programs.insert,
            programs.row_of_values,
            programs.update,
            programs.create,
            programs.column,
            programs.select,
            programs.user_row,
            programs.grant,
        ),
    ),
    "logs": (
        _nothing,
        (
            lines.access,
            lines.logged,
            lines.syslog,
            lines.pairs,
            lines.trace,
            lines.heartbeat,
            lines.request,
            lines.session,
        ),
    ),
    "code": (
        _nothing,
        (
            programs.method,
            programs.check,
            programs.branch,
            programs.assignment,
            programs.struct,
            programs.call,
            programs.property_of_class,
            programs.equal,
        ),
    ),
    "tables": (
        _nothing,
        (
            lines.row(Values.name, Values.city, Values.price),
            lines.row(Values.next_id, Values.thing, Values.number, Values.state),
            lines.aligned,
            lines.bordered,
            lines.row(Values.day, Values.truth, Values.share, Values.level),
            lines.row(Values.code, Values.words),
        ),
    ),
    "settings": (_nothing, (programs.section, programs.setting, programs.metric, programs.exported)),
    "lists": (_nothing, (lines.bullet, lines.dialogue, lines.numbered)),
}
"""Format -> how its texts begin, and its templates."""
