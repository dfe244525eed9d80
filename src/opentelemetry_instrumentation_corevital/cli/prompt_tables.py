"""`corevital show --prompt`: what a run tells of its prompt."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from .._internal.printable import one_line
from .._internal.prompt_analysis import NEGLECTED_BELOW
from ..presentation.panel import sparkline
from ..presentation.prompt_text import absences, attended_tokens, first_note, layer_figures, surprising_tokens
from .printing import console

if TYPE_CHECKING:
    from ..run import PromptAnalysis
    from ..store.stored_run import StoredRun

_MOST_TEXT: Final = 30
_WIDTH: Final = 60
_NOTHING: Final = "This run's prompt was not analysed: prompt_analysis is off, or an older version has stored it."


def show_prompt(run: "StoredRun", tokenizer: str | None) -> None:
    """Print what is stored of a run's prompt.

    Raises:
        UserError: if there is no such tokenizer.
    """
    out, found = console(), run.prompt_analysis
    if found is None:
        out.print(_NOTHING, soft_wrap=True)
        return
    from .prompt_pieces import prompt_pieces  # transformers

    pieces = prompt_pieces(run, tokenizer)
    note = first_note(found)
    if note is not None:
        out.print(note, soft_wrap=True)
    if found.surprisal_mean is not None:
        out.print(f"surprisal: mean {found.surprisal_mean:.2f}, max {found.surprisal_max:.2f} bit")
    if found.surprisal is not None:
        out.print(sparkline(found.surprisal.tolist(), min(_WIDTH, out.width)))
    for table in (_surprising(found, pieces), _layers(found), _attended(found, pieces)):
        if table is not None:
            out.print()
            out.print(table.title, style="bold")
            table.title = None
            out.print(table)
    for what, reason in absences(found):
        out.print(f"not there: {what}: {reason}", style="dim", soft_wrap=True)


def _surprising(found: "PromptAnalysis", pieces: Sequence[str] | None) -> Table | None:
    tokens = surprising_tokens(found)
    if not tokens:
        return None
    table = _table(
        "The most surprising tokens of the prompt", "token", *(["bit"] if found.surprisal is not None else [])
    )
    if pieces is not None:
        table.add_column("text")
    for token, bits in tokens:
        cells = [str(token), *([] if found.surprisal is None else ["-" if bits is None else f"{bits:.2f}"])]
        table.add_row(*cells, *_text(token, pieces))
    return table


def _layers(found: "PromptAnalysis") -> Table | None:
    rows = layer_figures(found)
    if not rows:
        return None
    table = _table("What the layers do with the prompt", "layer", "transformation", "basin score", "lowest head")
    for row in rows:
        basin = row["basin"]
        lowest = "-" if row["lowest"] is None else f"{row['lowest']:.2f} (head {row['lowest_head']})"
        style = "yellow" if basin is not None and basin < NEGLECTED_BELOW else ""
        table.add_row(str(row["layer"]), _number(row["transformation"], 4), Text(_number(basin, 2), style), lowest)
    return table


def _attended(found: "PromptAnalysis", pieces: Sequence[str] | None) -> Table | None:
    tokens = attended_tokens(found)
    if not tokens:
        return None
    table = _table("What the last token attends to", "token", "heads", "mean weight")
    if pieces is not None:
        table.add_column("text")
    for each in tokens:
        table.add_row(str(each.token), str(each.heads), f"{each.weight:.3f}", *_text(each.token, pieces))
    return table


def _table(title: str, *names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left", title_style="bold")
    for name in names:
        table.add_column(name, justify="right")
    return table


def _text(token: int, pieces: Sequence[str] | None) -> tuple[Text, ...]:
    if pieces is None:
        return ()
    return (Text(one_line(pieces[token].replace("\n", "\u21b5"), _MOST_TEXT) if token < len(pieces) else "-"),)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
