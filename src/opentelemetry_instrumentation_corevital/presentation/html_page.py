"""A stored run as one HTML page that needs nothing else: its verdict, tokens, timelines and layers.

What a model has generated is foreign text: the template escapes everything, and the page's policy lets it load nothing.
"""

import base64
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from .. import semconv
from .._internal.printable import ELLIPSIS, printable, still_printable
from ..version import __version__
from .heat_map import SIGNALS, buckets, layer_map, value_range
from .panel import BARS, message_text, verdict_lines
from .shapes import RunShape
from .timeline import COLOURS, HEIGHT, WIDTH, lines, marks

_MOST_CELLS: Final = 1500
"""Columns of a heat map: of more steps the most telling of each bucket are shown."""
_SHADES: Final = 253
MOST_TOKENS: Final = 20_000
"""Tokens that are drawn one by one: a browser takes no more."""
_MOST_TEXT: Final = 1_000_000
_MISSING: Final = 255
_BAD: Final = 254


def page(run: RunShape, tokens: Sequence[str] | None, *, source: str | None = None) -> str:
    """Return a run's page.

    Args:
        run: the run.
        tokens: text of every generated token, or None where it is not known.
        source: the store that it was read from, if the page is to say it.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    found = lines(run)
    summary, total = run.summary, run.attributes.get(semconv.STEPS_TOTAL)
    steps = max([len(tokens or ()), total if isinstance(total, int) else 0, *(line.steps[-1] + 1 for line in found)])
    return environment.get_template("html_page.html.j2").render(
        version=__version__,
        source=None if source is None else printable(source),
        run=summary,
        started=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(summary.start_ns / 1e9)),
        label=run.label,
        facts=[(name, *_bars_first(str(value))) for name, value in _facts(run)],
        messages=_messages(run),
        tokens=_tokens(min(steps, MOST_TOKENS), tokens, found),
        tokens_beyond=max(0, steps - MOST_TOKENS),
        damage=sorted(run.damage.items()),
        has_text=tokens is not None,
        token_signals=[(line, COLOURS[line.signal]) for line in found if line.signal in COLOURS],
        lines=found,
        marks=[
            (step, name, 100 * step / max(1, steps - 1))
            for step, name in marks(run.attributes, run.interventions)
            if 0 <= step < steps
        ],
        last=max(0, steps - 1),
        box=(WIDTH, HEIGHT),
        maps=_maps(run),
        attributes=sorted(run.attributes.items()),
    )


def _facts(run: RunShape) -> list[tuple[str, Any]]:
    return list(verdict_lines(run.attributes, run.dropped, run.interventions))


def _shown(value: Any) -> Any:
    """Return a value as it can be shown on the page; what was escaped already stays."""
    if type(value) is not str:
        return value
    return still_printable(value if len(value) <= _MOST_TEXT else f"{value[: _MOST_TEXT - 1]}{ELLIPSIS}")


def _bars_first(text: str) -> tuple[str, str]:
    """Return the bars with which a line begins, and the rest of it."""
    rest = text.lstrip(BARS)
    return text[: len(text) - len(rest)], rest.strip()


def _tokens(steps: int, token_text: Sequence[str] | None, found: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what the page says of every step: its text, its signals, and each of them as a fraction of 0 to 1."""
    tokens: list[dict[str, Any]] = [
        {
            "text": token_text[step] if token_text is not None and step < len(token_text) else None,
            "fractions": {},
            "says": [f"step {step}"],
        }
        for step in range(steps)
    ]
    for line in found:
        low, high = line.low, line.high
        for step, value in zip(line.steps, line.values, strict=True):
            if not math.isfinite(value) or step >= steps:
                continue
            tokens[step]["says"].append(f"{line.signal.replace('_', ' ')} {value:.3f} {line.unit}".strip())
            if line.signal in COLOURS and high > low:
                fraction = (value - low) / (high - low)
                tokens[step]["fractions"][line.signal] = round(
                    1 - fraction if COLOURS[line.signal] == "low" else fraction, 3
                )
    return tokens


def _messages(run: RunShape) -> list[tuple[str, str]]:
    named = (("prompt", semconv.GEN_AI_INPUT_MESSAGES), ("answer", semconv.GEN_AI_OUTPUT_MESSAGES))
    content = [(title, message_text(run.attributes.get(name))) for title, name in named]
    return [(title, printable(text)) for title, text in content if text is not None]


def _maps(run: RunShape) -> list[dict[str, Any]]:
    """Return the heat maps as the page's script reads them: a byte per cell, layer by layer."""
    maps = []
    for name in SIGNALS:
        found = layer_map(run.columns, name)
        if found is None or not found.steps.size:
            continue
        count = min(_MOST_CELLS, len(found.steps))
        cells = buckets(found.values, count)
        faulty = buckets(found.faulty.astype(np.float64), count) > 0
        low, high = value_range(cells)
        fraction = (cells - low) / (high - low) if high > low else np.where(np.isnan(cells), np.nan, 0.0)
        codes = np.where(np.isnan(fraction), _MISSING, np.round(np.nan_to_num(fraction) * _SHADES)).astype(np.uint8)
        codes[faulty] = _BAD
        maps.append(
            {
                "name": name,
                "title": found.title,
                "steps": found.steps[np.linspace(0, len(found.steps), count, endpoint=False).astype(int)].tolist(),
                "layers": cells.shape[1],
                "low": low,
                "high": high,
                "relative": found.relative,
                "cells": base64.b64encode(codes.T.tobytes()).decode("ascii"),
            }
        )
    return maps
