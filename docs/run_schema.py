"""docs/schemas/: the names of one version, and the JSON Schema of a Run as it is exported.

`names-VERSION.json` is `semconv.py` for programs, `run-VERSION.json` the schema of what `corevital show RUN --json`
prints, of `extensions.corevital` in a report of `corevital export`, and of `attributes` in `corevital run --json`.
Versions in `released.json` are in somebody's hands: their files never change again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue.alternative_names import RANKS
from opentelemetry_instrumentation_corevital.catalogue.definitions import Definition, Kind
from opentelemetry_instrumentation_corevital.store.labels import Label
from opentelemetry_instrumentation_corevital.store.run_columns import SET_COLUMNS, VERDICT_COLUMNS
from opentelemetry_instrumentation_corevital.store.stored_run import COLUMNS, OTHERS, RunSummary

FOLDER = Path(__file__).parent / "schemas"
RELEASED = FOLDER / "released.json"

_TYPES = {"string": "string", "int": "integer", "double": "number", "boolean": "boolean"}
_HINTS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def pages() -> dict[str, str]:
    """Return file -> text of the current version."""
    version = semconv.SCHEMA_VERSION
    made = {f"names-{version}.json": names(), f"run-{version}.json": run_schema()}
    return {name: json.dumps(value, indent=1) + "\n" for name, value in made.items()}


def released() -> dict[str, str]:
    """Return file -> SHA-256 of the files of versions that are released."""
    return dict(json.loads(RELEASED.read_text(encoding="utf-8")))


def digest(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def refuse_to_change_what_is_released(pages: dict[str, str], frozen: dict[str, str]) -> None:
    """Refuse to change what is released.

    Raises:
        SystemExit: with what to do.
    """
    for name, text in pages.items():
        if name in frozen and digest(text) != frozen[name]:
            raise SystemExit(
                f"docs/schemas/{name}: the names or the exported Run have changed, and version {semconv.SCHEMA_VERSION} "
                "is released: raise SCHEMA_VERSION in semconv.py"
            )


def names() -> dict[str, Any]:
    """Return every name that is emitted; what a name means may be put in better words, so that is left out."""
    return {
        "schema_version": semconv.SCHEMA_VERSION,
        "names": [
            {
                "name": each.name,
                "kind": each.kind,
                "type": each.type,
                "unit": each.unit,
                **({"content": True} if each.content else {}),
            }
            for each in semconv.DEFINITIONS.values()
        ],
    }


def run_schema() -> dict[str, Any]:
    """Return the JSON Schema of an exported Run."""
    version = semconv.SCHEMA_VERSION
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:corevital:run:{version}",
        "title": f"A Run of CoreVital, version {version} of its names",
        "description": "What `corevital show RUN --json` prints. Under $defs: `report`, the object "
        "`extensions.corevital` of a report, and `attributes`, also in `runs` of `corevital run --json`.",
        "type": "object",
        "required": ["summary", "label", "attributes", "events"],
        "additionalProperties": False,
        "properties": {
            "summary": {"$ref": "#/$defs/summary"},
            "label": {"anyOf": [{"$ref": "#/$defs/label"}, {"type": "null"}]},
            "attributes": {"$ref": "#/$defs/attributes"},
            "events": {"type": "array", "items": {"$ref": "#/$defs/event"}},
            "columns": {"$ref": "#/$defs/columns"},
            "alternatives": {"$ref": "#/$defs/alternatives"},
            "prompt_analysis": {"$ref": "#/$defs/prompt_analysis"},
            "dropped": {"$ref": "#/$defs/dropped"},
            "damage": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "$defs": _definitions(),
    }


def _prompt_analysis() -> dict[str, Any]:
    """Return the part that tells of the prompt."""
    return {
        "description": "What the prefill tells of the prompt; null for a number that could not be told. The "
        "surprisal of every token is content.",
        "type": "object",
        "required": ["first", "absent"],
        "additionalProperties": False,
        "properties": {
            "first": {"type": "integer", "minimum": 0},
            "surprisal_mean": {"type": "number"},
            "surprisal_max": {"type": "number"},
            **{
                name: {"$ref": "#/$defs/values"}
                for name in ("surprising", "surprisal", "layer_transformation", "basin")
            },
            "connections": {
                "type": "object",
                "required": ["index", "weight"],
                "additionalProperties": False,
                "properties": {name: {"$ref": "#/$defs/values"} for name in ("index", "weight")},
            },
            "absent": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }


def _definitions() -> dict[str, Any]:
    """Return the parts that a Run is made of, by name."""
    return {
        "dropped": {
            "description": "Attributes and events of the span that the SDK's limits dropped: what is missing may have "
            "been there.",
            "type": "object",
            "required": ["attributes", "events"],
            "additionalProperties": False,
            "properties": {name: {"type": "integer", "minimum": 0} for name in ("attributes", "events")},
        },
        "attributes": _named("attribute", "corevital"),
        "event": {
            "type": "object",
            "required": ["name", "time_ns", "attributes"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string"},
                "time_ns": {"type": "integer"},
                "attributes": _named("event attribute", "corevital"),
            },
        },
        "columns": {
            "description": "Only with --layers: run data by column, [steps], [steps, layers] or [steps, layers, heads]; "
            "null is not a finite number, and a migrated run has whether a layer had NaN, not how many.",
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/values"},
        },
        "alternatives": {
            "description": "Of a run in full: the five likeliest tokens of each step, the likeliest first; fewer where "
            "fewer could be chosen. Ids are content.",
            "type": "array",
            "items": {
                "type": "array",
                "maxItems": RANKS,
                "items": {
                    "type": "object",
                    "required": ["probability"],
                    "additionalProperties": False,
                    "properties": {
                        "probability": {"type": "number", "minimum": 0, "maximum": 1},
                        "token_id": {"type": "integer", "minimum": 0},
                    },
                },
            },
        },
        "prompt_analysis": _prompt_analysis(),
        "values": {
            "type": "array",
            "items": {"anyOf": [{"type": ["number", "boolean", "null"]}, {"$ref": "#/$defs/values"}]},
        },
        "summary": _summary(),
        "label": _fields(Label),
        "report": _report(),
    }


def _report() -> dict[str, Any]:
    """Return the object `extensions.corevital` of a report."""
    return {
        "type": "object",
        "required": ["trace_id", "span_id", "sequence_index", "start_ns", "end_ns", "attributes"],
        "additionalProperties": False,
        "properties": {
            "trace_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "span_id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
            "sequence_index": {"type": "integer", "minimum": 0},
            "start_ns": {"type": "integer"},
            "end_ns": {"type": "integer"},
            "service_name": {"type": "string"},
            "damage": {"type": "object", "additionalProperties": {"type": "string"}},
            "label": {"$ref": "#/$defs/label"},
            "attributes": {"$ref": "#/$defs/attributes"},
            "dropped": {"$ref": "#/$defs/dropped"},
        },
    }


def _named(kind: Kind, namespace: str) -> dict[str, Any]:
    """Return an object of names of a kind; others may add theirs, but not in our namespace."""
    found = {each.name: _typed(each) for each in semconv.DEFINITIONS.values() if each.kind == kind}
    foreign = {"not": {"pattern": rf"^{namespace}\."}}
    return {"type": "object", "propertyNames": {"anyOf": [{"enum": list(found)}, foreign]}, "properties": found}


def _typed(definition: Definition) -> dict[str, Any]:
    single = definition.type.removesuffix("[]")
    kind = {"type": _TYPES[single]}
    made = {"type": "array", "items": kind} if definition.type.endswith("[]") else kind
    unit = {"unit": definition.unit} if definition.unit else {}
    return {**made, **unit}


def _fields(data: type, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return an object with the fields of a dataclass, or with these of them."""
    hints = get_type_hints(data)
    names = list(names) or [field.name for field in fields(data)]
    properties = {name: _hinted(hints[name]) for name in names}
    required = [name for name in names if name != "damage"]  # there only where something is wrong
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def _summary() -> dict[str, Any]:
    """Return a row of a list: the fields of `RunSummary` that are columns, and the verdicts that have no field there."""
    made = _fields(RunSummary, [name for name in COLUMNS if name not in OTHERS])
    types = {column.name: _TYPES[column.type.removesuffix("[]")] for column in VERDICT_COLUMNS}
    types |= {name: "boolean" if name == "expected_found" else "string" for name in SET_COLUMNS}
    made["properties"] |= {name: {"type": [types[name], "null"]} for name in OTHERS}
    made["properties"]["damage"]["type"] = ["object", "null"]
    return {**made, "required": [name for name in COLUMNS if name != "damage"]}


def _hinted(hint: Any) -> dict[str, Any]:
    if hint in _HINTS:
        return {"type": _HINTS[hint]}
    arguments = get_args(hint)
    if get_origin(hint) is Mapping:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if hint == tuple[str, ...]:
        return {"type": "array", "items": {"type": "string"}}
    if tuple[str, ...] in arguments:
        return {"type": ["array", "null"], "items": {"type": "string"}}
    return {"type": [_HINTS[each] for each in arguments]}
