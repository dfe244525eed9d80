"""Fixtures that bring the real parts: the demo model, a Collector, Jaeger, a certificate."""

import importlib.metadata
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.homes import move_into_a_home_of_its_own

if TYPE_CHECKING:
    from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
    from tests.support.command_line import Cli

_numbers = itertools.count()
move_into_a_home_of_its_own()  # before anything is imported that looks for its folders
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["OTEL_COREVITAL_BASELINE"] = "off"  # of fixtures, too, that are made before a test's own settings


@pytest.fixture(autouse=True)
def _nothing_from_other_tests(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give each test settings and a data folder of its own; none learns a baseline or knows one unless it asks."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_COREVITAL_BASELINE", "off")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / f"data-{next(_numbers)}"))


@pytest.fixture(autouse=True)
def _absent_names_and_reasons_are_declared(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Whatever a test lets a span call absent stands in catalogue/absence.py, and so does the reason.

    Tests with the marker `foreign_verdict` have judgements of somebody else, who gives reasons of his own.
    """
    if request.node.get_closest_marker("foreign_verdict"):
        yield
        return
    from opentelemetry_instrumentation_corevital import semconv
    from opentelemetry_instrumentation_corevital.assessment import run_attributes
    from opentelemetry_instrumentation_corevital.catalogue import absence
    from opentelemetry_instrumentation_corevital.emission import span

    vocabulary = frozenset(name for kind, name in semconv.DEFINITIONS if kind == "attribute")
    found: dict[str, str] = {}
    told = run_attributes.absent_attribute

    def watched(absent: Mapping[str, str]) -> dict[str, Any]:
        found.update(absence.unknown(absent, vocabulary))
        return told(absent)

    for module in (run_attributes, span):
        monkeypatch.setattr(module, "absent_attribute", watched)
    yield
    assert not found, "declare it in catalogue/absence.py"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Cli":
    """Commands that run in a folder of their own."""
    from tests.support.command_line import Cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "80")
    return Cli(tmp_path, capsys)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a saved tiny model with a tokenizer."""
    from tests.support.saved_models import save_tiny

    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def demo_folder() -> str:
    """The folder of the cached demo model; without its weights an error in CI and a skip elsewhere."""
    from opentelemetry_instrumentation_corevital.loading.demo_weights import DEMO_PACKAGE
    from opentelemetry_instrumentation_corevital.loading.models import demo_model_path

    if not os.environ.get("CI") and not _installed(DEMO_PACKAGE):
        pytest.skip(f"{DEMO_PACKAGE} is not installed; `make test` installs it")
    return str(demo_model_path(fetch=False))


@pytest.fixture(scope="session")
def smollm2(demo_folder: str) -> "LoadedModel":
    """SmolLM2-135M-Instruct on the CPU, in the checkpoint's dtype."""
    from opentelemetry_instrumentation_corevital.loading.models import load_model

    return load_model("smollm2", device="cpu")


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _binary(variable: str, *names: str) -> str:
    path = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no {names[0]}: set {variable} or put it on the PATH")
    return path


@pytest.fixture(scope="session")
def otelcol() -> str:
    return _binary("COREVITAL_OTELCOL", "otelcol-contrib", "otelcol")


@pytest.fixture(scope="session")
def jaeger() -> str:
    return _binary("COREVITAL_JAEGER", "jaeger-all-in-one", "jaeger")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    subprocess.run([*command.split(), names, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


@pytest.fixture(scope="session")
def prometheus() -> str:
    return _on_the_path("prometheus")


@pytest.fixture(scope="session")
def promtool() -> str:
    return _on_the_path("promtool")


def _on_the_path(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on the PATH: Debian's package is prometheus")
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests with a real Collector or Jaeger ran: a skip of all of them is easily overlooked."""
    stats = terminalreporter.stats

    def wire(*outcomes: str) -> int:
        reports = [report for outcome in outcomes for report in stats.get(outcome, ())]
        return sum("wire" in getattr(report, "keywords", ()) for report in reports)

    ran, skipped = wire("passed", "failed", "error"), wire("skipped")
    if ran or skipped:
        terminalreporter.line(f"wire tests (a real Collector or Jaeger): {ran} ran, {skipped} skipped")
