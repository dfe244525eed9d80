"""Pages of `templates/` with what the code and the measurements say filled in.

- `{{limit NAME}}`: the default of a threshold.
- `{{rule NAME}}`: a number of the rules of warnings and of the risk that is no threshold to be set; a fraction as percent.
- `{{figure SECTION | ROW}}`: a value of results/judgement.md, of the row that begins so.
- `{{carriers WORD ...}}`: the names of telemetry with one of these words between their dots.
- `{{signals}}`: an entry for each signal; `{{columns}}`: a row for each column of the run data.
- `{{prompt_signals}}`, `{{prompt_columns}}`: the same of what is told of a prompt.
- `{{entries KIND}}`: what the catalogue says of all flags, early_warnings or compound signals; `{{entry NAME}}`: of another
  verdict. Their own places are filled in, too.
- `{{severity NAME}}`, `{{weights}}`: of a compound signal; of the flags in the risk, but for those that are all of it.
- `{{alternative_probability}}`, `{{alternative_token}}`: the meanings of these columns of the run data.
- `{{answer_features}}`, `{{answer_tokens}}`: what the shipped answer risk reads, and the most tokens in its support.
- `{{failure_risk}}`, `{{components}}`, `{{outside}}`, `{{fewest}}`, `{{fingerprint_version}}`, `{{component_table}}`.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.assessment import answer_features, behaviour, early_warning, risk, usual
from opentelemetry_instrumentation_corevital.assessment.failure_risk import INTERCEPT, LOOP, RECURRING
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT
from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped
from opentelemetry_instrumentation_corevital.catalogue import alternative_names, prompt_columns, signals, verdicts
from opentelemetry_instrumentation_corevital.catalogue.prompt_columns import PromptColumn
from opentelemetry_instrumentation_corevital.catalogue.signal import Signal, SignalEntry
from opentelemetry_instrumentation_corevital.catalogue.verdict import Entry

DOCS = Path(__file__).parent

_PLACE = re.compile(r"\{\{(\w+)(?: ([^}]+))?\}\}")
_KINDS = {"attribute": "span", "event attribute": "event", "metric": "metric"}


def page(name: str) -> str:
    """Return a page."""
    title, rest = (DOCS / "templates" / name).read_text(encoding="utf-8").split("\n", 1)
    made = f"Made from the code, `docs/templates/{name}` and [the results](results/judgement.md) by `make docs`; do not edit."
    return f"{title}\n\n{made}\n{filled(rest)}"


def filled(text: str) -> str:
    """Return the text with its places filled in.

    Raises:
        KeyError: if one asks for what is not there.
    """
    return _PLACE.sub(_value, text)


def _value(place: re.Match[str]) -> str:
    kind, what = place[1], place[2]
    return _FIXED[kind] if what is None else _NAMED[kind](what)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rule(name: str) -> str:
    """Return a constant of the rules; a quantile's level or a fraction as percent."""
    value = next(getattr(module, name) for module in (usual, early_warning, risk) if hasattr(module, name))
    return f"{100 * value:g} %" if name in _FRACTIONS else _number(value)


_FRACTIONS = {"HIGH_STEP", "USUAL_FRACTION", "UNUSUAL_FRACTION", "RISEN", "NARROW", "UNSURE", "ROUGH_FRACTION"}


def _figure(what: str) -> str:
    section, _, row = what.partition(" | ")
    results = (DOCS / "results" / "judgement.md").read_text(encoding="utf-8")
    _, _, rest = results.partition(f"\n## {section}\n")
    for line in rest.partition("\n## ")[0].splitlines():
        cells = line.strip("|").split(" | ")
        if cells[0].strip().startswith(row):
            return cells[1].strip(" |")
    raise KeyError(f"results/judgement.md has no row {row!r} under {section!r}")


def _carriers(what: str) -> str:
    words = what.split()
    found: dict[str, list[str]] = {}
    for definition in semconv.DEFINITIONS.values():
        if definition.kind in _KINDS and not set(definition.name.split(".")).isdisjoint(words):
            found.setdefault(_KINDS[definition.kind], []).append(f"`{definition.name}`")
    if not found:
        raise KeyError(f"no name of semconv.py has one of {words}")
    return "; ".join(f"{kind} {', '.join(names)}" for kind, names in found.items())


def _signals() -> str:
    """Return an entry for each signal, those that belong together in one, under the titles of their families."""
    parts, titled = [], ""
    together: dict[SignalEntry, list[Signal]] = {}
    for each in signals.in_row():
        if each.entry is not None:
            together.setdefault(each.entry, []).append(each)
    for entry, of in together.items():
        family = signals.family(of[0].family)
        if family.title and family.title != titled:
            parts += [f"## {family.title}", *([family.intro] if family.intro else [])]
            titled = family.title
        rows = {
            "definition": entry.definition,
            "unit": of[0].unit or "count",
            "default": entry.default,
            "carried by": _carried([*(each.short for each in of), *entry.also]),
            "evidence": entry.evidence,
            "measured": entry.measured,
            "when it stands out": entry.stands_out,
        }
        table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
        parts += [f"### {', '.join(f'`{each.name}`' for each in of)}", f"| | |\n|---|---|\n{table}"]
    return filled("\n\n".join(parts))


