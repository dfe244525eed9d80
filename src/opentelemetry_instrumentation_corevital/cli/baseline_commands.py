"""`corevital baseline`: look after what was learned from served runs."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from .._internal.file_io import written
from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..baselines.learned import LearnedBaseline, key_of
from ..baselines.learned_files import SUFFIX, baselines_folder, file_of, files, read_baseline, remove, to_bytes, update
from ..baselines.profile import Identity, ProfileError
from ..baselines.run_numbers import ALPHA, FEWEST_RUNS, MANY_RUNS
from .calibrated_profiles import CalibratedProfile, calibrated_profiles, name_of, profile_of, tell_profiles
from .drift_command import drift
from .help import Command, CommandGroup
from .options import AsJson
from .output import print_json
from .printing import console, echo

_KEY: Final = 12
_MOST_NAME: Final = 60

baseline = typer.Typer(
    cls=CommandGroup,
    help="Look after what is usual for a model, as its served runs have taught it.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="BASELINE", help="A model's name, the key that `list` shows, or a file.")]


@dataclass(frozen=True, slots=True)
class _Found:
    """A file, and its baseline; or what is wrong with it."""

    file: Path
    baseline: LearnedBaseline | None = None
    problem: str = ""


@baseline.command("list", cls=Command)
def list_(as_json: AsJson = False) -> None:
    """Say of which models something was learned, and how much; and which profiles were calibrated.

    Example: corevital baseline list
    """
    found, profiles = [_read(file) for file in files()], calibrated_profiles()
    if as_json:
        told = [each.as_dict() for each in profiles]
        print_json(
            {"folder": str(baselines_folder()), "baselines": [_as_dict(each) for each in found], "profiles": told}
        )
        return
    if not found:
        echo(f"nothing was learned yet; baselines would be in {baselines_folder()}")
        tell_profiles(profiles)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, options in (("key", {"no_wrap": True}), ("model", {"overflow": "fold"}), ("runs", {"justify": "right"})):
        table.add_column(name, **options)
    table.add_column("tokens", justify="right")
    table.add_column("state", overflow="fold")
    for each in found:
        key = each.file.name.removesuffix(SUFFIX)[:_KEY]
        if each.baseline is None:
            table.add_row(key, "", "", "", f"cannot be read: {each.problem}")
        else:
            known = each.baseline
            table.add_row(
                key, one_line(name_of(known.identity), _MOST_NAME), str(known.runs), str(known.tokens), _state(known)
            )
    console().print(table)
    tell_profiles(profiles)


@baseline.command(cls=Command)
def show(name: Name, as_json: AsJson = False) -> None:
    """Say what one has: whose it is, runs, tokens, from which run number on a run is out; and the model's profile.

    Example: corevital baseline show org/model
    """
    if (alone := _profile_alone(name)) is not None:
        if as_json:
            print_json(alone.as_dict())
        else:
            echo(alone.said())
        return
    found = _one(name)
    known = _whole(found)
    if as_json:
        print_json(_as_dict(found))
        return
    limit = known.limit()
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("model", one_line(name_of(known.identity), _MOST_NAME))
    for label, value in known.identity.model_dump(exclude={"name"}, exclude_none=True).items():
        if value != ():
            table.add_row(label.replace("_", " "), one_line(str(value), _MOST_NAME))
    table.add_row("runs", f"{known.runs}, of {known.tokens} tokens; {known.flagged} more were out, and taught nothing")
    table.add_row("state", _state(known))
    if limit is not None:
        table.add_row("limit", f"a run is out beyond {limit.value:.3g}: {_promise(len(known.numbers.values()))}")
    if (profile := profile_of(known.identity)) is not None:
        table.add_row("profile", profile.said())
    table.add_row("file", f"{found.file}, {found.file.stat().st_size / 1024:.0f} KiB")
    table.add_row("written", time.strftime("%Y-%m-%d %H:%M", time.localtime(found.file.stat().st_mtime)))
    console().print(table)


baseline.command(cls=Command)(drift)


@baseline.command(cls=Command)
def merge(
    sources: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Baselines of one model.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: the model's own file here.")] = None,
) -> None:
    """Add up baselines of one model, from several machines say.

    With --out they are written to a new file. Otherwise they are added to what was learned here; do that once with
    each: the runs of a file that grew in the meantime would count again.

    Example: corevital baseline merge a.baseline b.baseline --out both.baseline
    """
    for number, file in enumerate(sources):
        if any(_same(file, other) for other in sources[:number]):
            raise UserError(f"{file}: is named twice; each file counts once.")
    if out is not None and out.exists():
        raise UserError(f"--out {out}: exists already; name another file, or remove it.")
    known = [_whole(_read(file)) for file in sources]
    whole = known[0]
    for file, each in zip(sources[1:], known[1:], strict=True):
        whole = _merged(whole, each, file)
    target = out or file_of(whole.identity)
    if out is None and any(_same(file, target) for file in sources):
        raise UserError(f"{target}: is what was learned here already; name other files, or give --out.")
    try:
        if out is None:
            whole = update(target, lambda here: whole if here is None else here.merged(whole)) or whole
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            with written(out) as opened:
                opened.write(to_bytes(whole))
    except OSError as error:
        raise UserError(f"baseline {target}: cannot be written: {error.strerror or error}.") from None
    echo(f"{name_of(whole.identity)}: {whole.runs} runs, {whole.tokens} tokens in {target}")


@baseline.command(cls=Command)
def freeze(name: Name, thaw: Annotated[bool, typer.Option("--undo", help="Let runs teach it again.")] = False) -> None:
    """Let no run teach it any more; runs are still judged with it.

    Processes that serve the model now notice with their next writing, a minute later at most; --undo when they start.

    Example: corevital baseline freeze org/model
    """
    file = _one(name).file

    def changed(known: LearnedBaseline | None) -> LearnedBaseline | None:
        if known is not None:
            known.frozen = not thaw
        return known

    try:
        known = update(file, changed)
    except OSError as error:
        raise UserError(f"baseline {file}: cannot be written: {error.strerror or error}.") from None
    if known is None:
        raise UserError(f"baseline {file}: is not there any more.")
    echo(f"{name_of(known.identity)}: {_state(known)}")


@baseline.command(cls=Command)
def reset(
    name: Annotated[str | None, typer.Argument(metavar="BASELINE", help="As for `show`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that were learned.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget what was learned: the next run of the model starts anew.

    Processes that serve the model now begin anew with what they have not written yet, a minute's runs at most.

    Example: corevital baseline reset org/model --yes
    """
    if (name is None) is not every:
        raise UserError("name one baseline, or give --all.")
    chosen = files() if name is None else [_one(name).file]
    if not chosen:
        echo("nothing was learned yet")
        return
    if not yes:
        what = f"forget {len(chosen)} learned baseline{'' if len(chosen) == 1 else 's'}"
        if not sys.stdin.isatty():
            raise UserError(f"{what}? There is no terminal to ask on; add --yes to do it without a question.")
        typer.confirm(f"{what[:1].upper()}{what[1:]} for good?", abort=True)
    for file in chosen:
        try:
            remove(file)
        except OSError as error:
            raise UserError(f"baseline {file}: cannot be removed: {error.strerror or error}.") from None
        echo(f"{file}: removed")


