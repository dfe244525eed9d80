"""What a command that was cut off finds again."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """Return what a file holds; if there is none, make it and keep it."""
    if not file.exists():
        aside = file.with_suffix(".part")
        aside.write_bytes(pickle.dumps(make()))
        aside.replace(file)
    return pickle.loads(file.read_bytes())
