"""A run's verdict as a person reads it, made from its span's attributes: the live run and the stored one have those."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .. import semconv

_BARS: Final = "▁▂▃▄▅▆▇█"
_STYLES: Final = {"low": "green", "medium": "yellow", "high": "bold red"}
_FLAGS: Final = {
    semconv.HEALTH_NAN: "NaN",
    semconv.HEALTH_INF: "infinity",
    semconv.HEALTH_REPETITION_LOOP: "repetition loop",
}

Attributes = Mapping[str, Any]


def level_style(level: str | None) -> str:
    """Return the style of a risk level."""
    return _STYLES.get(level or "", "dim")


def verdict_panel(attributes: Attributes) -> RenderableType:
    """Return the whole verdict of one run."""
    level, score = attributes.get(semconv.RISK_LEVEL), attributes.get(semconv.RISK_SCORE)
    title = Text("risk not judged", "dim")
    if level is not None and score is not None:
        title = Text(f"{level} risk {score:.2f}", level_style(level))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(attributes):
        table.add_row(name, value)
    narrative = Text(str(attributes.get(semconv.NARRATIVE, "")))
    return Panel(Group(narrative, Text(""), table), title=title, title_align="left", border_style=level_style(level))


def _lines(attributes: Attributes) -> list[tuple[str, RenderableType]]:
    get = attributes.get
    lines: list[tuple[str, RenderableType]] = [
        ("factors", ", ".join(get(semconv.RISK_FACTORS) or ()) or "none"),
        ("flags", _flags(attributes)),
        ("early warnings", _early_warnings(attributes)),
    ]
    entropy = get(semconv.SERIES_ENTROPY)
    if entropy:
        figures = f"  mean {get(semconv.ENTROPY_MEAN, math.nan):.2f}, max {get(semconv.ENTROPY_MAX, math.nan):.2f} bit"
        lines.append(("entropy", sparkline(entropy) + figures))
    if semconv.SURPRISAL_MEAN in attributes:
        lines.append(("surprisal", f"mean {get(semconv.SURPRISAL_MEAN):.2f}, max {get(semconv.SURPRISAL_MAX):.2f} bit"))
    lines.append(("tokens", _tokens(attributes)))
    lines.append(("model", _model(attributes)))
    if semconv.FINGERPRINT_PROMPT_HASH in attributes:
        source = get(semconv.FINGERPRINT_PROMPT_HASH_SOURCE)
        lines.append(("prompt hash", f"{str(get(semconv.FINGERPRINT_PROMPT_HASH))[:16]} ({source})"))
    if semconv.ERROR_TYPE in attributes:
        lines.append(("error", Text(str(get(semconv.ERROR_TYPE)), "red")))
    absent = _mapping(get(semconv.CAPTURE_ABSENT))
    if absent:
        reasons: dict[str, list[str]] = {}
        for name, reason in absent.items():
            reasons.setdefault(str(reason), []).append(name)
        lines.append(("not there", "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())))
    return lines


def _flags(attributes: Attributes) -> RenderableType:
    evidence = _mapping(attributes.get(semconv.HEALTH_EVIDENCE))
    lines = []
    for attribute, name in _FLAGS.items():
        if attributes.get(attribute):
            numbers = evidence.get(attribute.rpartition(".")[2], {})
            lines.append(f"{name}: {_numbers(numbers)}" if numbers else name)
    if lines:
        return Text("\n".join(lines), "bold red")
    unjudged = [name for attribute, name in _FLAGS.items() if attribute not in attributes]
    return "none" + (f" (not judged: {', '.join(unjudged)})" if unjudged else "")


def _early_warnings(attributes: Attributes) -> RenderableType:
    signals = attributes.get(semconv.EARLY_WARNING_SIGNALS) or ()
    evidence = _mapping(attributes.get(semconv.EARLY_WARNING_EVIDENCE))
    lines = []
    for signal in signals:
        numbers = dict(evidence.get(signal, {}))
        step = numbers.pop("step", None)
        lines.append(f"step {step}: {signal} ({_numbers(numbers)})" if numbers else signal)
    return Text("\n".join(lines), "yellow") if lines else "none"


def _numbers(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in numbers.items())


def _tokens(attributes: Attributes) -> str:
    get = attributes.get
    prompt = get(semconv.SEQUENCE_INPUT_TOKENS, get(semconv.GEN_AI_USAGE_INPUT_TOKENS))
    text = f"{get(semconv.STEPS_TOTAL)} generated"
    if prompt is not None:
        text = f"{prompt} in the prompt, {text}"
    finish = get(semconv.GEN_AI_RESPONSE_FINISH_REASONS)
    return f"{text}, finish reason {finish[0]}" if finish else text


def _model(attributes: Attributes) -> str:
    get = attributes.get
    name = get(semconv.MODEL_NAME, get(semconv.GEN_AI_REQUEST_MODEL))
    details = (
        get(semconv.MODEL_ARCHITECTURE),
        get(semconv.MODEL_DTYPE),
        get(semconv.MODEL_DEVICE),
        get(semconv.DECODING_STRATEGY),
    )
    return f"{name} ({', '.join(str(detail) for detail in details if detail is not None)})"


def _mapping(text: Any) -> dict[str, Any]:
    """Return what a JSON attribute holds; anything else is nothing."""
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        value = {}
    return value if isinstance(value, dict) else {}


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Return a line of bars from 0 to the largest value; with more values than `width`, a bar is its bucket's largest."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    heights = [max(values[begin:end]) for begin, end in pairwise(edges)]
    top = max(heights)
    if top <= 0:
        return _BARS[0] * count
    return "".join(_BARS[min(len(_BARS) - 1, int(max(0.0, height) / top * len(_BARS)))] for height in heights)
