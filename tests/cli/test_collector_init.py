"""`corevital collector init`: all of the Collector's files or none, over nothing that is there, from a wheel, too."""

import errno
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml

from opentelemetry_instrumentation_corevital.cli import shipped_files
from tests.support.collectors import FOLDER, OVERLAYS, ROOT
from tests.support.command_line import Cli
from tests.support.processes import COLLECTOR_CONFIG

LINE = re.compile(
    r"^#   +(?P<place>\S.*?) {2,}otelcol-contrib --config collector-config\.yaml"
    r"( --config collector/(?P<overlay>\S+)\.yaml)?$",
    re.MULTILINE,
)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_files_are_written_as_they_are(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("collector", "init", "new/monitoring")
    assert (code, err) == (0, "")
    written = files_of(tmp_path / "new" / "monitoring")
    assert written.keys() >= {"collector-config.yaml", "collector/alerts/corevital.rules.yaml"}
    assert written.keys() >= {"collector/grafana/corevital.json", *(f"collector/{name}.yaml" for name in OVERLAYS)}
    assert all((ROOT / name).read_bytes() == data for name, data in written.items())
    assert f"Wrote {len(written)} files" in out
    assert "cd new/monitoring" in out
    assert "otelcol-contrib --config collector-config.yaml" in out
    assert max(map(len, out.splitlines())) <= 80


def test_nothing_is_written_over_unless_it_is_asked_for(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "collector" / "jaeger.yaml"
    mine.parent.mkdir()
    mine.write_text("mine")
    (tmp_path / "collector" / "own.yaml").write_text("mine, too")
    code, out, err = cli("collector", "init", ".")
    assert (code, out) == (1, "")
    assert "collector/jaeger.yaml" in err
    assert "--force" in err
    assert files_of(tmp_path) == {"collector/jaeger.yaml": b"mine", "collector/own.yaml": b"mine, too"}
    assert cli("collector", "init", ".", "--force")[0] == 0
    assert mine.read_bytes() == (FOLDER / "jaeger.yaml").read_bytes()
    assert (tmp_path / "collector" / "own.yaml").read_text() == "mine, too"


@pytest.mark.parametrize("step", ["copyfile", "replace"])
def test_a_disk_that_is_full_leaves_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (tmp_path / "collector").mkdir()
    owner: Any = shutil if step == "copyfile" else os
    works, calls = getattr(owner, step), iter(range(100))

    def full(*arguments: Any) -> Any:
        if next(calls) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return works(*arguments)

    monkeypatch.setattr(owner, step, full)
    for folder in (".", "new/folder"):
        code, _, err = cli("collector", "init", folder)
        assert code == 1
        assert "No space left on device" in err
        assert [path.name for path in tmp_path.rglob("*")] == ["collector"]
        calls = iter(range(100))


def test_a_folder_that_cannot_be_made(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = cli("collector", "init", "file")
    assert code == 1
    assert "file" in err
    assert "internal error" not in err


def test_a_package_without_the_files_says_so(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_files, "_ROOTS", (tmp_path / "nowhere",))
    code, _, err = cli("collector", "init", "new")
    assert code == 1
    assert "did not come with the package" in " ".join(err.split())
    assert not (tmp_path / "new").exists()


def test_the_head_of_the_base_has_a_command_for_each_place_that_it_feeds() -> None:
    head = COLLECTOR_CONFIG.read_text(encoding="utf-8").partition("\nextensions:")[0]
    places = {found["place"]: found["overlay"] for found in LINE.finditer(head)}
    loaded = {name: yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")) for name in OVERLAYS}
    feeding = {
        name
        for name, overlay in loaded.items()
        if any(not each.startswith("nop/") for each in overlay.get("exporters", ()))
    }
    assert {overlay for overlay in places.values() if overlay} == feeding
    assert places["SQLite, the base"] is None
    named = {"Langfuse": "langfuse", "any OTLP backend": "otlp", "Jaeger": "jaeger", "Phoenix": "phoenix"}
    assert named.items() <= places.items()
    assert places["Prometheus"] == "prometheus"
    assert places["ClickHouse"] == "clickhouse"


# --- from a wheel --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment in which the wheel is installed, with what it needs from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    building = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    _pip(folder, "wheel", "--no-deps", *building, "-w", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    interpreter = folder / "venv" / "bin" / "python"
    _pip(folder, "--python", str(interpreter), "install", "--no-deps", str(wheel))
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A line of a .pth is one more folder; the .pth files in it, such as that of the source tree, are not read.
    (site / "needed.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")))
    return interpreter.parent


def _pip(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    # pip asks rustc for its version, which may put a folder into the home.
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "RUSTUP_HOME": str(folder / "rustup")})


def ran(command: list[str | Path], folder: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COREVITAL_", "PYTHONPATH"))}
    found = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.acceptance
def test_a_wheel_writes_the_files(installed: Path, tmp_path: Path) -> None:
    where = "import opentelemetry_instrumentation_corevital as it; print(it.__file__)"
    assert str(installed.parent) in ran([installed / "python", "-c", where], tmp_path), "not the source tree"
    ran([installed / "corevital", "collector", "init", "monitoring"], tmp_path)
    written = files_of(tmp_path / "monitoring")
    assert written == {name: (ROOT / name).read_bytes() for name in written}
    assert len(written) == len(shipped_files.shipped_files(ROOT))


@pytest.mark.acceptance
@pytest.mark.wire
@pytest.mark.xdist_group("wire")
def test_a_real_collector_takes_what_a_wheel_wrote(installed: Path, otelcol: str, tmp_path: Path) -> None:
    ran([installed / "corevital", "collector", "init", "."], tmp_path)
    head = (tmp_path / "collector-config.yaml").read_text(encoding="utf-8").partition("\nextensions:")[0]
    commands = [found[0][found[0].index("otelcol-contrib") :].split() for found in LINE.finditer(head)]
    assert len(commands) >= 8
    # What has to be set, as the heads of the overlays say it.
    given = ["COREVITAL_BACKEND_ENDPOINT=http://127.0.0.1:9", "COREVITAL_GATEWAYS={static: {hostnames: [127.0.0.1:9]}}"]
    for _, *options in commands:
        ran(["env", *given, otelcol, "validate", *options], tmp_path)


@pytest.mark.acceptance
def test_a_wheels_metadata_name_no_address_that_is_not_known_to_exist(installed: Path) -> None:
    (site,) = (installed.parent / "lib").glob("python*/site-packages")
    (found,) = importlib.metadata.distributions(path=[str(site)], name="opentelemetry-instrumentation-corevital")
    assert found.metadata["License-Expression"] == "Apache-2.0"
    assert found.metadata.get_all("Project-URL") is None