def _profile_alone(name: str) -> CalibratedProfile | None:
    """Return the profile of a model of which nothing was learned; None for any other name."""
    if any(each.baseline is not None and _named(each.baseline.identity, name) for each in map(_read, files())):
        return None
    named = (each for each in calibrated_profiles() if each.profile is not None and _named(each.profile.model, name))
    return next(named, None)


def _read(file: Path) -> _Found:
    try:
        return _Found(file, read_baseline(file))
    except FileNotFoundError:
        return _Found(file, problem="there is no such file")
    except ProfileError as error:
        return _Found(file, problem=str(error).removeprefix(f"baseline {file}: "))


def _whole(found: _Found) -> LearnedBaseline:
    if found.baseline is None:
        raise UserError(f"baseline {found.file}: {found.problem}")
    return found.baseline


def _one(name: str) -> _Found:
    """Return the baseline that a name, a key or a path stands for.

    Raises:
        UserError: if there is none, or more than one.
    """
    if name.endswith(SUFFIX) or Path(name).is_absolute():
        return _read(Path(name))
    keyed = [file for file in files() if name and file.name.startswith(name)]
    if len(keyed) == 1:
        return _read(keyed[0])
    found = [each for each in map(_read, files()) if each.baseline is not None and _named(each.baseline.identity, name)]
    if len(found) > 1:
        keys = ", ".join(key_of(_whole(each).identity)[:_KEY] for each in found)
        raise UserError(f"{name}: {len(found)} baselines are of a model of that name: {keys}; name a key.")
    if not found:
        raise UserError(f"{name}: nothing was learned of a model of that name; `corevital baseline list` lists all.")
    return found[0]


def _named(identity: Identity, name: str) -> bool:
    return name.lower() in (identity.name.lower(), identity.name.rsplit("/", 1)[-1].lower())


def _merged(one: LearnedBaseline, other: LearnedBaseline, file: Path) -> LearnedBaseline:
    try:
        return one.merged(other)
    except ValueError as error:
        raise UserError(f"{file}: is of another model than the first: {error}.") from None


def _same(file: Path, other: Path) -> bool:
    return file.exists() and other.exists() and file.samefile(other)


def _state(known: LearnedBaseline) -> str:
    judged = "runs are judged with it" if known.limit() is not None else f"judges from {FEWEST_RUNS} runs on"
    return f"frozen, {judged}" if known.frozen else judged


def _promise(count: int) -> str:
    return f"{ALPHA:.1%} of healthy runs" if count >= MANY_RUNS else f"1 of {count + 1} healthy runs"


def _as_dict(found: _Found) -> dict[str, Any]:
    if found.baseline is None:
        return {"file": str(found.file), "problem": found.problem}
    known = found.baseline
    limit, profile = known.limit(), profile_of(known.identity)
    return {
        "file": str(found.file),
        "key": key_of(known.identity),
        "model": known.identity.model_dump(mode="json"),
        "runs": known.runs,
        "tokens": known.tokens,
        "flagged": known.flagged,
        "frozen": known.frozen,
        "limit": None if limit is None else limit.value,
        "profile": None if profile is None else profile.as_dict(),
    }
