"""Questions before something is gone for good."""

import sys

import typer

from .._internal.user_error import UserError


def confirm(what: str) -> None:
    """Ask whether to do it, and abort where the answer is no.

    Raises:
        UserError: if there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise UserError(f"{what}? There is no terminal to ask on; add --yes to do it without a question.")
    typer.confirm(f"{what[:1].upper()}{what[1:]} for good?", abort=True)
