"""A run in three lines: its verdict, what happened, and its entropy over the steps."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from .. import semconv
from .._internal.printable import ELLIPSIS, one_line
from ..catalogue.spelling import for_people
from .panel import level_style, sparkline
from .run_table import risk_words
from .shapes import RunShape, SummaryShape
from .text_lines import columns, cut

_INDENT: Final = "  "
_GAP: Final = "  "
_FEWEST_BARS: Final = 8
_MOST_BARS: Final = 60
_MOST_WORD: Final = 60
_MOST_STORY: Final = 1000
_FIGURES: Final = (("mean", semconv.ENTROPY_MEAN), ("max", semconv.ENTROPY_MAX))


def compact(run: RunShape, name: str, width: int) -> list[Text]:
    """Return three lines of at most `width` columns.

    Args:
        run: the run.
        name: by which it is found again.
        width: columns.
    """
    return [_verdict(run.summary, width), _story(run.summary, width), _entropy(run, f"run {name}", width)]


def _verdict(run: SummaryShape, width: int) -> Text:
    """Return risk, flags, warnings, model, tokens and end; what there is no room for goes from the end."""
    line = Text().append(risk_words(run), level_style(run.risk_level))
    found = [(flag, "bold red") for flag in run.flags] + [(name, "yellow") for name in run.warnings or ()]
    for place, (name, style) in enumerate(found):
        line.append(", " if place else ": ").append(for_people(one_line(name, _MOST_WORD)), style)
    for part in _facts(run):
        if columns(line.plain) + len(_GAP) + columns(part) <= width:
            line.append(f"{_GAP}{part}", "dim")
    return _shortened(line, width)


def _facts(run: SummaryShape) -> Sequence[str]:
    end = run.error_type or run.stop_reason or run.finish_reason
    model = one_line(run.model or "", _MOST_WORD).rpartition("/")[2]
    tokens = "" if run.output_tokens is None else f"{run.output_tokens} tokens"
    answer = "" if run.risk_answer is None else f"answer risk {run.risk_answer:.2f}"
    return [
        part for part in (", ".join(filter(None, (tokens, one_line(end or "", _MOST_WORD)))), answer, model) if part
    ]


def _story(run: SummaryShape, width: int) -> Text:
    """Return what the narrative says beyond the outcome, which the first line has."""
    story = one_line(run.narrative or "", _MOST_STORY)
    return _shortened(Text(f"{_INDENT}{story.partition('. ')[2] or story or 'no narrative'}"), width)


def _entropy(run: RunShape, name: str, width: int) -> Text:
    get = run.attributes.get
    values = get(semconv.SERIES_ENTROPY) or ()
    if not values:
        return _shortened(Text(f"{_INDENT}entropy not measured{_GAP}{name}", "dim"), width)
    figures = ", ".join(f"{word} {get(attribute):.2f}" for word, attribute in _FIGURES if attribute in run.attributes)
    told = f"{_GAP}{figures} bit{_GAP}" if figures else _GAP
    room = width - len(f"{_INDENT}entropy ") - columns(told) - columns(name)
    bars = sparkline(values, max(_FEWEST_BARS, min(_MOST_BARS, room)))
    return _shortened(Text(f"{_INDENT}entropy {bars}{told}{name}", "dim"), width)


def _shortened(line: Text, width: int) -> Text:
    """Return a line that fits, with an ellipsis where it was cut."""
    return line if columns(line.plain) <= width else cut(line, width - 1).append(ELLIPSIS)
