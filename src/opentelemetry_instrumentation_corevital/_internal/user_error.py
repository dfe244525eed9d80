"""The error of commands and of what they load."""


class UserError(Exception):
    """What a user can mend; the message is one sentence that says how. Exit code 1."""
