"""Makes names.json: the public names, what they are called with, and the options of the commands.

It was made at a76ec85, before the modules moved:

    PYTHONPATH=src python make_names.py > names.json

A test compares it with the code of today. Whoever changes a public name on purpose changes it in names.json, too.
"""

import inspect
import json
import re
from importlib import import_module
from typing import Any

import typer

PACKAGE = "opentelemetry_instrumentation_corevital"
MODULES = ("", ".store", ".calibration", ".testing")


def names() -> dict[str, dict[str, Any]]:
    """Return what each public name is called with, a class's members and a Run's parts included."""
    found = {}
    for suffix in MODULES:
        module = import_module(PACKAGE + suffix)
        exported = [*module.__all__, *(["corevital_capture"] if suffix == ".testing" else [])]
        found[module.__name__] = {name: described(getattr(module, name)) for name in exported}
    run = import_module(f"{PACKAGE}.run")
    classes = {name: value for name, value in vars(run).items() if hasattr(value, "__dataclass_fields__")}
    found[run.__name__] = {name: described(value) for name, value in classes.items()}
    return found


def described(value: Any) -> dict[str, Any]:
    """Return the parameters of a callable and the members of a class; nothing of any other value."""
    if not inspect.isclass(value):
        return {"parameters": parameters(value)} if callable(value) else {}
    ours = [each for each in value.__mro__ if each.__module__.startswith(PACKAGE)]
    members = {name: getattr(value, name, None) for each in ours for name in vars(each) if not name.startswith("_")}
    of_members = {name: parameters(member) for name, member in sorted(members.items())}
    return {"parameters": parameters(value), "members": of_members}


def parameters(value: Any) -> list[str] | None:
    """Return each parameter with its kind and default; None for what is not called."""
    try:
        found = inspect.signature(value).parameters.values() if callable(value) else None
    except (TypeError, ValueError):
        return None
    if found is None:
        return None
    shown = [f"{each.kind.name.lower()} {each.replace(annotation=each.empty)}" for each in found if each.name[0] != "_"]
    return [re.sub(r" at 0x\w+", "", each) for each in shown]


def options() -> dict[str, list[str]]:
    """Return the options and arguments of each command."""
    return dict(_leaves(typer.main.get_command(import_module(f"{PACKAGE}.cli.app").app), "corevital"))


def _leaves(group: Any, name: str) -> Any:
    for each, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{name} {each}")
        else:
            yield f"{name} {each}", sorted(opt for it in command.params for opt in (*it.opts, *it.secondary_opts))


if __name__ == "__main__":
    print(json.dumps({"names": names(), "options": options()}, indent=1))
