"""How numbers, times and names stand on a page."""

import math
import time
from collections.abc import Callable
from typing import Any, Final

from ..._internal.printable import ELLIPSIS, one_line

NOTHING: Final = "\u2013"
"""What stands where there is no value."""
_SECOND_NS: Final = 10**9
_MINUTE: Final = 60
_HOUR: Final = 3600


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits, whole numbers with their thousands apart."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if isinstance(value, int) or (value == int(value) and abs(value) >= 10**digits):
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def fixed(value: float | None, digits: int = 2) -> str:
    """Return a number with so many digits behind the point: for columns."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 0) -> str:
    """Return a fraction of 0 to 1 in percent."""
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}\u202f%"


def local_time(ns: int | None) -> str:
    """Return a Unix time in nanoseconds as local date and time, to the second."""
    return NOTHING if ns is None else _formatted("%Y-%m-%d %H:%M:%S", ns)


def iso_time(ns: int | None) -> str:
    """Return a Unix time in nanoseconds as `<time datetime>` takes it, in UTC."""
    return "" if ns is None else _formatted("%Y-%m-%dT%H:%M:%SZ", ns, utc=True)


def duration(seconds: float | None) -> str:
    """Return a duration in the unit that fits."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE)} s"
    return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"


def words(name: Any) -> str:
    """Return a name of a program as people write it: without underscores."""
    return str(name).replace("_", " ")


def shortened(text: Any, most: int = 60) -> str:
    """Return text on one line, cut where it is longer."""
    return NOTHING if text is None else one_line(str(text), most)


def middle_cut(text: Any, most: int = 40) -> str:
    """Return text on one line, its middle left out where it is longer: the end of a name tells as much as its start."""
    shown = NOTHING if text is None else one_line(str(text)[:10_000])
    if len(shown) <= most:
        return shown
    head = (most - 1) // 2
    return f"{shown[:head]}{ELLIPSIS}{shown[-(most - 1 - head) :]}"


def _formatted(form: str, ns: int, *, utc: bool = False) -> str:
    try:
        return time.strftime(form, (time.gmtime if utc else time.localtime)(ns / _SECOND_NS))
    except (OverflowError, ValueError, OSError):  # a damaged row
        return NOTHING


FORMATS: Final[dict[str, Callable[..., str]]] = {
    each.__name__: each
    for each in (number, fixed, percent, local_time, iso_time, duration, words, shortened, middle_cut)
}
"""The filters of the templates, by name."""
