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
from .._internal.json_text import json_object, too_deep
from .._internal.printable import ELLIPSIS, one_line, printable
from ..catalogue import rag_names
from ..catalogue.signal import Signal
from ..catalogue.signals import SIGNALS
from ..catalogue.spelling import LABELS, factor_for_people, for_people, reason_for_people
from ..catalogue.verdicts import FLAGS, HIGH_ENTROPY_SHARE, HIGH_ENTROPY_STEPS
from .answer_text import ABSENT as ANSWER_ABSENT
from .answer_text import answer_text
from .evidence_text import evidence_text
from .interventions import intervention_lines
from .prompt_text import prompt_lines
from .shapes import UNKNOWN, WHOLE, Dropped, EventShape

BARS: Final = "▁▂▃▄▅▆▇█"
_STYLES: Final = {"low": "green", "medium": "yellow", "high": "bold red"}
_FLAGS: Final = {flag.attribute: flag.label for flag in FLAGS}

_MOST_LINE: Final = 10_000
_MOST_LEVEL: Final = 24
_SPARKLINE_WIDTH: Final = 40  # leaves room for its figures in a terminal of 80 columns
_WORDS: Final = {"slope": "slope per step"}
_SETTINGS: Final = {
    "temperature": semconv.GEN_AI_REQUEST_TEMPERATURE,
    "top-p": semconv.GEN_AI_REQUEST_TOP_P,
    "top-k": semconv.GEN_AI_REQUEST_TOP_K,
    "token limit": semconv.GEN_AI_REQUEST_MAX_TOKENS,
    "seed": semconv.GEN_AI_REQUEST_SEED,
}

SpanAttributes = Mapping[str, Any]

CUT: Final = "cut off by the SDK's limit on the length of values (OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT)"


def level_style(level: str | None) -> str:
    """Return the style of a risk level."""
    return _STYLES.get(level or "", "dim")


def verdict_panel(
    attributes: SpanAttributes, dropped: Dropped = WHOLE, interventions: Sequence[EventShape] = ()
) -> RenderableType:
    """Return the whole verdict of one run.

    Args:
        attributes: of its span.
        dropped: what the SDK's limits took from the span.
        interventions: the events of what policies did; without them the attributes tell of the last one.
    """
    level, score = attributes.get(semconv.RISK_LEVEL), attributes.get(semconv.RISK_SCORE)
    title = Text("risk not known" if dropped.attributes else "risk not judged", "dim")
    if level is not None and score is not None:
        title = Text(f"{one_line(level, _MOST_LEVEL)} risk {score:.2f}", level_style(level))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in verdict_lines(attributes, dropped, interventions):
        table.add_row(name, Text(value) if isinstance(value, str) else value)  # a str may hold [markup]
    narrative = Text(_short(printable(str(attributes.get(semconv.NARRATIVE, "")))))
    return Panel(Group(narrative, Text(""), table), title=title, title_align="left", border_style=level_style(level))


def verdict_lines(
    attributes: SpanAttributes, dropped: Dropped = WHOLE, interventions: Sequence[EventShape] = ()
) -> list[tuple[str, str | Text]]:
    """Return what there is to say of a run, each line with its name; what was dropped is unknown, never none."""
    return [(name, _shown(line)) for name, line in _lines(attributes, dropped, interventions)]


def _shown(line: str | Text) -> str | Text:
    """Return a line as it can be shown: what it holds is what somebody stored."""
    if isinstance(line, str):
        return _short(printable(line))
    shown = _short(printable(line.plain))
    return line if shown == line.plain else Text(shown, line.style)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LINE else f"{text[: _MOST_LINE - 1]}{ELLIPSIS}"


