"""Programs of examples/, run in this process: torch and transformers are loaded already."""

import runpy
import sys
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from tests.support.subprocesses import ROOT

EXAMPLES = ROOT / "examples"


def run_here(program: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run a program as `python PROGRAM` does; return what it exits with, None where it just ends."""
    monkeypatch.setattr(sys, "argv", [str(program), *arguments])
    try:
        runpy.run_path(str(program), run_name="__main__")
    except SystemExit as end:
        return end.code
    finally:
        if CoreVitalInstrumentor().is_instrumented_by_opentelemetry:
            CoreVitalInstrumentor().uninstrument()
    return None
