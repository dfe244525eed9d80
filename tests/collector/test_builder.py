"""The builder's manifest has the components that the configurations use, of one version, and no others."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.collectors import FOLDER, OVERLAYS
from tests.support.processes import COLLECTOR_CONFIG

pytestmark = pytest.mark.wire

KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")
# The manifest is for all overlays together.
ALL = {"langfuse", "prometheus", "risk-sampling"} <= set(OVERLAYS)


def configurations() -> Iterator[Any]:
    """Yield the base and the overlays."""
    for path in (COLLECTOR_CONFIG, *(FOLDER / f"{name}.yaml" for name in OVERLAYS)):
        yield yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def modules(otelcol: str) -> dict[tuple[str, str], str]:
    """Kind and name of a component -> its Go module, as the Collector itself lists them."""
    command = [otelcol, "components"]
    listed = yaml.safe_load(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    return {
        (kind, component["name"]): component["module"].split()[0] for kind in KINDS for component in listed[kind] or ()
    }


def manifest() -> dict[str, list[str]]:
    found = yaml.safe_load((FOLDER / "builder-config.yaml").read_text(encoding="utf-8"))
    return {kind: [entry["gomod"] for entry in found.get(kind, ())] for kind in (*KINDS, "providers")}


def test_the_manifest_has_what_is_used(modules: dict[tuple[str, str], str]) -> None:
    listed = {entry.split()[0] for kind in KINDS for entry in manifest()[kind]}
    used = {
        modules[kind, name.partition("/")[0]]
        for each in configurations()
        for kind in KINDS
        for name in each.get(kind, ())
    }
    assert used - listed == set()
    assert listed - used == set() or not ALL


def test_the_manifest_has_one_version() -> None:
    found = manifest()
    assert {entry.split()[1] for kind in KINDS for entry in found[kind]} == {"v0.161.0"}
    assert {entry.split()[1] for entry in found["providers"]} == {"v1.67.0"}
    texts = [path.read_text(encoding="utf-8") for path in (COLLECTOR_CONFIG, *FOLDER.glob("*.yaml"))]
    assert {scheme for text in texts for scheme in re.findall(r"\$\{(\w+):", text)} == {"env"}
    assert [Path(entry.split()[0]).name for entry in found["providers"]] == [
        "envprovider",
        "fileprovider",
        "yamlprovider",
    ]
