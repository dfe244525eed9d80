"""Writes what is made from the code: attributes, configuration, api, metrics, judgement, run-data (.md), schemas/.

Also the drawing of the rooms (architecture.svg), and what names verdicts in collector/ (`collector_files.py`).
"""

from functools import partial
from pathlib import Path
from typing import Any

import architecture_drawing
import collector_files
import public_api
import run_schema
import templated
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue.definitions import Kind
from opentelemetry_instrumentation_corevital.config import Settings, environment_variable

DOCS = Path(__file__).parent

_SECTIONS: dict[Kind, str] = {
    "attribute": "Span attributes",
    "event": "Events",
    "event attribute": "Attributes of events",
    "metric": "Metrics",
    "metric attribute": "Attributes of metrics",
    "resource attribute": "Attributes of resources",
}


_VERSIONING = """## Stability and versions

A version has two numbers. Until 1.0 any change of a name raises the second one; from 1.0 on, what can break a dashboard
raises the first.

| change | until 1.0 | from 1.0 on |
|---|---|---|
| a name goes, or gets another type or unit; its value means something else; it becomes or stops being *content* | second number | first number |
| a name is added; a list of words (levels, signals, reasons) gets another word | second number | second number |
| better words on this page; a more exact or faster computation of the same definition | none | none |

- A name that goes is announced in the [changelog](../CHANGELOG.md) with what takes its place. From 1.0 on it is emitted
  beside its successor for one minor version at least.
- `gen_ai.*`, `error.type` and `exception.*` are names of OpenTelemetry's conventions; the GenAI ones are in development there.
  Where a convention renames one, CoreVital follows with a new version.
- Thresholds and rules of judgements are not part of the version: a run's verdict can change with the package's version, which
  is on the span's scope. [judgement.md](judgement.md) has what was measured.
- `docs/schemas/names-VERSION.json` has the names for programs, `docs/schemas/run-VERSION.json` is the JSON Schema of an exported
  run. Files of a released version never change; a test holds them against the code.""".splitlines()


def attributes_page() -> str:
    """Return docs/attributes.md."""
    lines = [
        "# Attributes, events and metrics",
        "",
        "Made from `semconv.py` by `make docs`; do not edit.",
        "",
        f"Version of the `corevital.*` names: {semconv.SCHEMA_VERSION}, on every run as `corevital.schema_version`. "
        "What is marked *content* is emitted only when message content is switched on.",
        "A value that was not measured or is not finite is left out, never 0; `corevital.capture.absent` says why.",
        "",
        *_VERSIONING,
    ]
    for kind, title in _SECTIONS.items():
        lines += ["", f"## {title}", "", "| name | type | unit | meaning |", "|---|---|---|---|"]
        for definition in semconv.DEFINITIONS.values():
            if definition.kind == kind:
                content = " *content*" if definition.content else ""
                unit = f"`{definition.unit}`" if definition.unit else ""
                lines.append(f"| `{definition.name}` | {definition.type} | {unit} | {definition.meaning}{content} |")
    return "\n".join(lines) + "\n"


def configuration_page() -> str:
    """Return docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        "Made from `config.py` by `make docs`; do not edit.",
        "",
        "Option `x` is the keyword `x` of `CoreVitalInstrumentor().instrument()` and the variable beside it. "
        "A keyword wins over the variable, the variable over the default. A bad value raises `SettingsError` from "
        "`instrument()`; under `opentelemetry-instrument` one line is logged and CoreVital stays off. A misspelt variable "
        "(`OTEL_COREVITAL_CAPTRUE`, `COREVITAL_CAPTURE`) is logged once per process, with the nearest name.",
        "",
        "| option | environment variable | values | default | meaning |",
        "|---|---|---|---|---|",
    ]
    schema = Settings.model_json_schema(by_alias=False)["properties"]
    for name, field in Settings.model_fields.items():
        lines.append(
            f"| `{name}` | `{environment_variable(name)}` | {_values(schema[name])} | {_default(field)} "
            f"| {field.description} |"
        )
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    assert value is not PydanticUndefined
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    kind = kinds[0]
    limits = [
        f"{word} {kind[key]:.15g}"
        for key, word in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
        if key in kind
    ]
    return " ".join([kind["type"], *limits])


PAGES = {
    "attributes.md": attributes_page,
    "configuration.md": configuration_page,
    "api.md": public_api.page,
    "architecture.svg": architecture_drawing.page,
    **{name: partial(templated.page, name) for name in ("metrics.md", "judgement.md", "run-data.md")},
}


def main() -> None:
    """Write every page."""
    made = run_schema.pages()
    run_schema.refuse_to_change_what_is_released(made, run_schema.released())
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
    for name, text in made.items():
        (run_schema.FOLDER / name).write_text(text, encoding="utf-8")
    for path, text in collector_files.files().items():
        (collector_files.ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
