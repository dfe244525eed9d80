"""What is wrong with a store."""


class StoreError(Exception):
    """The store cannot be used; the message names it and says what to do.

    Args:
        message: for whoever reads it, in a program or at a terminal.
        command: what to do on the command line; a command adds it to the message.
    """

    def __init__(self, message: str, *, command: str = "") -> None:
        super().__init__(message)
        self.command = command