def _lines(
    attributes: SpanAttributes, dropped: Dropped, interventions: Sequence[EventShape]
) -> list[tuple[str, str | Text]]:
    get = attributes.get
    absent = parsed(get(semconv.CAPTURE_ABSENT))
    unknown = UNKNOWN if dropped.attributes else "not judged"
    factors = get(semconv.RISK_FACTORS)
    lines: list[tuple[str, str | Text]] = [
        ("factors", unknown if factors is None else ", ".join(map(factor_for_people, factors)) or "none"),
        *_answer(attributes, absent or {}),
        ("flags", _flags(attributes, absent or {}, dropped)),
        *_warnings(attributes, unknown),
    ]
    if done := intervention_lines(attributes, interventions):
        lines.append(("interventions", Text("\n".join(done), "magenta")))
    lines += _blamed(attributes, absent or {}, dropped)
    lines += filter(None, (_line(each, attributes) for each in SIGNALS))
    if told := prompt_lines(attributes):
        lines.append(("prompt", _prompt(told)))
    lines.append(("tokens", _tokens(attributes)))
    lines.append(("model", _model(attributes)))
    lines.append(("decoding", _decoding(attributes)))
    if retrieved := _retrieved(attributes):
        lines.append(("retrieved", retrieved))
    if semconv.FINGERPRINT_PROMPT_HASH in attributes:
        source = get(semconv.FINGERPRINT_PROMPT_HASH_SOURCE)
        lines.append(("prompt hash", f"{str(get(semconv.FINGERPRINT_PROMPT_HASH))[:16]} ({source})"))
    if semconv.ERROR_TYPE in attributes:
        lines.append(("error", Text(str(get(semconv.ERROR_TYPE)), "red")))
    if semconv.MIGRATED_FROM in attributes:
        lines.append(
            ("migrated", f"from a report of schema {get(semconv.MIGRATED_FROM)}; its judgement is that of then")
        )
    if absent is None or absent.keys() - {ANSWER_ABSENT}:
        lines.append(("not there", _not_there(absent)))
    if any(dropped):
        lines.append(("dropped", dropped_text(dropped)))
    return lines


def _prompt(told: Sequence[tuple[Sequence[float], str]]) -> Text:
    bars = (sparkline(values, _SPARKLINE_WIDTH) for values, _ in told)
    return Text("\n".join(f"{bar}  {line}".strip() for bar, (_, line) in zip(bars, told, strict=True)))


def _answer(attributes: Mapping[str, Any], absent: Mapping[str, Any]) -> list[tuple[str, str | Text]]:
    """Return the answer risk, or why there is none; nothing for a run that nobody judged by it."""
    told = answer_text(attributes, absent)
    return [] if told is None else [("answer risk", told)]


def _blamed(attributes: SpanAttributes, absent: Mapping[str, Any], dropped: Dropped) -> list[tuple[str, str | Text]]:
    """Return the blamed layers, where there are any or it is not known."""
    layers = attributes.get(semconv.BLAME_LAYERS)
    if layers:
        return [("blame", _blame(layers, attributes.get(semconv.BLAME_REASONS)))]
    if dropped.attributes and layers is None and "blame" not in absent:
        return [("blame", UNKNOWN)]
    return []


