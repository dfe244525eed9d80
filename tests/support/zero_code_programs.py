"""Programs for opentelemetry-instrument to start."""

import sys
from typing import Any

from tests.support.subprocesses import ROOT

PROGRAMS = ROOT / "tests" / "zero_code" / "programs"


def program(name: str) -> list[str]:
    return [sys.executable, str(PROGRAMS / f"{name}.py")]


def attributes_of(span: Any) -> dict[str, Any]:
    return {item.key: item.value for item in span.attributes}
