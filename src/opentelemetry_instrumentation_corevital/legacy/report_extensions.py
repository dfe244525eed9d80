"""What a report of ours says about its run beside schema 0.4.0: enough to store the run as it was."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from .. import semconv


@dataclass(frozen=True, slots=True)
class OwnRun:
    """`extensions.corevital` of a report that `run --sink local` or `export` has written."""

    trace_id: str
    span_id: str
    start_ns: int
    end_ns: int
    service_name: str
    attributes: dict[str, Any]
    """Those of the run's span."""

    def without_content(self) -> dict[str, Any]:
        """Return the attributes that hold no content."""
        content = semconv.content_attributes()
        return {name: value for name, value in self.attributes.items() if name not in content}


def own_run(report: Any) -> OwnRun | None:
    """Return what a report of ours says; None for any other report."""
    extensions = report.get("extensions") if isinstance(report, dict) else None
    said = extensions.get("corevital") if isinstance(extensions, dict) else None
    if not isinstance(said, dict) or not _is_id(said.get("trace_id"), 32) or not _is_id(said.get("span_id"), 16):
        return None
    start_ns, end_ns, attributes = (said.get(name) for name in ("start_ns", "end_ns", "attributes"))
    service = said.get("service_name", "")
    if not (isinstance(service, str) and _is_time(start_ns) and _is_time(end_ns) and isinstance(attributes, dict)):
        return None
    if not all(_is_attribute(value) for value in attributes.values()):
        return None
    return OwnRun(said["trace_id"], said["span_id"], start_ns, end_ns, service, attributes)


def _is_id(value: Any, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and re.fullmatch("[0-9a-f]+", value) is not None


def _is_time(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value < 2**63


def _is_attribute(value: Any) -> bool:
    scalars = str | int | float  # a bool is an int
    return isinstance(value, scalars) or (isinstance(value, list) and all(isinstance(each, scalars) for each in value))


def without_own(extensions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extensions that the schema knows."""
    return {name: value for name, value in extensions.items() if name != "corevital"}