def _not_there(absent: Mapping[str, Any] | None) -> str:
    if absent is None:
        return f"not known: the list of it is {CUT}"
    reasons: dict[str, list[str]] = {}
    for name, reason in absent.items():
        if name == ANSWER_ABSENT:  # which has a line of its own
            continue
        reasons.setdefault(reason_for_people(str(reason)), []).append(LABELS.get(name, name))
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def dropped_text(dropped: Dropped) -> str:
    """Return what the SDK's limits took, and which variables set them."""
    taken = (
        (dropped.attributes, "attributes", "OTEL_ATTRIBUTE_COUNT_LIMIT, OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        (dropped.events, "events", "OTEL_SPAN_EVENT_COUNT_LIMIT"),
    )
    what = "; ".join(f"{count} {name} ({variables})" for count, name, variables in taken if count)
    return f"by the SDK's limits: {what}. What is missing here may have been measured."


def _line(signal: Signal, attributes: SpanAttributes) -> tuple[str, str | Text] | None:
    """Return a signal's line; None where it has none, or no value."""
    if signal.line is None:
        return None
    series = signal.layers_name if signal.layer_array is not None else signal.series_name
    bars = sparkline(attributes.get(series) or (), _SPARKLINE_WIDTH) if signal.line.bars else ""
    figures = [
        f"{_WORDS.get(word, word)} {attributes[name]:{form}}"
        for word, form in signal.line.figures
        if (name := signal.summary_name(word)) in attributes
    ]
    unit = f" {signal.unit}" if figures and signal.unit != "1" else ""
    return (signal.line.title, f"{bars}  {', '.join(figures)}{unit}".strip()) if bars or figures else None


def _flags(attributes: SpanAttributes, absent: Mapping[str, Any], dropped: Dropped) -> Text:
    evidence = parsed(attributes.get(semconv.HEALTH_EVIDENCE))
    lines = []
    for attribute, name in _FLAGS.items():
        if attributes.get(attribute):
            numbers = CUT if evidence is None else evidence_text(evidence.get(attribute.rpartition(".")[2]))
            lines.append(f"{name}: {numbers}" if numbers else name)
    missing = {name: attribute for attribute, name in _FLAGS.items() if attribute not in attributes}
    lost = [n for n, attribute in missing.items() if dropped.attributes and attribute.rpartition(".")[2] not in absent]
    unjudged = [name for name in missing if name not in lost]
    text = Text("\n".join(lines), "bold red") if lines else Text("none" if len(missing) < len(_FLAGS) else "not known")
    said = [(UNKNOWN, lost), ("not judged", unjudged)]
    notes = "; ".join(f"{what}: {', '.join(names)}" for what, names in said if names)
    return text.append(f" ({notes})", "not bold default") if notes else text


def _blame(layers: Sequence[Any], reasons: Sequence[Any] | None) -> Text:
    """Return a line per reason, in the order of blame, with the layers that it is given for."""
    blamed: dict[str, list[int]] = {}
    for layer, reason in zip(layers, [f"reason {UNKNOWN}"] * len(layers) if reasons is None else reasons, strict=False):
        blamed.setdefault(str(reason), []).append(int(layer))
    lines = [f"layer{'s' if len(each) > 1 else ''} {_ranges(each)}: {reason}" for reason, each in blamed.items()]
    return Text("\n".join(lines), "bold red")


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers with runs of three and more consecutive ones as first-last, in the order given."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ", ".join(f"{each[0]}-{each[-1]}" if len(each) > 2 else ", ".join(map(str, each)) for each in groups)


def _warnings(attributes: SpanAttributes, unknown: str) -> list[tuple[str, str | Text]]:
    """Return the warnings of the run, the same that lists have, and apart from them those that did not last."""
    get = attributes.get
    warnings, evidence = get(semconv.WARNINGS), _evidence_of_warnings(attributes)
    lines: list[tuple[str, str | Text]] = [
        ("warnings", unknown if warnings is None else _with_evidence(warnings, evidence))
    ]
    fired = [*(get(semconv.EARLY_WARNING_SIGNALS) or ()), *(get(semconv.COMPOUND_SIGNALS) or ())]
    if others := [name for name in fired if name not in (warnings or ())]:
        lines.append(("not lasting" if warnings is not None else "warned of", _with_evidence(others, evidence)))
    return lines


def _evidence_of_warnings(attributes: SpanAttributes) -> dict[str, Any]:
    """Return warning -> its numbers; None for one whose numbers were cut off."""
    get = attributes.get
    found: dict[str, Any] = {}
    for names, evidence in (
        (get(semconv.EARLY_WARNING_SIGNALS), parsed(get(semconv.EARLY_WARNING_EVIDENCE))),
        (get(semconv.COMPOUND_SIGNALS), parsed(get(semconv.COMPOUND_EVIDENCE))),
    ):
        found |= {str(name): None for name in names or ()} if evidence is None else evidence
    health = parsed(get(semconv.HEALTH_EVIDENCE))
    found[HIGH_ENTROPY_SHARE] = None if health is None else health.get(HIGH_ENTROPY_STEPS, {})
    return found


def _with_evidence(names: Sequence[str], evidence: Mapping[str, Any]) -> Text:
    """Return each warning with its step and numbers."""
    lines = []
    for name in names:
        found = evidence.get(name, {})
        numbers = dict(found) if isinstance(found, Mapping) else {}
        numbers.pop("lasting", None)  # which of the two lines it is in says so
        step = numbers.pop("step", None)
        when = "" if step is None else f"step {step}: "
        told = CUT if found is None else evidence_text(numbers)
        lines.append(f"{when}{for_people(name)}{f' ({told})' if told else ''}")
    return Text("\n".join(lines), "yellow") if lines else Text("none")


def _tokens(attributes: SpanAttributes) -> str:
    get = attributes.get
    prompt = get(semconv.SEQUENCE_INPUT_TOKENS, get(semconv.GEN_AI_USAGE_INPUT_TOKENS))
    text = f"{get(semconv.STEPS_TOTAL, 'an unknown number')} generated"
    if prompt is not None:
        text = f"{prompt} in the prompt, {text}"
    if semconv.STOP_REASON in attributes:
        return f"{text}, stop reason {get(semconv.STOP_REASON)}"
    finish = get(semconv.GEN_AI_RESPONSE_FINISH_REASONS)
    return f"{text}, finish reason {finish[0]}" if finish else text


def _model(attributes: SpanAttributes) -> str:
    get = attributes.get
    name = get(semconv.MODEL_NAME, get(semconv.GEN_AI_REQUEST_MODEL))
    details = (
        get(semconv.MODEL_ARCHITECTURE),
        get(semconv.MODEL_DTYPE),
        get(semconv.MODEL_DEVICE),
    )
    known = ", ".join(str(detail) for detail in details if detail is not None)
    return f"{'unknown' if name is None else name}{f' ({known})' if known else ''}"


def _retrieved(attributes: SpanAttributes) -> str:
    counted = ((rag_names.CONTEXT_TOKEN_COUNT, "tokens"), (rag_names.DOCUMENT_COUNT, "documents"))
    return ", ".join(f"{attributes[name]} {what}" for name, what in counted if name in attributes)


def _decoding(attributes: SpanAttributes) -> str:
    settings = [str(attributes.get(semconv.DECODING_STRATEGY, "strategy unknown"))]
    settings += [f"{word} {attributes[name]:g}" for word, name in _SETTINGS.items() if name in attributes]
    mode = attributes.get(semconv.CAPTURE_MODE)
    return ", ".join(settings) + (f"; capture {mode}" if mode else "")


def mapping(text: Any) -> dict[str, Any]:
    """Return what a JSON attribute holds; anything else is nothing."""
    return parsed(text) or {}


def parsed(text: Any) -> dict[str, Any] | None:
    """Return what a JSON attribute holds; None where it is cut off, as a limit on the length of values does it."""
    if not isinstance(text, str):
        return {}
    value = json_object(text)
    return None if value is None or too_deep(value) else value


def message_text(attribute: Any) -> str | None:
    """Return the text of a GenAI messages attribute; None where it is not there or was cut off."""
    try:
        return str(json.loads(attribute)[0]["parts"][0]["content"])
    except (TypeError, ValueError, LookupError, RecursionError):
        return None


def sparkline(values: Sequence[float], width: int = 60, *, top: float | None = None) -> str:
    """Return a line of bars from 0 to `top`, or the largest value; a value that is not finite is a gap.

    Where there are more values than `width`, a bar is the largest of its bucket.
    """
    count = min(width, len(values))
    edges = [round(index * len(values) / count) for index in range(count + 1)] if count else []
    buckets = [[value for value in values[begin:end] if math.isfinite(value)] for begin, end in pairwise(edges)]
    if top is None:
        top = max((value for bucket in buckets for value in bucket), default=0.0)
    return "".join(_bar(max(bucket), top) if bucket else " " for bucket in buckets)


def _bar(value: float, top: float) -> str:
    fraction = max(0.0, value) / top if top > 0 else 0.0
    return BARS[min(len(BARS) - 1, int(fraction * len(BARS)))]
