"""Writes the pages that are made from the code: docs/attributes.md and docs/configuration.md."""

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.config import Settings, environment_variable

DOCS = Path(__file__).parent

_SECTIONS: dict[semconv.Kind, str] = {
    "attribute": "Span attributes",
    "event": "Events",
    "event attribute": "Attributes of events",
    "metric": "Metrics",
    "metric attribute": "Attributes of metrics",
}


def attributes_page() -> str:
    """Return docs/attributes.md."""
    lines = [
        "# Attributes, events and metrics",
        "",
        "Made from `semconv.py` by `make docs`; do not edit.",
        "",
        f"Version of the `corevital.*` names: {semconv.SCHEMA_VERSION}. Until 1.0 a minor version may change a name; "
        "the changelog says so. What is marked *content* is emitted only when message content is switched on.",
        "A value that was not measured or is not finite is left out, never 0; `corevital.capture.absent` says why.",
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
        "`instrument()`; under `opentelemetry-instrument` one line is logged and CoreVital stays off.",
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
        f"{word} {kind[key]:g}"
        for key, word in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
        if key in kind
    ]
    return " ".join([kind["type"], *limits])


PAGES = {"attributes.md": attributes_page, "configuration.md": configuration_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
