"""A real Prometheus with rules of the repository, whose minutes are seconds."""

import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.collectors import FOLDER
from tests.support.processes import free_port, get_json, listening, process, wait_until

ALERTS = FOLDER / "alerts"
# A minute has to do for what takes a day: every window and `for` of the rules, and what it becomes. The windows are
# longer than the test, so that it does not matter how slow the machine is.
_SHORTER = {"1d": "5m", "7h": "3m", "1h": "3m", "30m": "2m", "15m": "1s", "10m": "1m", "5m": "1s", "2m": "1s"}
_UNITS = re.compile(rf"(?<![\d])({'|'.join(_SHORTER)})\b")


@dataclass
class PrometheusServer:
    """A running Prometheus."""

    api: str

    def query(self, expression: str) -> list[Any]:
        """Return an instant query's result; an error if it does not parse."""
        found = get_json(f"{self.api}/query?{urllib.parse.urlencode({'query': expression})}")
        assert found["status"] == "success"
        result: list[Any] = found["data"]["result"]
        return result

    def firing(self) -> dict[str, dict[str, Any]]:
        """Return the alerts that fire, by name."""
        found = get_json(f"{self.api}/alerts")["data"]["alerts"]
        return {each["labels"]["alertname"]: each for each in found if each["state"] == "firing"}


@contextmanager
def prometheus_server(
    binary: str, folder: Path, rules: str, targets: Mapping[str, int], token: str | None = None
) -> Iterator[PrometheusServer]:
    """Run a Prometheus with the jobs of the shipped configuration that have a target.

    Args:
        binary: the program.
        folder: for its files.
        rules: the name of a file of collector/alerts.
        targets: job -> port.
        token: what the receiver asks for.
    """
    (folder / rules).write_text(_UNITS.sub(lambda found: _SHORTER[found[1]], (ALERTS / rules).read_text()))
    configuration = yaml.safe_load((ALERTS / "prometheus.yml").read_text())
    configuration |= {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [rules]}
    jobs = [job for job in configuration["scrape_configs"] if job["job_name"] in targets]
    assert {job["job_name"] for job in jobs} == set(targets)
    for job in jobs:
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{targets[job['job_name']]}"]
        if token is not None and job["job_name"] == "corevital-receiver":
            job["authorization"] = {"credentials": token}
    configuration["scrape_configs"] = jobs
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with process(command, folder / "prometheus.log", {}):
        wait_until(lambda: listening(port))
        yield PrometheusServer(f"http://127.0.0.1:{port}/api/v1")
