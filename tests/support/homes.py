"""A home of the tests' own, so that they neither find nor leave anything in the user's."""

import atexit
import contextlib
import os
import shutil
import site
import tempfile
from pathlib import Path
from typing import Final

from opentelemetry_instrumentation_corevital.config import cache_folder

MADE: Final = "CALLED_HOME_OF_TESTS"
"""The variable that says that the home is the tests' own already: pytest-xdist's workers have it from their parent."""

_OURS: Final = ("OTEL_", "COREVITAL_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_")
_KEPT: Final = ("COREVITAL_OTELCOL", "COREVITAL_JAEGER", "COREVITAL_PHOENIX", "COREVITAL_SMOLLM2_GGUF")
"""Programs and weights that tests are given, which lie anywhere."""
_KEPT_SETTINGS: Final = ("COREVITAL_FUZZ_SEED", "HF_HUB_OFFLINE")
_XDG: Final = ("DATA", "CONFIG", "CACHE", "STATE")


def move_into_a_home_of_its_own() -> None:
    """Give this process and its children an empty home, and take settings of the user's out of the environment.

    What stays is the folder of the demo model, which is a link to the user's, and where tools of the machine lie: pip's
    configuration, pyenv's versions, packages of `pip install --user`. pip's cache is the checkout's.
    """
    if MADE in os.environ:
        return
    home = Path(tempfile.mkdtemp(prefix="corevital-tests-home-"))
    atexit.register(_remove, home, os.getpid())
    _keep_tools()
    models = Path(cache_folder(), "models")
    own_models = home / ".cache" / "corevital" / "models"
    own_models.parent.mkdir(parents=True)
    with contextlib.suppress(OSError):  # a home that nobody can write: the demo model is converted once more
        models.mkdir(parents=True, exist_ok=True)
        own_models.symlink_to(models.resolve(), target_is_directory=True)
    for name in list(os.environ):
        if name.upper().startswith(_OURS) and name not in (*_KEPT, *_KEPT_SETTINGS):
            del os.environ[name]
    for kind in _XDG:
        os.environ.pop(f"XDG_{kind}_HOME", None)
    os.environ.update({MADE: str(home), "HOME": str(home)})


def _keep_tools() -> None:
    user = Path("~").expanduser()
    pip = Path(os.environ.get("XDG_CONFIG_HOME") or user / ".config", "pip", "pip.conf")
    if pip.exists():
        os.environ.setdefault("PIP_CONFIG_FILE", str(pip))
    os.environ.setdefault("PIP_CACHE_DIR", str(checkouts_cache() / "pip"))
    os.environ.setdefault("PYENV_ROOT", str(user / ".pyenv"))
    os.environ.setdefault("PYTHONUSERBASE", site.getuserbase())


def checkouts_cache() -> Path:
    """Return the folder of this checkout for what tests install; git ignores it."""
    return Path(__file__).parents[2] / ".pytest_cache" / "corevital"


def _remove(home: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child ends, too
        shutil.rmtree(home, ignore_errors=True)
