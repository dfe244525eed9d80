"""Commands whose help names what an option takes: in capitals, and nothing for a switch, whatever typer's version.

They also know the options that the first CoreVital had.
"""

from pathlib import Path
from typing import Any, Final, get_args

from typer.core import TyperCommand, TyperGroup

from .legacy_commands import refuse_command, refuse_option

_WORDS: Final = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "PATH"}


class Command(TyperCommand):
    """A command whose help is so."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its options and arguments, and --help."""
        return _named(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            refuse_option(str(self.name), error)
            raise


class CommandGroup(TyperGroup):
    """A group of commands whose help is so."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its own options, and --help."""
        return _named(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return one of its commands."""
        found = super().get_command(ctx, cmd_name)
        if found is None and ctx.parent is None:
            refuse_command(cmd_name)
        return found


def _named(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.metavar is None:
            # Typer before 0.29 has no such thing, and writes capitals itself.
            annotation: Any = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
            parameter.metavar = _WORDS.get(next(iter(get_args(annotation)), annotation))
    return parameters
