"""Regular expressions of somebody else's over a text: bounded in time, whatever they are."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

SECONDS: Final = 5.0
"""How long all patterns together may take, the start of the process included."""
_PROGRAM: Final = (
    "import json, re, sys, warnings; warnings.simplefilter('ignore'); patterns, text = json.load(sys.stdin.buffer); "
    "print(int(any(re.search(each, text) for each in patterns)))"
)


def any_matches(patterns: Sequence[str], text: str, seconds: float = SECONDS) -> bool | None:
    """Return whether one of some patterns is found in a text; None: it could not be told in time.

    A pattern such as `(a+)+b` may take longer than anybody lives, and Python cannot break off a search: another process
    can be. It costs some 20 ms.

    Args:
        patterns: regular expressions of the module `re`.
        text: what is searched.
        seconds: how long they may take.
    """
    given = json.dumps([list(patterns), text]).encode()
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM], input=given, capture_output=True, timeout=seconds, check=False
        )
    except (subprocess.TimeoutExpired, OSError):
        return None
    return {b"1": True, b"0": False}.get(ended.stdout.strip())
