"""Errors of the command line."""


class UserError(Exception):
    """What a user can mend; the message is one sentence that says how. Exit code 1."""
