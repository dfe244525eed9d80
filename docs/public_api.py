"""docs/api.md: every public name with its stability. A name that has none here fails the build of the page."""

import inspect
import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import typer

from opentelemetry_instrumentation_corevital import policies
from opentelemetry_instrumentation_corevital.cli.app import app
from opentelemetry_instrumentation_corevital.monitor.readings import Readings
from opentelemetry_instrumentation_corevital.monitor.should_intervene import Advice
from opentelemetry_instrumentation_corevital.monitor.stream import Stream, WrappedGeneration
from opentelemetry_instrumentation_corevital.monitor.watched_block import WatchedBlock
from opentelemetry_instrumentation_corevital.recordings.store_recording import StoreRecording

Stability = Literal["stable", "provisional"]

PACKAGE = "opentelemetry_instrumentation_corevital"

PUBLIC: dict[str, dict[str, Stability]] = {
    PACKAGE: {
        "ConsoleRunExporter": "provisional",
        "CoreVitalInstrumentor": "stable",
        "CoreVitalMonitor": "provisional",
        "Judgement": "provisional",
        "RAGContext": "provisional",
        "Run": "provisional",
        "Settings": "provisional",
        "SettingsError": "stable",
        "StepEvent": "provisional",
        "__version__": "stable",
        "disabled": "stable",
        "get_fingerprint": "provisional",
        "last_run": "provisional",
        "last_runs": "provisional",
        "open_store": "stable",
        "prompt_text": "provisional",
        "rag_context": "provisional",
        "recording": "provisional",
    },
    f"{PACKAGE}.store": {
        "Cursor": "provisional",
        "ModelOverview": "provisional",
        "Neighbours": "provisional",
        "Receipt": "provisional",
        "Retention": "provisional",
        "RunCounts": "provisional",
        "RunFilter": "provisional",
        "RunList": "provisional",
        "RunOrder": "provisional",
        "RunPage": "provisional",
        "RunSource": "provisional",
        "RunSummary": "provisional",
        "SQLiteLogExporter": "stable",
        "SQLiteMetricExporter": "stable",
        "SQLiteSpanExporter": "stable",
        "SimilarRun": "provisional",
        "Store": "provisional",
        "StoreError": "stable",
        "StoreWriter": "provisional",
        "StoredRun": "provisional",
        "get_fingerprint": "provisional",
        "open_store": "stable",
    },
    f"{PACKAGE}.calibration": {
        "Identity": "provisional",
        "Profile": "provisional",
        "ProfileError": "provisional",
        "Profiles": "provisional",
        "fit_profile": "provisional",
        "profiles_folder": "provisional",
        "read_profile": "provisional",
        "write_profile": "provisional",
    },
    f"{PACKAGE}.policies": {
        "BreakReasoning": "provisional",
        "CoolDown": "provisional",
        "Policy": "provisional",
        "PolicyError": "provisional",
        "Retry": "provisional",
        "RollBack": "provisional",
        "Stop": "provisional",
    },
    f"{PACKAGE}.processors": {
        "AnswerProcessor": "provisional",
        "BlameProcessor": "provisional",
        "CompoundProcessor": "provisional",
        "EarlyWarningProcessor": "provisional",
        "FingerprintProcessor": "provisional",
        "HealthProcessor": "provisional",
        "Judgement": "provisional",
        "NarrativeProcessor": "provisional",
        "RiskProcessor": "provisional",
        "Thresholds": "provisional",
    },
    f"{PACKAGE}.testing": {
        "InMemoryTelemetry": "provisional",
        "capture_runs": "provisional",
        "corevital_capture": "provisional",
    },
}
COMMANDS: dict[str, Stability] = {
    "run": "stable",
    "runs": "stable",
    "show": "stable",
    "similar": "provisional",
    "watch": "provisional",
    "compare": "provisional",
    "calibrate": "provisional",
    "evaluate": "provisional",
    "cost": "provisional",
    "baseline list": "provisional",
    "baseline show": "provisional",
    "baseline drift": "provisional",
    "baseline merge": "provisional",
    "baseline freeze": "provisional",
    "baseline reset": "provisional",
    "label": "stable",
    "export": "stable",
    "import": "stable",
    "migrate": "stable",
    "push": "provisional",
    "collect": "provisional",
    "collector init": "provisional",
    "dashboard": "provisional",
    "doctor": "provisional",
    "db backup": "stable",
    "db restore": "stable",
    "db check": "stable",
    "db stats": "stable",
    "db prune": "stable",
    "db vacuum": "stable",
    "db upgrade": "stable",
    "db delete": "stable",
}

_HEAD = f"""# Public names and their stability

Made from the code and `docs/public_api.py` by `make docs`; do not edit.

| stability | what it promises |
|---|---|
| stable | Until 1.0 it changes only after one minor version in which the old way warns; from 1.0 on only in a major version, after such a warning. |
| provisional | It may change in any minor version; the changelog says so and what to do. |
| neither | A module, name or attribute that is not on this page, or begins with `_`, is internal. |

A stable function or command may gain optional parameters and options, and a stable class members, at any time. Options of
CoreVital and their variables ([configuration.md](configuration.md)) are stable. Names of attributes, events and metrics, and
documents that are exported, have versions of their own: [attributes.md](attributes.md).

Import names from the modules below, not from those in which they are defined. `{PACKAGE}` is written
`corevital` here for short.
"""
_TAIL = """
## Exit codes of `corevital` (stable)

| code | meaning |
|---|---|
| 0 | fine |
| 1 | an error of yours; `doctor`: something is wrong; `import`: a line was broken |
| 2 | an error of ours |
| 3 | `run --fail-above`: a run above that risk |
| 4 | `db check`: damage |
| 5 | `baseline drift`: a model has drifted |
| 130 | interrupted |

## Files

| what | its version | stability |
|---|---|---|
| the exported Run: `show --json`, `extensions.corevital` of a report | `corevital.schema_version`, [schemas/](schemas/) | as [attributes.md](attributes.md) |
| reports: `export --format report` | `schema_version`, 0.4.0 of the first CoreVital | stable |
| run data ([run-data.md](run-data.md)) | `corevital.schema_version` of its run | as attributes |
| the store's SQLite file | `PRAGMA user_version`; older files are brought up to date | tables and columns are internal: read it with `open_store()` or the commands |
| baseline profiles, learned baselines | their key `format` | provisional |
"""


