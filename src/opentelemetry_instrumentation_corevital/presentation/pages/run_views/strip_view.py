"""The generated tokens of a run for its page, each with a shade for every signal by which they can be coloured."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ...alternative_tokens import alternatives_in, steps_of, text_of
from ...shapes import RunShape
from ...timeline import COLOURS, Line
from ..page_formats import number

MOST_TOKENS: Final = 20_000
"""Tokens that are drawn one by one: a browser takes no more."""
_BLOCK: Final = 200
"""Tokens of a block: the browser lays out those blocks only that are seen."""
_SHADES: Final = 9
_USUAL: Final = 0.98
"""The quantile that has the strongest shade: one outlier must not take the colour from all others."""
_SMALL_IS_STRONG: Final = frozenset(("top1_prob", *(name for name, end in COLOURS.items() if end == "low")))
_NO_VALUE: Final = "-"
_BAD: Final = "x"
_LINE_END: Final = "\u21b5\n"
_AT_LEAST: Final = "\u2265 "
_EMPTY: Final = "\u00b7"


def strip_view(
    run: RunShape, tokens: Sequence[str] | None, found: Sequence[Line], steps: int, timelines: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the tokens in blocks, and for each signal a sign per token: 0 to 9, `-` without a value, `x` not finite.

    Args:
        run: the run.
        tokens: text of every generated token, or None where it is not known.
        found: the run's lines.
        steps: how many steps it has.
        timelines: their bands and marks, which tokens have, too.
    """
    drawn = min(steps, MOST_TOKENS)
    signals = [_signal(line, drawn) for line in found]
    signals.sort(key=lambda each: each["signal"] not in COLOURS)
    shades = signals[0]["shades"] if signals else _NO_VALUE * drawn
    begun = {each["step"] for each in timelines["marks"]}
    classes = [f"s{shade}" for shade in shades]
    for band in timelines["bands"]:
        for step in range(band["from"], min(band["to"], drawn)) if band["kind"] == "copy" else ():
            classes[step] += " copy other" if band["second"] else " copy"
    for step in begun:
        if step < drawn:
            classes[step] += " begun"
    return {
        "signals": signals,
        "blocks": [
            {"first": first, "tokens": _tokens(range(first, min(first + _BLOCK, drawn)), tokens, classes)}
            for first in range(0, drawn, _BLOCK)
        ],
        "has_text": tokens is not None,
        "ids_only": _ids_only(run, tokens),
        "beyond": steps - drawn,
        "could": _could(run, tokens, drawn),
    }


def _could(run: RunShape, tokens: Sequence[str] | None, drawn: int) -> dict[str, Any] | None:
    """Return what each token could have been: probabilities and, where ids are known, places in a list of texts."""
    found = alternatives_in(run.columns)
    if found is None:
        return None
    steps = steps_of(found, drawn)
    ids = list(dict.fromkeys(token for step in steps for _, token in step if token is not None))
    places, said = {token: place for place, token in enumerate(ids)}, run.columns.get("tokens")
    return {
        "texts": [text_of(token, tokens) for token in ids],
        "tokens": [[places[token] for _, token in step if token is not None] for step in steps],
        "probabilities": [[round(probability, 4) for probability, _ in step] for step in steps],
        "said": None if said is None else [places.get(token, -1) for token in said[:drawn].tolist()],
    }


def _tokens(steps: Iterable[int], tokens: Sequence[str] | None, classes: Sequence[str]) -> list[tuple[str, str]]:
    """Return the text of each token and the classes by which it is drawn, its shade first."""
    return [(_text(step, tokens), classes[step]) for step in steps]


def _text(step: int, tokens: Sequence[str] | None) -> str:
    """Return a token's text, in which a line's end can be seen; without text its step."""
    if tokens is None or step >= len(tokens):
        return str(step)
    return tokens[step].replace("\n", _LINE_END) or _EMPTY


def _ids_only(run: RunShape, tokens: Sequence[str] | None) -> bool:
    """Whether ids stand for the text, since nobody here could read them."""
    ids = run.columns.get("tokens")
    return bool(tokens and ids is not None and len(ids) and tokens[0] == f"[{int(ids[0])}]")


def _signal(line: Line, steps: int) -> dict[str, Any]:
    values = np.full(steps, np.nan)
    placed = [(step, value) for step, value in zip(line.steps, line.values, strict=True) if 0 <= step < steps]
    if placed:
        at, known = zip(*placed, strict=True)
        values[list(at)] = known
    finite = values[np.isfinite(values)]
    small = line.signal in _SMALL_IS_STRONG
    ends = (0.0, 1.0) if not finite.size else (min(0.0, float(finite.min())), float(finite.max()))
    low, high = ends if small or not finite.size else (ends[0], max(float(np.quantile(finite, _USUAL)), ends[0]))
    span = high - low
    with np.errstate(invalid="ignore"):
        fraction = np.clip((values - low) / span, 0.0, 1.0) if span > 0 else np.zeros(steps)
        shades = np.round((1.0 - fraction if small else fraction) * _SHADES)
    signs = [
        _NO_VALUE if math.isnan(value) else str(int(shade)) if math.isfinite(value) else _BAD
        for value, shade in zip(values.tolist(), np.nan_to_num(shades).tolist(), strict=True)
    ]
    weak, strong = (high, low) if small else (low, high)
    beyond = bool(finite.size) and not small and ends[1] > high
    return {
        "signal": line.signal,
        "title": line.title,
        "shades": "".join(signs),
        "weak": f"{number(weak)} {line.unit}".strip(),
        "strong": f"{_AT_LEAST if beyond else ''}{number(strong)} {line.unit}".strip(),
    }
