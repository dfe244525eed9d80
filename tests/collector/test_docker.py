"""No image is built in the tests: what their files name exists, their commands are ours, their configuration is valid.

`python scripts/image_steps.py` runs the steps of the images in a bare environment.
"""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.support.collectors import FOLDER, ROOT
from tests.support.deployment_files import (
    DOCKER,
    OUR_VARIABLES,
    as_list,
    commands,
    compose,
    parsed,
    read_by_collectors,
    stages,
)

OURS = stages(DOCKER / "Dockerfile")
COLLECTOR = stages(DOCKER / "Collector.Dockerfile")


def test_what_is_copied_into_the_images_is_there() -> None:
    for stage in (*OURS.values(), *COLLECTOR.values()):
        for line in stage.values("COPY"):
            *sources, _ = line.split()
            assert all((ROOT / source).exists() for source in sources), line
    (extras,) = re.findall(r"/build\[([a-z,]+)\]", " ".join(OURS["corevital"].values("RUN")))
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(extras.split(",")) == {"collect", "dashboard"}
    assert set(extras.split(",")) <= {*known, *({"dashboard"} - commands())}


@pytest.mark.parametrize(
    ("stage", "ports"), [("collect", {"port": 4418, "grpc_port": 4417}), ("dashboard", {"port": 4419})]
)
def test_an_image_runs_a_command_that_exists(stage: str, ports: dict[str, int]) -> None:
    image = OURS[stage]
    assert image.base == "corevital"
    assert as_list(OURS["corevital"].values("ENTRYPOINT")[0]) == ["corevital"]
    arguments = as_list(image.values("CMD")[0])
    options = parsed(arguments)
    assert arguments[0] == stage
    assert {name: int(options[name]) for name in ports} == ports
    assert options["host"] == "0.0.0.0"
    assert str(options["db"]).startswith(f"{OURS['corevital'].values('VOLUME')[0]}/")
    assert set(image.values("EXPOSE")[0].split()) == {str(port) for port in ports.values()}
    health = as_list(image.values("HEALTHCHECK")[0].removeprefix("CMD "))
    compile(health[2], "health", "exec")
    assert str(ports["port"]) in health[2]
    assert list(OURS)[-1] == "collect", "what is built without --target"


def test_nothing_but_the_collector_runs_as_root() -> None:
    assert OURS["corevital"].values("USER") == ["corevital"]
    assert all(not OURS[name].values("USER") for name in ("collect", "dashboard"))


def test_the_services_of_the_compose_file_fit_together() -> None:
    whole = compose()
    services = whole["services"]
    for name, service in services.items():
        if build := service.get("build"):
            assert (DOCKER / build["context"]).resolve() == ROOT
            assert (ROOT / build["dockerfile"]).is_file()
            assert build.get("target", "collect") in OURS
        else:
            assert re.fullmatch(r"[\w/.-]+:v?\d+\.\d+\.\d+", service["image"]), "a version, not `latest`"
        for published in service.get("ports", ()):
            assert published.startswith("127.0.0.1:"), f"{name} is open to the network"
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert source in whole["volumes"] or (DOCKER / source).exists(), mount
        assert set(service.get("secrets", ())) <= set(whole["secrets"])
        assert set(service.get("depends_on", ())) <= set(services)
        ours = {key for key in service.get("environment", {}) if key.startswith(("COREVITAL_", "OTEL_COREVITAL_"))}
        assert ours <= read_by_collectors() | OUR_VARIABLES | {"COREVITAL_PROMETHEUS_URL"}
    used = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", ())}
    assert set(whole["volumes"]) == {source for source in used if not source.startswith(".")}
    assert services["store"]["volumes"] == services["dashboard"]["volumes"]


def test_every_secret_has_to_be_set() -> None:
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    variables = set(re.findall(r"\$\{(\w+)", text))
    assert variables == {"COREVITAL_COLLECT_TOKEN", "COREVITAL_DASHBOARD_TOKEN", "GRAFANA_PASSWORD"}
    assert all(re.search(rf"\${{{name}:\?", text) for name in variables)
    assert all(name in text.partition("services:")[0] for name in variables)


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    grafana = compose()["services"]["grafana"]
    mounts = {target: DOCKER / source for source, target, *_ in (each.split(":") for each in grafana["volumes"])}
    provisioning = mounts["/etc/grafana/provisioning"]
    (source,) = loaded(provisioning / "datasources" / "prometheus.yaml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["isDefault"], "the dashboard lets people choose, and begins with the default"
    assert set(re.findall(r"\$\{(\w+)\}", source["url"])) <= set(grafana["environment"])
    assert urlsplit(grafana["environment"]["COREVITAL_PROMETHEUS_URL"]).hostname in compose()["services"]
    (provider,) = loaded(provisioning / "dashboards" / "corevital.yaml")["providers"]
    assert mounts[f"{provider['options']['path']}/corevital.json"].resolve() == FOLDER / "grafana" / "corevital.json"


def test_prometheus_scrapes_the_services_that_are_there() -> None:
    services, configuration = compose()["services"], loaded(DOCKER / "prometheus.yml")
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"][0].split(":") for job in configuration["scrape_configs"]
    }
    assert {host for host, _ in targets.values()} <= set(services)
    (collector,) = COLLECTOR.values()
    assert {targets["corevital"][1], targets["corevital-collector"][1]} <= set(collector.values("EXPOSE")[0].split())
    assert targets["corevital-receiver"][1] in OURS["collect"].values("EXPOSE")[0].split()
    assert all((DOCKER / name).is_file() for name in configuration["rule_files"])
    elsewhere = loaded(FOLDER / "alerts" / "prometheus.yml")
    assert {job["job_name"] for job in elsewhere["scrape_configs"]} == set(targets)
    (secret,) = services["prometheus"]["secrets"]
    assert configuration["scrape_configs"][2]["authorization"]["credentials_file"] == f"/run/secrets/{secret}"


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def on_this_machine(path: str) -> Path:
    """Return the file that an image of the Collector has at a path."""
    return ROOT / path.removeprefix("/etc/corevital/")


@pytest.mark.wire
@pytest.mark.parametrize("of", ["image", "compose file"])
def test_the_collector_is_valid(otelcol: str, of: str) -> None:
    (image,) = COLLECTOR.values()
    builder = loaded(FOLDER / "builder-config.yaml")
    assert image.base.endswith(f":{builder['dist']['version']}")
    service = compose()["services"]["collector"]
    command = as_list(image.values("CMD")[0]) if of == "image" else service["command"]
    assert set(command[::2]) == {"--config"}
    files = [on_this_machine(path) for path in command[1::2]]
    assert all(file.is_file() for file in files)
    given = dict(word.split("=", 1) for line in image.values("ENV") for word in line.split())
    assert set(given) <= read_by_collectors()
    if of == "compose file":
        given |= {name: value.replace("${", "") for name, value in service["environment"].items()}
        hosts = {urlsplit(url).hostname for url in given.values() if url.startswith("http")}
        assert hosts <= set(compose()["services"])
    options = [word for file in files for word in ("--config", str(file))]
    found = subprocess.run(
        [otelcol, "validate", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **given},
        check=False,
    )
    assert found.returncode == 0, found.stderr