def page() -> str:
    """Return docs/api.md."""
    return "\n".join([_HEAD, *_modules(), *_run_classes(), *_monitor_classes(), *_commands(), *_entry_points(), _TAIL])


def _modules() -> Iterator[str]:
    for name, stabilities in PUBLIC.items():
        module = import_module(name)
        exported = set(module.__all__) | ({"corevital_capture"} if name.endswith(".testing") else set())
        if wrong := exported ^ set(stabilities):
            raise SystemExit(f"docs/public_api.py: {name}: not the same as __all__: {', '.join(sorted(wrong))}")
        yield f"## `{name.replace(PACKAGE, 'corevital')}`\n"
        yield "| name | stability | what it is |\n|---|---|---|"
        for each in sorted(stabilities, key=str.lower):
            yield f"| `{_call(each, getattr(module, each))}` | {stabilities[each]} | {_summary(getattr(module, each))} |"
        yield ""


def _run_classes() -> Iterator[str]:
    """Yield the classes that hang on a Run."""
    module = import_module(f"{PACKAGE}.run")
    yield "## What hangs on a `Run` (provisional)\n"
    yield "| class | fields |\n|---|---|"
    for name, value in sorted(vars(module).items()):
        if inspect.isclass(value) and is_dataclass(value):
            yield f"| `{name}` | {', '.join(f'`{field}`' for field in value.__dataclass_fields__)} |"
    yield ""


def _monitor_classes() -> Iterator[str]:
    """Yield the classes of what a monitor and `recording()` return: they are not called, and imported for annotations alone."""
    yield "## What a `CoreVitalMonitor` returns (provisional)\n"
    yield "| class | where | what it is |\n|---|---|---|"
    for value, where in (
        (Stream, "`stream()`"),
        (WrappedGeneration, "`wrap_generation()` with a prompt"),
        (WatchedBlock, "`wrap_generation()` without a prompt"),
        (Advice, "`intervention()`"),
    ):
        yield f"| `{value.__name__}` | {where} | {_summary(value)} |"
    yield ""
    yield "## What `recording()` returns (provisional)\n"
    yield "| class | what it is |\n|---|---|"
    yield f"| `{StoreRecording.__name__}` | {_summary(StoreRecording)} |"
    yield ""


def _commands() -> Iterator[str]:
    leaves = dict(_leaves(typer.main.get_command(app)))
    if wrong := set(leaves) ^ set(COMMANDS):
        raise SystemExit(f"docs/public_api.py: COMMANDS: not those of the command line: {', '.join(sorted(wrong))}")
    yield "## Commands\n"
    yield "| command | stability | what it does | options |\n|---|---|---|---|"
    for name, stability in COMMANDS.items():
        command = leaves[name]
        options = [max(each.opts, key=len) for each in command.params if each.param_type_name == "option"]
        summary = " ".join((command.help or "").split("\n\n")[0].split())
        shown = ", ".join(f"`{option}`" for option in options if option != "--help")
        yield f"| `corevital {name}` | {stability} | {summary} | {shown} |"
    yield ""


def _leaves(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _entry_points() -> Iterator[str]:
    project = tomllib.loads(Path(__file__).parent.parent.joinpath("pyproject.toml").read_text(encoding="utf-8"))
    yield "## Entry points (stable)\n"
    yield "| group | name |\n|---|---|"
    for group, names in project["project"]["entry-points"].items():
        yield f"| `{group}` | {', '.join(f'`{name}`' for name in names)} |"


def _call(name: str, value: Any) -> str:
    """Return a name with what it is called with."""
    if inspect.isclass(value) and (issubclass(value, Exception | list) or getattr(value, "_is_protocol", False)):
        return name
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return name
    shown = [str(each.replace(annotation=each.empty, default=each.empty)) for each in parameters]
    if sum(map(len, shown)) > 80:
        shown = [*shown[:3], "..."]
    return f"{name}({', '.join(each for each in shown if not each.startswith('_'))})"


def _summary(value: Any) -> str:
    """Return the first sentence of a docstring, and of a class its members."""
    if isinstance(value, str):
        return "the version of this package"
    if value is policies.Policy:
        return "any of the policies, for annotations"
    first = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split()).removesuffix(".")
    if not inspect.isclass(value) or issubclass(value, Exception):
        return first
    # A class has the members of the protocol that it implements, too, and what all that a monitor returns share.
    classes = [
        base for base in value.__mro__ if base in (value, Readings, Stream) or getattr(base, "_is_protocol", False)
    ]
    members = dict(pair for base in reversed(classes) for pair in vars(base).items())
    fields = getattr(value, "_fields", ())
    named = [name for name, each in members.items() if name in fields or (not name.startswith("_") and _told(each))]
    return f"{first}. Members: {', '.join(f'`{name}`' for name in named)}" if named else first


def _told(member: Any) -> bool:
    return inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod) or callable(member)
