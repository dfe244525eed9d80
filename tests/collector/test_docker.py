"""The images are built nowhere in the tests; what their files name exists, and their configuration is valid."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from opentelemetry_instrumentation_corevital.cli.app import app
from tests.support.collectors import FOLDER, OVERLAYS, ROOT
from tests.support.processes import COLLECTOR_CONFIG

DOCKER = FOLDER / "docker"


def instructions(name: str) -> list[str]:
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text(encoding="utf-8"))
    return re.findall(rf"^(?:HEALTHCHECK )?{name} (.+)$", text, re.MULTILINE)


def compose() -> Any:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def test_the_dockerfile_runs_a_command_that_exists() -> None:
    for line in instructions("COPY"):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources), line
    build = compose()["services"]["store"]["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).samefile(DOCKER / "Dockerfile")
    assert [json.loads(line) for line in instructions("ENTRYPOINT")] == [["corevital"]]
    health, arguments = map(json.loads, instructions("CMD"))
    command = typer.main.get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    parsed = command.make_context("collect", arguments[1:], resilient_parsing=False).params
    assert (parsed["port"], parsed["grpc_port"], parsed["host"]) == (4418, 4417, "0.0.0.0")
    assert str(parsed["db"]).startswith(f"{instructions('VOLUME')[0]}/")
    compile(health[2], "health", "exec")
    assert set(instructions("EXPOSE")[0].split()) == {"4417", "4418"}
    assert "collect = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.wire
def test_the_collector_of_the_compose_file_is_valid(otelcol: str) -> None:
    services = compose()["services"]
    collector = services["collector"]
    builder = yaml.safe_load((FOLDER / "builder-config.yaml").read_text(encoding="utf-8"))
    assert collector["image"].endswith(f":{builder['dist']['version']}")
    mounts = [volume.split(":") for volume in collector["volumes"]]
    here = {target: (DOCKER / source).resolve() for source, target, *_ in mounts if source.startswith("..")}
    assert set(compose()["volumes"]) == {source for source, *_ in mounts if not source.startswith("..")} | {"runs"}

    def on_this_machine(path: str) -> Path:
        target = max((target for target in here if path.startswith(target)), key=len)
        return Path(f"{here[target]}{path.removeprefix(target)}")

    assert collector["command"][::2] == ["--config", "--config"]
    files = [on_this_machine(path) for path in collector["command"][1::2]]
    assert all(file.is_file() for file in files)
    texts = [file.read_text(encoding="utf-8") for file in (COLLECTOR_CONFIG, *(FOLDER / f"{o}.yaml" for o in OVERLAYS))]
    read = {variable for text in texts for variable in re.findall(r"\$\{env:(\w+)", text)}
    assert set(collector["environment"]) <= read
    hosts = {urlsplit(url).hostname for url in collector["environment"].values() if url.startswith("http")}
    assert hosts <= set(services)
    options = [word for file in files for word in ("--config", str(file))]
    found = subprocess.run(
        [otelcol, "validate", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **{name: value.replace("${", "") for name, value in collector["environment"].items()}},
        check=False,
    )
    assert found.returncode == 0, found.stderr
