"""What the model could have said at each step, as a table of `corevital show --steps`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from .._internal.printable import one_line
from ..catalogue.alternative_names import RANKS
from ..presentation.alternative_tokens import alternatives_in, steps_of, text_of

if TYPE_CHECKING:
    from ..store.stored_run import StoredRun

_MOST_TEXT: Final = 24
_RANKS: Final = ("1st", "2nd", "3rd", "4th", "5th")
assert len(_RANKS) == RANKS


def alternative_table(run: "StoredRun", tokenizer: str | None, most: int) -> Table | None:
    """Return the five likeliest tokens of each step, the chosen one marked; None where they are not stored.

    Args:
        run: the run.
        tokenizer: whose tokenizer reads the ids; None: the run's own model's, if it is here.
        most: steps at most.

    Raises:
        UserError: if there is no such tokenizer.
    """
    found = alternatives_in(run.columns)
    if found is None:
        return None
    pieces = None if found.tokens is None else _pieces(run, tokenizer)
    chosen = run.columns.get("tokens")
    table = Table(box=None, pad_edge=False, header_style="dim")
    told = [] if found.tokens is None or pieces is None else ["said"]
    for name in ("step", *told, *_RANKS):
        table.add_column(name, justify="right" if name == "step" else "left", no_wrap=True)
    for step, row in enumerate(steps_of(found, most)):
        said = None if chosen is None or step >= len(chosen) else int(chosen[step])
        cells = [_cell(probability, token, pieces, said=token == said) for probability, token in row]
        own = [_shown(said, pieces)] if told else []
        table.add_row(str(step), *own, *cells)
    return table


def _shown(token: int | None, pieces: Sequence[str] | None) -> str:
    return "-" if token is None else one_line(text_of(token, pieces).replace("\n", "\u21b5"), _MOST_TEXT)


def _pieces(run: "StoredRun", tokenizer: str | None) -> Sequence[str] | None:
    from .html_file import token_texts  # transformers

    return token_texts(run, tokenizer)


def _cell(probability: float, token: int | None, pieces: Sequence[str] | None, *, said: bool) -> Text:
    text = Text(f"{probability:.3f}", "dim")
    if token is not None:
        text.append(" ").append(_shown(token, pieces), "not dim underline" if said else "not dim")
    return text
