"""What the files for containers, Kubernetes and systemd say, and whether commands in them are ours."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
import yaml

from opentelemetry_instrumentation_corevital.cli.app import app
from tests.support.collectors import FOLDER, OVERLAYS
from tests.support.processes import COLLECTOR_CONFIG

DOCKER, KUBERNETES, SYSTEMD = FOLDER / "docker", FOLDER / "kubernetes", FOLDER / "systemd"
OUR_VARIABLES = {"COREVITAL_COLLECT_TOKEN", "COREVITAL_DASHBOARD_TOKEN"}
"""Read by commands, as their options say."""


@dataclass
class Stage:
    """A stage of a Dockerfile."""

    base: str
    lines: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        return [value for name, value in self.lines if name == instruction]


def stages(path: Path) -> dict[str, Stage]:
    """Return the stages of a Dockerfile by name; one without a name has that of its base."""
    found: dict[str, Stage] = {}
    current = Stage("")
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    for line in (line for line in text.splitlines() if line and not line.startswith("#")):
        instruction, _, value = line.partition(" ")
        if instruction == "FROM":
            base, _, name = value.partition(" AS ")
            current = found.setdefault(name or base, Stage(base))
        else:
            current.lines.append((instruction, value.strip()))
    return found


def compose() -> Any:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def manifests() -> list[dict[str, Any]]:
    """Return every object of the folder for Kubernetes."""
    files = sorted(KUBERNETES.glob("*.yaml"))
    return [each for path in files for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def commands() -> set[str]:
    return set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Return the options of a command line of ours, without the word `corevital`."""
    command: Any = typer.main.get_command(app)
    name, *rest = arguments
    while hasattr(command, "commands"):
        command = command.commands[name]
        if hasattr(command, "commands"):
            name, *rest = rest
    options: dict[str, Any] = command.make_context(name, rest, resilient_parsing=False).params
    return options


def read_by_collectors() -> set[str]:
    """Return the variables that the Collector's configurations read."""
    paths = (COLLECTOR_CONFIG, *(FOLDER / f"{name}.yaml" for name in OVERLAYS))
    return {name for path in paths for name in re.findall(r"\$\{env:(\w+)", path.read_text(encoding="utf-8"))}


def as_list(value: str) -> list[str]:
    words: list[str] = json.loads(value)
    return words
