"""What makes a measurement worthless."""

from .._internal.user_error import UserError


class OverheadError(UserError):
    """The figures would be worthless; the message says why."""
