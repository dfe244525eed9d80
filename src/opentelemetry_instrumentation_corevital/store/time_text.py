"""Times as people write them: so long ago, or a date."""

import re
import time
from datetime import datetime
from typing import Final

_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def time_ns_of(text: str) -> int:
    """Return the Unix time in nanoseconds that a text names: so long ago, or a local date and time.

    Raises:
        ValueError: if it names none.
        OverflowError: if it is beyond what can be counted.
    """
    if ago := re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(s|min|h|d|w)", text.strip()):
        return time.time_ns() - int(float(ago[1]) * _UNITS[ago[2]] * 1e9)
    return int(datetime.fromisoformat(text.strip()).timestamp() * 1e9)
