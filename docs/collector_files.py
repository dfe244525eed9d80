"""Files of collector/ that name verdicts, made from the catalogue.

Those of `templates/collector/` are filled in: a line with `{{flag.X}}` is repeated for each health flag, one with
`{{verdict.X}}` for each other verdict that ClickHouse's view has; `{{flags}}` is the list of all flags, quoted for SQL.
The alerts and the dashboard have braces of their own. In them only the list of flags about numbers that are not finite
is made: what follows `corevital_health_flag=~`.
"""

import re
from pathlib import Path

from opentelemetry_instrumentation_corevital.catalogue.verdicts import CARRIED, FLAGS

ROOT = Path(__file__).parent.parent
TEMPLATES = Path(__file__).parent / "templates" / "collector"

NAMING_FLAGS = ("collector/alerts/corevital.rules.yaml", "collector/grafana/corevital.json")

_COMMENTS = {".yaml": "#", ".sql": "--"}
_VALUES = {
    "string": "{0}",
    "double": "toFloat64OrNull({0})",
    "int": "toInt64OrNull({0})",
    "string[]": "JSONExtract({0}, 'Array(String)')",
    "int[]": "JSONExtract({0}, 'Array(Int64)')",
    "double[]": "JSONExtract({0}, 'Array(Float64)')",
}
_PLACE = re.compile(r"\{\{(\w+)\.(\w+)\}\}")
_ALTERNATIVES = re.compile(r'(corevital_health_flag=~\\?")[a-z_|]+')


def files() -> dict[str, str]:
    """Return the path of every file, from the root, and its text."""
    numbers = "|".join(flag.name for flag in FLAGS if flag.about == "numbers")
    named = {path: _ALTERNATIVES.sub(rf"\g<1>{numbers}", (ROOT / path).read_text("utf-8")) for path in NAMING_FLAGS}
    return {f"collector/{path.name}": _filled(path) for path in sorted(TEMPLATES.iterdir())} | named


def _filled(template: Path) -> str:
    made = f"{_COMMENTS[template.suffix]} Made from docs/templates/collector/{template.name} by `make docs`; do not edit.\n"
    text = template.read_text(encoding="utf-8").replace("{{flags}}", ", ".join(f"'{flag.name}'" for flag in FLAGS))
    return made + "".join(copy for line in text.splitlines(keepends=True) for copy in _copies(line))


def _copies(line: str) -> list[str]:
    """Return a line once for each thing that it names, or as it is where it names none."""
    place = _PLACE.search(line)
    if place is None:
        return [line]
    return [_with(known, line) for known in _KNOWN[place[1]]]


def _with(known: dict[str, str], line: str) -> str:
    return _PLACE.sub(lambda place: known[place[2]], line)


_KNOWN = {
    "flag": [{"name": flag.name, "attribute": flag.attribute} for flag in FLAGS],
    "verdict": [
        {"view": each.view, "value": _VALUES[each.type].format(f"SpanAttributes['{each.attribute}']")}
        for each in CARRIED
        if each.view
    ],
}
