r"""The one place at which text from elsewhere becomes text that can be shown.

A name, a message or a generated text may hold what steers a terminal, turns the direction of what follows or cannot be
seen. Such a character is shown as Python writes it, `\x1b`, and can be turned back (`original`): nothing is left out.
"""

import re
from typing import Final

ELLIPSIS: Final = "\u2026"
"""What stands where a text was cut off."""

# Controls but tab and newline, DEL and C1; soft hyphen and signs without a picture; marks, overrides and isolates of
# direction; line and paragraph separators; invisible operators; lone surrogates; the byte order mark; tags. Joiners
# (U+200C, U+200D) stay: Persian and emoji are written with them.
_UNSEEN: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f"
)
_ESCAPE: Final = r"\\(?=x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"  # a backslash that would be taken for one of ours
_IN_TEXT: Final = re.compile(f"[{_UNSEEN}]|{_ESCAPE}")
_IN_LINE: Final = re.compile(f"[\t\n{_UNSEEN}]|{_ESCAPE}")
_ALONE: Final = re.compile(f"[{_UNSEEN}]")
_WRITTEN: Final = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


def printable(text: str) -> str:
    r"""Return text of several lines as it can be shown: tabs and line ends stay, other controls are `\x1b`."""
    return text if text.isascii() and text.isprintable() and "\\" not in text else _IN_TEXT.sub(_written, text)


def one_line(text: str, most: int | None = None) -> str:
    r"""Return text as it can be shown within a line, a cell or a sentence: a line end is `\x0a`.

    Args:
        text: from anywhere.
        most: characters at most; what is longer ends with an ellipsis.
    """
    if most is None:
        return _IN_LINE.sub(_written, text)
    shown = _IN_LINE.sub(_written, text[: most + 1])  # never megabytes of it
    return shown if len(text) <= most and len(shown) <= most else shown[: max(0, most - 1)] + ELLIPSIS


def original(shown: str) -> str:
    """Return the text that `printable` or `one_line` was given, if nothing was cut off."""
    return _WRITTEN.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), shown)


def still_printable(text: str) -> str:
    """Return text, parts of which went through `printable` already, without what cannot be shown in the rest of it."""
    return text if text.isascii() and text.isprintable() else _ALONE.sub(_written, text)


def json_printable(text: str) -> str:
    r"""Return JSON with `\uXXXX` for what cannot be shown; it has the same values."""
    return text if text.isascii() and text.isprintable() else _ALONE.sub(_json, text)


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
