"""What people call the models of a store."""

import os
from collections.abc import Iterable

from .demo_weights import DEMO
from .models import DEMO_NAME


def stored_name(name: str, stored: Iterable[str | None]) -> str:
    """Return the stored model that a name means: all of its name, its last part, its folder, or `smollm2`.

    What means none, or several, is returned as it is.
    """
    there = [each for each in stored if each is not None]
    if name in there:
        return name
    if name == DEMO:
        return DEMO_NAME
    if os.path.isdir(name):
        return os.path.basename(os.path.abspath(name))
    fitting = [each for each in there if each.rpartition("/")[2] == name]
    return fitting[0] if len(fitting) == 1 else name
