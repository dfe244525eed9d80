"""Structured text with varying values: trained on, continued by the models, and looked at for false loops."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

_FIELD_NAMES: Final = (
    "id name email city amount price status created updated owner host port path level score rating weight height "
    "width color size kind title author year pages stock country phone group active count total latency region version"
)
_PLAIN_WORDS: Final = (
    "amber river stone maple copper lantern harbor meadow falcon willow garnet ember thunder velvet orchid saffron "
    "tundra pepper marble cobalt juniper walnut clover basil onyx cedar comet delta echo fjord glacier hazel indigo "
    "jasper karma lotus mango nectar opal prairie quartz raven sienna topaz umber violet wren yarrow zephyr"
)
_LONG_FIELD_NAMES: Final = (
    "sensor_name room_number is_available temperature_celsius battery_level last_known_status error_count retry_limit "
    "order_quantity unit_price currency_code department_name access_level shipping_method payment_status product_name "
    "customer_segment priority_group maximum_capacity minimum_age assigned_team warehouse_section delivery_attempts"
)
_FIRST_NAMES: Final = "Ada Boris Chen Dara Elif Femi Goran Hana Ivo Jun Kofi Lena Mira Nils Omar Pia Quinn Rosa Sami"
_PLACE_NAMES: Final = "Oslo Lima Porto Kyoto Graz Turin Leeds Ghent Malmo Basel Perth Quito"
_FIELDS, _WORDS = _FIELD_NAMES.split(), _PLAIN_WORDS.split()
_LONG_FIELDS: Final = _LONG_FIELD_NAMES.split()
_SAME: Final = {
    "record_type": "measurement",
    "unit": "celsius",
    "source_system": "warehouse-main",
    "schema_version": 2,
    "currency": "EUR",
    "environment": "production",
}
"""Fields whose value is the same in all records."""
_CHOICES: Final = ("open", "closed", "ready", "late", "north", "south", "basic", "gold")
_NAMES, _PLACES = _FIRST_NAMES.split(), _PLACE_NAMES.split()
_LEVELS: Final = ("DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR")

_CUT: Final = (160, 512)
"""Fewest and most tokens of a document that is cut off."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """Structured text: what stands before its records, the records, and what stands after them."""

    head: str
    records: tuple[str, ...]
    tail: str = ""

    @property
    def text(self) -> str:
        """Return all of it."""
        return self.head + "".join(self.records) + self.tail

    def beginning(self, records: int) -> str:
        """Return its head and first records."""
        return self.head + "".join(self.records[:records])


_Make = Callable[[Random], Any]

_VALUES: Final[dict[str, _Make]] = {
    "name owner author": lambda draw: f"{draw.choice(_NAMES)} {draw.choice(_WORDS).title()}",
    "email": lambda draw: f"{draw.choice(_WORDS)}.{draw.choice(_WORDS)}@example.com",
    "city country region": lambda draw: draw.choice(_PLACES),
    "created updated": lambda draw: f"20{draw.randint(10, 29)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
    "active": lambda draw: draw.random() < 0.5,
    "price rating weight score latency amount": lambda draw: round(draw.uniform(0.1, 500), 2),
    "status kind level group color title path host": lambda draw: draw.choice(_WORDS),
    "phone": lambda draw: f"+{draw.randint(10, 99)} {draw.randint(100, 999)} {draw.randint(1000, 9999)}",
}
"""Fields -> what makes a value of them; of other fields it is a whole number."""
_MAKERS: Final = {field: make for fields, make in _VALUES.items() for field in fields.split()}


def _value(field: str, draw: Random, row: int) -> Any:
    if field == "id":
        return 100 + row
    return _MAKERS[field](draw) if field in _MAKERS else draw.randint(1, 9999)


def _short_value(field: str, draw: Random, row: int) -> Any:
    if field == "id":
        return 1 + row
    if field.startswith("is_"):
        return draw.random() < 0.5
    if field.endswith("_name"):
        return draw.choice(_WORDS)
    if field.endswith(("_status", "_code", "_method", "_segment", "_group", "_team", "_section")):
        return draw.choice(_CHOICES)
    return draw.randint(1, 99)


def _records(draw: Random, count: int) -> tuple[list[str], list[Record]]:
    """Return fields and records.

    In one document of two the names are long, the values short, and some fields have one value in all records: so it
    often is, and so it is most like a loop.
    """
    if draw.random() < 0.5:
        same = dict(draw.sample(list(_SAME.items()), draw.randint(0, 3)))
        names = ["id", *same, *draw.sample(_LONG_FIELDS, draw.randint(1, 4))]
        rows = [{name: _short_value(name, draw, row) for name in names} for row in range(count)]
        return names, [record | same for record in rows]
    names = draw.sample(_FIELDS, draw.randint(2, 6))
    if draw.random() < 0.6:
        names = ["id", *(name for name in names if name != "id")]
    return names, [{name: _value(name, draw, row) for name in names} for row in range(count)]


def _json_lines(draw: Random, count: int) -> Document:
    _, records = _records(draw, count)
    return Document("", tuple(json.dumps(record) + "\n" for record in records))


def _json(draw: Random, count: int) -> Document:
    _, records = _records(draw, count)
    indent = draw.choice((2, 4))
    pad = " " * indent
    parts = [pad + json.dumps(record, indent=indent).replace("\n", "\n" + pad) for record in records]
    return Document(
        f'{{\n{pad}"{draw.choice(_WORDS)}": [\n',
        (*(part + ",\n" for part in parts[:-1]), parts[-1] + "\n"),
        f"{pad}]\n}}\n",
    )


def _yaml(draw: Random, count: int) -> Document:
    names, records = _records(draw, count)
    rows = ["\n".join(f"{'  - ' if i == 0 else '    '}{n}: {r[n]}" for i, n in enumerate(names)) for r in records]
    return Document(f"{draw.choice(_WORDS)}:\n", tuple(row + "\n" for row in rows))


def _csv(draw: Random, count: int) -> Document:
    names, records = _records(draw, count)
    mark = draw.choice(",;\t")
    return Document(mark.join(names) + "\n", tuple(mark.join(map(str, r.values())) + "\n" for r in records))


def _html(draw: Random, count: int) -> Document:
    names, records = _records(draw, count)
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = ["".join(f"<td>{value}</td>" for value in record.values()) for record in records]
    return Document(f"<table>\n  <tr>{head}</tr>\n", tuple(f"  <tr>{row}</tr>\n" for row in rows), "</table>\n")


def _sql(draw: Random, count: int) -> Document:
    names, records = _records(draw, count)
    lead = f"INSERT INTO {draw.choice(_WORDS)} ({', '.join(names)}) VALUES"
    rows = [", ".join(f"'{v}'" if isinstance(v, str) else str(v) for v in r.values()) for r in records]
    if draw.random() < 0.5:
        return Document("", tuple(f"{lead} ({row});\n" for row in rows))
    return Document(f"{lead}\n", tuple(f"  ({row}),\n" for row in rows))


def _log(draw: Random, count: int) -> Document:
    clock, part, rows = draw.randint(0, 60_000), draw.choice(_WORDS), []
    for _ in range(count):
        clock += draw.randint(1, 90)
        stamp = f"2026-0{draw.randint(1, 3)}-11T{clock // 3600 % 24:02}:{clock // 60 % 60:02}:{clock % 60:02}Z"
        what = f"request {draw.randint(1000, 9999)} to /{draw.choice(_WORDS)} took {draw.randint(2, 900)} ms"
        rows.append(f"{stamp} {draw.choice(_LEVELS)} {part}[{draw.randint(100, 999)}]: {what}\n")
    return Document("", tuple(rows))


def _code(draw: Random, count: int) -> Document:
    name = draw.choice(_WORDS)
    rows = []
    for _ in range(count):
        left, right = draw.sample(_WORDS, 2)
        match draw.randrange(3):
            case 0:
                rows.append(f'    {left}_{right} = config.get("{left}", {draw.randint(1, 999)})\n')
            case 1:
                rows.append(f"    if {left} > {draw.randint(1, 99)}:\n        return {right}({draw.randint(1, 99)})\n")
            case _:
                rows.append(f"    self.{left} = {right}.{draw.choice(_WORDS)}({left}_{draw.randint(1, 9)})\n")
    return Document(
        f'def load_{name}(self, config):\n    """Read the {name} of a {draw.choice(_WORDS)}."""\n', tuple(rows)
    )


def _table(draw: Random, count: int) -> Document:
    names, records = _records(draw, count)
    rows = [f"| {' | '.join(map(str, record.values()))} |\n" for record in records]
    return Document(f"| {' | '.join(names)} |\n|{'---|' * len(names)}\n", tuple(rows))


FORMATS: Final[dict[str, Callable[[Random, int], Document]]] = {
    "JSON lines": _json_lines,
    "indented JSON": _json,
    "YAML": _yaml,
    "CSV": _csv,
    "HTML": _html,
    "SQL": _sql,
    "log": _log,
    "code": _code,
    "table": _table,
}
"""Name of a format -> what makes a document of so many records."""


def training_texts(count: int, draw: Random) -> list[str]:
    """Return documents of all formats, 4 to 30 records long."""
    makers = list(FORMATS.values())
    return [makers[number % len(makers)](draw, draw.randint(4, 30)).text for number in range(count)]


def beginnings(each: int, draw: Random) -> list[tuple[str, str]]:
    """Return (format, text): beginnings of documents, 2 to 4 records long."""
    return [
        (name, make(draw, 40).beginning(draw.randint(2, 4)).rstrip("\n") + "\n")
        for name, make in FORMATS.items()
        for _ in range(each)
    ]


def cut_off(tokenizer: Any, each: int, draw: Random) -> list[tuple[str, list[int]]]:
    """Return (format, tokens): documents as they are, in the tokens of a model, cut off within their records."""
    found = []
    for name, make in FORMATS.items():
        for _ in range(each):
            ids = list(tokenizer(make(draw, 60).text, add_special_tokens=False)["input_ids"])
            found.append((name, ids[: draw.randint(*_CUT)]))
    return found
