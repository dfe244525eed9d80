"""Which file a path names. SQLite has other uses for some texts: a database in memory, a URI."""

import os
import re
from pathlib import Path
from typing import Final

_URI: Final = re.compile(r"(file|sqlite[a-z0-9+_]*):|[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # C:\ is none

RUNS_FOLDER: Final = "runs"
"""Where people who generate by hand, in a program or a notebook, keep runs unless they say otherwise."""
RUNS_FILE: Final = "corevital.db"
RUNS_PATH: Final = f"{RUNS_FOLDER}/{RUNS_FILE}"

_EXAMPLE: Final = "name a file, such as runs/corevital.db"


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder for `~`: what a unit file or `--db=~/x.db` says passes no shell."""
    return Path(os.path.expanduser(os.fsdecode(path)))


def scheme_of(path: str | os.PathLike[str]) -> str | None:
    """Return the scheme of a text that is a URI, in lower case; None for the name of a file."""
    found = _URI.match(os.fsdecode(path))
    return None if found is None else found[0].partition(":")[0].lower()


def why_no_file(path: str | os.PathLike[str]) -> str | None:
    """Return why a path names no file that could be a store, and what to do; None: it does.

    Every character but NUL may be part of a name: `?`, `#` and `%` mean nothing else here.
    """
    text = os.fsdecode(path)
    if not text:
        return f"the store's path is empty; {_EXAMPLE}."
    if "\0" in text:
        return f"{text!r}: no file's name has a NUL character; {_EXAMPLE}."
    if text == ":memory:":
        return f"{text}: a store in memory would be gone when the program ends; {_EXAMPLE}."
    if scheme_of(text) is not None:
        return f"{text}: is a URI, and the store takes a file's path; {_EXAMPLE}."
    if text.endswith(("/", os.sep)):
        return f"{text}: is a folder; name a file in it, such as {os.path.join(text, 'corevital.db')}."
    return None
