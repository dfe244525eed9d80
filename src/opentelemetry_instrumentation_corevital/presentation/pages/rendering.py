"""Turns a template and what is shown into HTML. What is shown is foreign text: everything is escaped."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..._internal.printable import ELLIPSIS, still_printable
from ...version import __version__
from .assets import asset_address
from .page_formats import FORMATS

if TYPE_CHECKING:
    import jinja2

_MOST_TEXT: Final = 100_000
"""Characters of one text on a page."""


def render(template: str, values: Mapping[str, Any], folders: Sequence[Path] = ()) -> str:
    """Return a page.

    Args:
        template: its name, with the folder in which it is: `run/page.html.j2`.
        values: what it shows, by the names that it uses; each has to be there.
        folders: where templates are looked for before those of this room.
    """
    return _environment(tuple(folders)).get_template(template).render(values)


@cache
def _environment(folders: tuple[Path, ...]) -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.globals.update(asset=asset_address, corevital_version=__version__)
    environment.filters.update(FORMATS, json_data=json_data)
    return environment


def json_data(value: Any) -> Any:
    """Return a value as JSON that can stand in a `<script type="application/json">` of a page.

    Raises:
        ValueError: for NaN and the infinities, which JSON does not have: they are None, with their reason beside them.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    from markupsafe import Markup

    return Markup(text)


def _shown(value: Any) -> Any:
    """Return a value as it can be shown on the page; what was escaped already stays."""
    if type(value) is not str:
        return value
    return still_printable(value if len(value) <= _MOST_TEXT else f"{value[: _MOST_TEXT - 1]}{ELLIPSIS}")
