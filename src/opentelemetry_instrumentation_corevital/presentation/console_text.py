"""A run as text for a console: compact or as a panel; coloured where it is a terminal."""

import shutil
from io import StringIO
from typing import IO, Final

from rich.console import Console, RenderableType
from rich.text import Text

from .._internal.printable import one_line
from .compact import compact
from .panel import verdict_panel
from .run_table import name_of, verdict_line
from .shapes import RunShape

_WIDTH: Final = 80
_MOST_MODEL: Final = 100


def console_text(run: RunShape, out: IO[str], *, panel: bool, alone: bool) -> str:
    """Return a run as it is printed to `out`, with the end of its last line.

    Args:
        run: the run.
        out: where it will be printed; nothing is printed here.
        panel: whether to show the whole verdict, not three lines or, where it is no terminal, one.
        alone: whether its trace holds no other call, so that it is found by its trace.
    """
    terminal = _is_terminal(out)
    width = max(_WIDTH // 2, shutil.get_terminal_size((_WIDTH, 24)).columns) if terminal else _WIDTH
    name = name_of(run.summary, alone=alone)
    parts: list[RenderableType]
    if panel:
        parts = [verdict_panel(run.attributes, run.dropped, run.interventions), Text(f"run {name}", "dim")]
    elif terminal:
        parts = list(compact(run, name, width))
    else:
        model = one_line(run.summary.model or "", _MOST_MODEL)
        parts = [verdict_line(run.summary, name).append(f", {model}" if model else "")]
    return _rendered(parts, width, terminal=terminal, encoding=getattr(out, "encoding", None))


def _is_terminal(out: IO[str]) -> bool:
    try:
        return out.isatty()
    except (AttributeError, ValueError):  # it has none, or is closed
        return False


class _Written(StringIO):
    """Takes what rich prints, in the encoding of where it goes: boxes are ASCII where that has no others."""

    encoding = "utf-8"


def _rendered(parts: list[RenderableType], width: int, *, terminal: bool, encoding: str | None) -> str:
    written = _Written()
    written.encoding = encoding or "utf-8"
    console = Console(
        file=written,
        force_terminal=True if terminal else None,  # None: unless FORCE_COLOR says otherwise
        force_jupyter=False,
        force_interactive=False,
        legacy_windows=False,
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text))
    return written.getvalue()
