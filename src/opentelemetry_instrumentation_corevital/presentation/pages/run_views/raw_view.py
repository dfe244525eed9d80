"""All that is stored of a run's span as JSON, one value a line, for its page."""

import json
from collections.abc import Mapping
from typing import Any, Final

from ...shapes import RunShape

_MOST: Final = 90_000
"""Characters of one part: the exports have all of it."""


def raw_view(run: RunShape) -> list[dict[str, Any]]:
    """Return parts with a title and their JSON; `left_out` of their values are not there for their size."""
    parts = [_part("Attributes of the span", _members(run.attributes))]
    events = (("Interventions", run.interventions), ("Recorded steps", run.steps))
    parts += [_part(title, [_json(each.attributes) for each in some], "[]") for title, some in events if some]
    return parts


def _part(title: str, members: list[str], brackets: str = "{}") -> dict[str, Any]:
    kept: list[str] = []
    room = _MOST
    for each in members:
        if len(each) > room:
            break
        kept.append(f"  {each}")
        room -= len(each) + 4
    body = ",\n".join(kept)
    return {
        "title": title,
        "count": len(members),
        "json": f"{brackets[0]}\n{body}\n{brackets[1]}" if kept else brackets,
        "left_out": len(members) - len(kept),
    }


def _members(attributes: Mapping[str, Any]) -> list[str]:
    """Return a line per attribute by name; long ones are the last, so that they keep no other from its place."""
    made = [(f"{_json(name)}: {_json(value)}", name) for name, value in attributes.items()]
    return [text for text, _ in sorted(made, key=lambda each: (len(each[0]) > _MOST // 4, each[1]))]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
