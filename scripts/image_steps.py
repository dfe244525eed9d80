"""The steps of the images of collector/docker in a bare environment, where there is no engine to build them.

    python scripts/image_steps.py [RESULT.json] [--collector OTELCOL]

A folder stands for the image's root: COPY copies into it, RUN runs with a fresh Python environment and no variable but
PATH and HOME, and paths of the image lead into the folder. The user is not made: that needs root. Then each command
is started as ENTRYPOINT and CMD say, on ports that are free, its HEALTHCHECK is run, and it gets SIGTERM. This is not a
build: the base images are not looked at.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # the readers of the tests

from tests.support.collectors import ROOT
from tests.support.deployment_files import DOCKER, Stage, as_list, commands, stages
from tests.support.processes import free_port, get_json, wait_until

OURS = ("/build", "/data", "/etc/corevital", "/var/lib/corevital-queue")
"""Folders of the images that lead into the folder that stands for the root."""
NEEDS_ROOT = re.compile(r"useradd .*? && install -d -o corevital")
PORT = re.compile(r"\b(44\d\d|4317|4318|8888|8889|13133)\b")


class Image:
    """A folder that stands for an image's root, and what was done in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.ports: dict[str, str] = {}
        self.steps: list[dict[str, Any]] = []
        (folder / "home").mkdir(parents=True)
        self.variables = {"PATH": f"{folder / 'venv' / 'bin'}:/usr/bin:/bin", "HOME": str(folder / "home")}

    def here(self, text: str) -> str:
        """Return a text of the image with paths and ports of this machine."""
        for path in OURS:
            text = re.sub(rf"(?<![\w/]){re.escape(path)}\b", f"{self.root}{path}", text)
        return PORT.sub(lambda found: self.ports.setdefault(found[0], str(free_port())), text)

    def build(self, stage: Stage) -> None:
        """Do what COPY, ENV and RUN of a stage say."""
        for instruction, value in stage.lines:
            started, done = time.monotonic(), None
            if instruction == "COPY":
                *sources, target = value.split()
                for source in sources:
                    self._copy(ROOT / source, target)
            elif instruction == "ENV":
                self.variables |= dict(self.here(word).split("=", 1) for word in value.split())
            elif instruction == "RUN":
                command = self.here(NEEDS_ROOT.sub("install -d", value))
                done = subprocess.run(["sh", "-ec", command], env=self.variables, cwd=self.root, check=False)
            else:
                continue
            code = 0 if done is None else done.returncode
            step = f"{instruction} {value if len(value) < 80 else value[:77] + '...'}"
            self.steps.append({"step": step, "exit_code": code, "seconds": round(time.monotonic() - started, 1)})
            assert code == 0, value

    def _copy(self, source: Path, target: str) -> None:
        place = Path(self.here(target))
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place = place / source.name if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)

    def run(self, command: list[str], healthy: Any, **variables: str) -> dict[str, Any]:
        """Start a command, wait until it is healthy, end it with SIGTERM."""
        started = time.monotonic()
        log = self.root / "log"
        with log.open("w") as output:
            running = subprocess.Popen(
                [self.here(word) for word in command],
                env={**self.variables, **variables},
                cwd=self.root,
                stdout=output,
                stderr=output,
            )
        try:
            wait_until(healthy, 60)
            seconds = round(time.monotonic() - started, 1)
            running.send_signal(signal.SIGTERM)
            return {"healthy_after_seconds": seconds, "exit_code": running.wait(30)}
        except BaseException:
            print(log.read_text(), file=sys.stderr)
            raise
        finally:
            if running.poll() is None:
                running.kill()


def services(folder: Path) -> dict[str, Any]:
    """Do the steps of our own images."""
    found = stages(DOCKER / "Dockerfile")
    image = Image(folder)
    venv.create(folder / "venv", with_pip=True)
    image.build(found["corevital"])
    entrypoint = as_list(found["corevital"].values("ENTRYPOINT")[0])
    ran = {}
    for name in ("collect", "dashboard"):
        if name not in commands():
            ran[name] = {"left_out": "this tree has no such command yet"}
            continue
        command = [*entrypoint, *as_list(found[name].values("CMD")[0])]
        health = as_list(found[name].values("HEALTHCHECK")[0].removeprefix("CMD "))

        def healthy(health: list[str] = health) -> bool:
            words = [image.here(word) for word in health]
            return subprocess.run(words, env=image.variables, capture_output=True, check=False).returncode == 0

        token = {f"COREVITAL_{name.upper()}_TOKEN": "secret"}
        ran[name] = {"command": " ".join(command), **image.run(command, healthy, **token)}
    backup = ["corevital", "db", "backup", "/data/backups/monday.db", "--db", "/data/corevital.db"]
    done = subprocess.run([image.here(word) for word in backup], env=image.variables, check=False)
    ran["backup"] = {"command": " ".join(backup), "exit_code": done.returncode}
    return {"steps": image.steps, "commands": ran}


def collector(folder: Path, otelcol: str) -> dict[str, Any]:
    """Do the steps of the Collector's image, with a binary of this machine."""
    (stage,) = stages(DOCKER / "Collector.Dockerfile").values()
    image = Image(folder)
    image.build(stage)
    image.variables |= {"COREVITAL_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    command = as_list(stage.values("CMD")[0])
    health = f"http://127.0.0.1:{image.ports['13133']}"
    # The metrics' port has a variable of its own, which the image leaves at its default.
    ran = image.run([otelcol, *command], lambda: get_json(health), COREVITAL_COLLECTOR_METRICS_PORT=str(free_port()))
    return {"steps": image.steps, "commands": {"collector": {"command": " ".join(command), **ran}}}


def main() -> None:
    """Do all steps and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--collector", help="the Collector's binary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures: dict[str, Any] = {"Dockerfile": services(Path(name) / "services")}
        if options.collector:
            figures["Collector.Dockerfile"] = collector(Path(name) / "collector", options.collector)
    figures |= {
        "built": "no image: there was no container engine",
        "command": "python scripts/image_steps.py docs/results/image-steps.json --collector OTELCOL",
        "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    text = json.dumps(figures, indent=2)
    if options.result:
        options.result.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
