"""Every configuration that is shipped, alone and with others, is one that a real Collector takes and starts with."""

import itertools
import os
import re
import subprocess
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.support.collect_process import spans_request
from tests.support.collectors import FOLDER, OVERLAYS, configs, variables_without_default
from tests.support.processes import COLLECTOR_CONFIG, free_port, get_json, listening, process, wait_until

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]

# Variables that have no sensible default.
REQUIRED = {
    "COREVITAL_BACKEND_ENDPOINT": "http://127.0.0.1:9",
    "COREVITAL_GATEWAYS": "{static: {hostnames: [127.0.0.1:9, 127.0.0.1:10]}}",
}
COMBINATIONS = [
    (),
    *itertools.combinations(OVERLAYS, 1),
    ("no-store", "gateway"),
    ("no-store", "jaeger", "phoenix"),
    tuple(OVERLAYS),
    tuple(reversed(OVERLAYS)),
]


def validate(otelcol: str, overlays: tuple[str, ...], **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COREVITAL_")}
    return subprocess.run(
        [otelcol, "validate", *configs(*overlays)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**kept, **variables},
        check=False,
    )


@pytest.mark.parametrize("overlays", COMBINATIONS, ids="+".join)
def test_a_combination_is_valid(otelcol: str, overlays: tuple[str, ...]) -> None:
    needed = {name for each in overlays for name in variables_without_default(FOLDER / f"{each}.yaml")}
    given = {name: REQUIRED.get(name, "https://example.invalid") for name in needed}
    found = validate(otelcol, overlays, **given)
    assert found.returncode == 0, found.stderr
    assert found.stderr == "", "neither warnings nor deprecated names"


@pytest.mark.parametrize(
    ("overlay", "message"),
    [("otlp", "otlp_http/backend: at least one endpoint must be"), ("gateway", "no resolvers specified")],
)
def test_what_has_to_be_set_is_asked_for(otelcol: str, overlay: str, message: str) -> None:
    found = validate(otelcol, (overlay,))
    assert found.returncode == 1
    assert message in found.stderr


def test_what_the_overlays_say_of_their_variables_is_valid(otelcol: str) -> None:
    """Variables whose value is YAML, as the heads of the files have them."""
    examples = [
        (path.stem, variable, value)
        for path in FOLDER.glob("*.yaml")
        for variable, value in re.findall(r"(COREVITAL_\w+)='([^']*)'", path.read_text(encoding="utf-8"))
    ]
    examples.append(("gateway", "COREVITAL_GATEWAYS", '{dns: {hostname: gateways, port: "4317"}}'))
    assert examples[-1][2] in (FOLDER / "gateway.yaml").read_text(encoding="utf-8")
    assert {variable for _, variable, _ in examples} >= {"COREVITAL_BACKEND_HEADERS", "COREVITAL_GATEWAYS"}
    for overlay, variable, value in examples:
        found = validate(otelcol, (overlay,), **{**REQUIRED, variable: value})
        assert found.returncode == 0, (overlay, found.stderr)


def test_the_base_starts_with_nothing_set_in_an_empty_folder(
    otelcol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("COREVITAL_COLLECT")]:
        monkeypatch.delenv(name)
    ports = {"GRPC": 4317, "HTTP": 4318, "HEALTH": 13133, "METRICS_PORT": 8888}
    taken = {name: free_port() for name, port in ports.items() if listening(port)}  # by others on this machine
    for name, port in taken.items():
        monkeypatch.setenv(f"COREVITAL_COLLECTOR_{name}", str(port) if name == "METRICS_PORT" else f"127.0.0.1:{port}")
    ports |= taken
    with process([otelcol, "--config", str(COLLECTOR_CONFIG)], tmp_path / "log", {}):
        wait_until(lambda: get_json(f"http://127.0.0.1:{ports['HEALTH']}"))
        assert listening(ports["GRPC"])
        body = spans_request().SerializeToString()
        url = f"http://127.0.0.1:{ports['HTTP']}/v1/traces"
        with urlopen(Request(url, body, {"content-type": "application/x-protobuf"}), timeout=10) as answer:
            assert answer.status == 200
        with urlopen(f"http://127.0.0.1:{ports['METRICS_PORT']}/metrics", timeout=10) as answer:
            assert b"otelcol_exporter_queue_size" in answer.read()
    assert {path.name for path in tmp_path.iterdir()} == {"corevital-queue", "log"}
    assert any((tmp_path / "corevital-queue").iterdir())
