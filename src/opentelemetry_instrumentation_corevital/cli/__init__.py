"""Runs CoreVital from the command line: `corevital run`, `show`, `compare`, `doctor` and the others.

Exit codes: 0 fine, 1 a user's error, 2 an internal one, 3 a run above `--fail-above`, 4 a damaged store, 130
interrupted. A reader that closes its pipe early (`| head -1`) changes none of them; standard output that cannot be
written, as on a full disk, makes 1 of 0.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    from .standard_streams import open_standard_streams

    open_standard_streams()
    try:
        from .app import run_command
    except ValueError as error:  # the SDK reads some of its variables when it is imported
        sys.exit(f"Error: {error}")
    sys.exit(run_command(sys.argv[1:] if arguments is None else list(arguments)))