def _prompt_signals() -> str:
    """Return an entry for what is told of a prompt."""
    together: dict[SignalEntry, list[PromptColumn]] = {}
    for each in prompt_columns.COLUMNS:
        if each.entry is not None:
            together.setdefault(each.entry, []).append(each)
    parts = []
    for entry, of in together.items():
        rows = {
            "definition": entry.definition,
            "unit": of[0].unit or "index, weight",
            "default": entry.default,
            "carried by": "; ".join(["the run data", *(f"span `{name}`" for name in entry.also)]),
            "evidence": entry.evidence,
            "measured": entry.measured,
            "when it stands out": entry.stands_out,
        }
        table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
        parts += [f"### {', '.join(f'`{each.name}`' for each in of)}", f"| | |\n|---|---|\n{table}"]
    return "\n\n".join(parts)


def _prompt_columns() -> str:
    """Return the columns of the run data that are of a prompt, as rows of a table."""
    return "\n".join(
        f"| `{each.name}` | {', '.join(each.shape)} | {each.dtype} | {each.unit} | {each.definition}"
        f"{'; only with content on' if each.content else ''} |"
        for each in prompt_columns.COLUMNS
    )


def _carried(words: list[str]) -> str:
    try:
        return filled(f"{{{{carriers {' '.join(words)}}}}}")
    except KeyError:
        return "the run data only"


_SHAPES = {"step": "T", "layer": "T, L", "head": "T, middle third of L, heads"}


def _columns() -> str:
    """Return the columns of the run data that are signals, as rows of a table."""
    return "\n".join(
        f"| `{each.name}` | {_SHAPES[each.shape]} | {each.stored} | {each.unit} | "
        f"{each.definition}{f' ({each.source})' if each.source else ''} |"
        for each in signals.in_row()
    )


def _component_table() -> str:
    rows = [
        f"| {number} | `{each.name}` | {each.meaning}{' *internals*' if each.internals else ''} |"
        for number, each in enumerate(behaviour.COMPONENTS)
    ]
    return "\n".join(["| | component | definition |", "|---|---|---|", *rows])


def _entry(names: str, entry: Entry) -> str:
    """Return a heading with the names, and a table."""
    heading = ", ".join(f"`{name}`" for name in names.split(", "))
    rows = {
        "definition": entry.definition,
        "unit": entry.unit,
        "default": entry.default,
        "evidence": entry.evidence,
        "measured": entry.measured,
        "when it fires": entry.advice,
    }
    table = "".join(f"| {row} | {filled(text)} |\n" for row, text in rows.items())
    return f"### {heading}\n\n| | |\n|---|---|\n{table}"


def _answer_features() -> str:
    """Return the features that the shipped answer risk reads, each with its definition."""
    return "; ".join(f"`{term.feature}`, {answer_features.NAMES[term.feature]}" for term in shipped().terms)


def _weights() -> str:
    part = sorted((flag for flag in verdicts.FLAGS if 0 < flag.weight < 1), key=lambda flag: -flag.weight)
    return ", ".join(f"{flag.weight:g} for `{flag.name}`" for flag in part)


_SEVERITIES = {signal.name: signal.severity for signal in verdicts.COMPOUND}
_DECLARED = {
    "flags": verdicts.FLAGS,
    "early_warnings": verdicts.EARLY_WARNINGS,
    "compound": verdicts.COMPOUND,
}
_NAMED: dict[str, Callable[[str], str]] = {
    "limit": lambda what: _number(getattr(DEFAULT, what)),
    "rule": _rule,
    "figure": _figure,
    "carriers": _carriers,
    "entries": lambda what: "\n".join(_entry(each.name, each.entry) for each in _DECLARED[what]),
    "entry": lambda what: _entry(what, verdicts.ENTRIES[what]),
    "severity": lambda what: _number(_SEVERITIES[what]),
}
_FIXED = {
    "weights": _weights(),
    "answer_features": _answer_features(),
    "answer_tokens": str(shipped().most_tokens),
    "failure_risk": f"{-INTERCEPT:.2f} - {LOOP:.2f} loop - {RECURRING:.2f} recurring",
    "components": str(len(behaviour.COMPONENTS)),
    "outside": behaviour.OUTSIDE,
    "fewest": str(behaviour.FEWEST_STEPS),
    "fingerprint_version": behaviour.VERSION,
    "component_table": _component_table(),
    "columns": _columns(),
    "alternative_probability": alternative_names.PROBABILITY_MEANING,
    "alternative_token": alternative_names.TOKEN_MEANING,
    "signals": _signals(),
    "prompt_signals": _prompt_signals(),
    "prompt_columns": _prompt_columns(),
}
