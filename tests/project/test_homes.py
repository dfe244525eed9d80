"""The tests pass on the machine of somebody who has used CoreVital, and leave nothing there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from tests.support.homes import MADE
from tests.support.spans import make_spans
from tests.support.tiers import heavy

ROOT = Path(__file__).parents[2]
SAMPLE = (
    "tests/baselines/test_profile.py::test_the_packaged_profile_is_that_of_smollm2",
    "tests/cli/test_run.py::test_reading_what_is_not_there",
    "tests/receiver/test_http.py::test_protobuf_is_stored_before_it_is_acknowledged",
    "tests/store/test_store.py::test_the_default_path_comes_from_the_environment",
)
WATCHED = """
import os, sys, pytest
home, models = sys.argv[1], os.path.join(sys.argv[1], ".cache", "corevital", "models")
def watch(event, arguments):
    if event in ("open", "os.mkdir", "os.listdir", "os.scandir", "os.remove", "os.rename", "sqlite3.connect"):
        path = arguments[0] if isinstance(arguments[0], str) else ""
        if path.startswith(home + os.sep) and not path.startswith(models):
            print(f"looked into the home: {event} {path}", file=sys.stderr)
sys.addaudithook(watch)
sys.exit(pytest.main(sys.argv[2:]))
"""


def used(home: Path, folder: Path) -> dict[str, str]:
    """Fill a home and a working folder with what CoreVital leaves there; return variables of such a user."""
    home.mkdir()
    folder.mkdir()
    for store in (home / ".local/share/corevital/corevital.db", folder / "runs/corevital.db"):
        store.parent.mkdir(parents=True)
        exporter = SQLiteSpanExporter(str(store))
        exporter.export(make_spans())
        exporter.shutdown()
        assert store.exists()
    for name in (
        ".local/share/corevital/profiles/SmolLM2-135M-Instruct.json",
        ".local/share/corevital/profiles/tiny.json",
        ".config/corevital/config.yaml",
        ".cache/corevital/environments/other",
        ".cache/huggingface/token",
    ):
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("not what anybody expects")
    return {
        "OTEL_COREVITAL_CAPTURE": "everything",
        "OTEL_COREVITAL_SQLITE_PATH": str(home / ".local/share/corevital/corevital.db"),
        "OTEL_SDK_DISABLED": "true",
        "OTEL_TRACES_EXPORTER": "corevital_sqlite",
        "COREVITAL_COLLECT_TOKEN": "s3cret",
        "HF_HOME": str(home / ".cache/huggingface"),
    }


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", [heavy("used"), "none"])
def test_a_sample_of_the_tests_neither_finds_nor_leaves_anything(kind: str, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "checkout"
    variables = used(home, folder) if kind == "used" else {}
    if kind == "none":
        folder.mkdir()
        home = Path("/dev/null/home")  # nobody can make this one, not even root
    before = files(home), files(folder)
    dropped = (MADE, "OTEL_", "XDG_", "PIP_CONFIG_FILE", "PIP_CACHE_DIR", "PYENV_ROOT", "PYTHONUSERBASE")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(home), "-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}"]
        + [
            "-q",
            "-m",
            "not acceptance",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:hypothesispytest",
            f"--basetemp={tmp_path / 'temporary'}",
        ]
        + [str(ROOT / each) for each in SAMPLE],
        cwd=folder,
        env={**clean, "HOME": str(home), "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "looked into the home" not in done.stderr, done.stderr[-2000:]
    assert (files(home), files(folder)) == before


def test_this_process_has_a_home_of_its_own() -> None:
    home = Path("~").expanduser()
    assert str(home) == os.environ[MADE]
    assert {path.name for path in home.iterdir()} <= {".cache", ".config", ".local", ".triton", ".nv"}


@pytest.mark.parametrize("turn", [1, 2])
def test_what_one_test_keeps_no_other_finds(turn: int) -> None:
    from opentelemetry_instrumentation_corevital.config import data_folder

    assert not Path(data_folder()).exists()
    Path(data_folder()).mkdir(parents=True)
