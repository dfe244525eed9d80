"""A report as JSON in pieces: all of a long run's at once would be hundreds of megabytes."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

_TIMELINE: Final = "timeline"
_STEPS: Final = 1024
"""Of a timeline that are written at a time."""


def report_pieces(report: Mapping[str, Any], steps: Iterator[Mapping[str, Any]], *, pretty: bool) -> Iterator[str]:
    """Yield what `json.dumps` returns for a report with these steps as its timeline, and a line's end."""
    names = list(report)
    at = names.index(_TIMELINE)
    comma, deeper, end = (",", "\n  ", "\n") if pretty else (", ", "", "")
    before, after = (
        _without_brackets({name: report[name] for name in some}, pretty) for some in (names[:at], names[at + 1 :])
    )
    yield f"{{{before}{comma if before else ''}{deeper}{json.dumps(_TIMELINE)}: ["
    first = True
    while block := list(islice(steps, _STEPS)):
        yield ("" if first else comma) + _without_brackets(block, pretty).replace("\n", deeper)
        first = False
    yield f"{'' if first else deeper}]{comma if after else ''}{after}{end}}}\n"


def _without_brackets(value: Any, pretty: bool) -> str:
    """Return an object or a list as JSON without its brackets."""
    return json.dumps(value, ensure_ascii=False, indent=2 if pretty else None)[1:-1].removesuffix("\n")
