"""How help names what an option takes: in capitals, and nothing for a switch, whatever the version of typer."""

from pathlib import Path
from typing import Any, Final, get_args

from typer.core import TyperCommand, TyperGroup

_WORDS: Final = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "PATH"}


class Command(TyperCommand):
    """A command whose help is so."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its options and arguments, and --help."""
        return _named(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands whose help is so."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its own options, and --help."""
        return _named(super().get_params(ctx))


def _named(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.metavar is None:
            # Typer before 0.29 has no such thing, and writes capitals itself.
            annotation: Any = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
            parameter.metavar = _WORDS.get(next(iter(get_args(annotation)), annotation))
    return parameters
