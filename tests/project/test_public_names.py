"""What users import and call is what it was (tests/support/public_names_0_1): it may only grow."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import __version__
from tests.support.public_names_0_1.make_names import names, options

ROOT = Path(__file__).parents[2]
BEFORE = json.loads((ROOT / "tests" / "support" / "public_names_0_1" / "names.json").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


_CONDITIONS = re.compile(r"RunFilter\((\w+=None, )*\w+=None(?=\))")
"""What a filter that asks for nothing is printed as: it may have more conditions than it had."""


def lost(before: Any, now: Any) -> list[str]:
    """Return the parameters that were there and are not, or in another order, and new ones that are required."""
    if before is None or now is None:
        return [] if before == now else ["it is called no more, or only now"]
    before, now = ([_CONDITIONS.sub("RunFilter(", each) for each in called] for called in (before, now))
    kept = [each for each in now if each in before]
    missing = [f"without {each}" for each in before if each not in now]
    required = [f"needs {each}" for each in now if each not in before and "=" not in each and "*" not in each]
    return missing + required + ([] if missing or kept == before else ["in another order"])


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found = []
    for module, described in before.items():
        for name, was in described.items():
            new = now[module].get(name)
            if new is None:
                found.append(f"{module}.{name} is gone")
                continue
            found += [f"{module}.{name}: {each}" for each in lost(was.get("parameters"), new.get("parameters"))]
            for member, called in was.get("members", {}).items():
                if member not in new["members"]:
                    found.append(f"{module}.{name}.{member} is gone")
                else:
                    found += [f"{module}.{name}.{member}: {each}" for each in lost(called, new["members"][member])]
    return found


def test_every_public_name_is_where_it_was_and_is_called_as_it_was() -> None:
    assert changes(BEFORE["names"], names()) == []


def test_every_command_has_the_options_that_it_had() -> None:
    now = options()
    for command, had in BEFORE["options"].items():
        assert set(had) <= set(now[command]), command


def test_a_change_is_noticed() -> None:
    before = {"m": {"f": {"parameters": ["a", "b=1"]}, "C": {"parameters": [], "members": {"x": None}}, "g": {}}}
    now = {"m": {"f": {"parameters": ["b=1", "c"]}, "C": {"parameters": [], "members": {"y": None}}}}
    assert changes(before, now) == ["m.f: without a", "m.f: needs c", "m.C.x is gone", "m.g is gone"]
    swapped = {"m": {"f": {"parameters": ["b=1", "a", "c=2"]}}}
    assert changes({"m": {"f": before["m"]["f"]}}, swapped) == ["m.f: in another order"]


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [(group, name, value) for group, entries in PROJECT["entry-points"].items() for name, value in entries.items()],
)
def test_entry_points_load(group: str, name: str, value: str) -> None:
    assert EntryPoint(name, value, group).load() is not None


def test_the_command_starts() -> None:
    program = [str(Path(sys.executable).with_name("corevital")), "--version"]
    found = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (found.returncode, __version__ in found.stdout) == (0, True), found.stderr
