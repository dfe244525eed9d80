"""What is inside a run, with the oldest libraries that pyproject.toml allows (requirements.oldest.txt)."""

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.homes import checkouts_cache

ROOT = Path(__file__).parents[2]
OLDEST = ROOT / "tests" / "project" / "requirements.oldest.txt"
FILES = (
    "tests/capture",
    "tests/laws/test_run_is_unchanged.py",
    "tests/emission/test_span.py",
    "tests/instrumentation/test_prompt_memory.py",
    "tests/instrumentation/test_rollback.py",
)
# The decodings of two architectures stand for those of all; the definitions of the signals of logits depend on no age.
CHOSEN = "not bit_identical and not test_logit_signals.py or llama or t5"
MARKED = "not acceptance and not real_model"
TOOLS = ("pytest", "pytest-xdist", "hypothesis")

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("oldest")]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="NumPy 1.26 has no wheel for Python 3.13 or later")
def test_what_is_inside_a_run_with_the_oldest_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    python = oldest_environment()
    said = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", MARKED, "-k", CHOSEN, *FILES)
    with capsys.disabled():
        print(f"\nOldest libraries: {said.strip().splitlines()[-1]}")


def oldest_environment() -> str:
    """Return the Python of an environment with the oldest libraries; the checkout keeps it until they change."""
    wanted = f"{OLDEST.read_text('utf-8')}\n{(ROOT / 'pyproject.toml').read_text('utf-8')}\n{constraints()}"
    folder = checkouts_cache() / "oldest"
    complete, python = folder / "complete.txt", str(folder / "bin" / "python")
    if not complete.exists() or complete.read_text("utf-8") != wanted:
        venv.create(folder, clear=True, with_pip=False)
        link("torch", Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()))
        (folder / "constraints.txt").write_text(constraints(), "utf-8")
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
        asked = ("-e", f"{ROOT}[demo,distro]", *TOOLS, "-r", str(OLDEST), "-c", str(folder / "constraints.txt"))
        run(*pip, "install", "-q", "--no-compile", *asked)
        run(*pip, "check")
        complete.write_text(wanted, "utf-8")
    return python


def constraints() -> str:
    """Return the pins of constraints.txt but for libraries that have an older one."""
    old = {canonicalize_name(Requirement(line).name) for line in pins(OLDEST)}
    return "\n".join(
        line for line in pins(ROOT / "constraints.txt") if canonicalize_name(Requirement(line).name) not in old
    )


def pins(file: Path) -> list[str]:
    return [line for line in file.read_text("utf-8").splitlines() if line and not line.startswith("#")]


def link(name: str, folder: Path) -> None:
    """Link a package of this environment, and what it needs to reach a GPU, into another: torch fills gigabytes."""
    package = importlib.metadata.distribution(name)
    for top in {file.parts[0] for file in package.files or () if file.parts[0] != ".."}:
        if not (folder / top).exists():
            (folder / top).symlink_to(package.locate_file(top))
    for needed in map(Requirement, package.requires or ()):
        if re.match("nvidia|cuda|triton", needed.name) and (needed.marker is None or needed.marker.evaluate()):
            link(needed.name, folder)


def run(*arguments: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    found = subprocess.run(arguments, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=900, check=False)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-4000:]
    return found.stdout
