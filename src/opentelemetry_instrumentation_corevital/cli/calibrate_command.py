"""`corevital calibrate`: what is usual for a model, from healthy runs of it."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .._internal.user_error import UserError
from ..baselines.lookup import own_profile, profiles_folder
from ..calibration import ProfileError, fit_profile, write_profile
from ..loading.models import load_model
from ..store import RunFilter, open_store
from .calibration_report import result_of, tell, warn_of
from .calibration_runs import Asked, CalibrationRuns, check_enough
from .calibration_sources import TEMPERATURES, prompts_in, runs_of_model, runs_of_store, temperatures_in
from .generation import use_chat
from .options import AsJson, Database, Since, checked_seed, database, since_ns
from .output import print_json

_TOKENS: Final = 200
_MOST_SERVED: Final = 1000

Model = Annotated[
    str | None, typer.Option("--model", "-m", help="A path, a hub id, or smollm2; of a store the model of its runs.")
]
Prompts = Annotated[
    Path | None, typer.Option("--prompts", help="A UTF-8 file with a prompt a line that the model answers well.")
]
MostTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", min=17, help=f"Of each answer; default: {_TOKENS}.")
]
Temperatures = Annotated[
    str | None,
    typer.Option(
        metavar="T,T,...",
        help=f"Each prompt is answered at each of these; 0 is greedy; default: {TEMPERATURES}.",
    ),
]
FromStore = Annotated[
    bool, typer.Option("--from-store", help="Of served runs whose layer arrays are stored; nothing is generated.")
]
Store = Annotated[
    str | None,
    typer.Argument(metavar="[STORE]", help="With --from-store: the store's file or its URL; default: that of --db."),
]
MostServed = Annotated[
    int | None,
    typer.Option(min=1, help=f"With --from-store: how many runs at most, the newest; default: {_MOST_SERVED}."),
]
OutFile = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The profile's file; default: the model's in the profiles folder."),
]
Chat = Annotated[
    bool | None, typer.Option("--chat/--raw", help="Use the chat template or not; default: if there is one.")
]
Seed = Annotated[int | None, typer.Option(help="Of torch's generators; default: 0.", callback=checked_seed)]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the fastest there is.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16, float16; default: the checkpoint's.")]


def calibrate(
    store: Store = None,
    model: Model = None,
    prompts: Prompts = None,
    max_new_tokens: MostTokens = None,
    temperatures: Temperatures = None,
    from_store: FromStore = False,
    db: Database = None,
    since: Since = None,
    limit: MostServed = None,
    out: OutFile = None,
    chat: Chat = None,
    seed: Seed = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Make the baseline profile of a model: what its layers and signals do in healthy runs.

    Flags, blame and warnings compare later runs of the model with it.
    Give prompts of the kind that the model will get: 17 at least, better 80.
    Or take served runs with --from-store: those kept with capture=full or run_data=on.
    A run that fails, is not finite, loops or has less than 9 tokens is dropped, which is reported.

    Example: corevital calibrate --model smollm2 --prompts prompts.txt
    """
    generating = {"--prompts": prompts, "--max-new-tokens": max_new_tokens, "--temperatures": temperatures}
    generating |= {"--chat": chat, "--seed": seed, "--device": device, "--dtype": dtype}
    reading = {"STORE": store, "--db": db, "--since": since, "--limit": limit}
    _check_writable(profiles_folder() / "model.json" if out is None else out, "" if out is None else "--out ")
    if from_store:
        _refuse(generating, "is about generating, and --from-store takes runs that are stored")
        runs = _stored(store, db, RunFilter(model=model, since_ns=since_ns(since)), limit or _MOST_SERVED)
    else:
        _refuse(reading, "is about stored runs: add --from-store")
        if model is None or prompts is None:
            missing = "--model" if model is None else "--prompts"
            raise UserError(f"{missing}: is needed to generate runs; or take stored ones with --from-store.")
        heat = temperatures_in(TEMPERATURES if temperatures is None else temperatures)
        tokens = max_new_tokens or _TOKENS
        texts = prompts_in(prompts, len(heat), tokens)
        loaded = load_model(model, device=device, dtype=dtype)
        runs = runs_of_model(loaded, texts, Asked(heat, tokens, seed or 0, use_chat(loaded, chat)))
    check_enough(runs)
    try:
        profile = fit_profile(runs.sieve.runs, prompts=runs.prompts, groups=runs.sieve.groups)
        file = out or own_profile(profile.model)
        write_profile(profile, file)
    except ProfileError as error:
        raise UserError(str(error)) from None
    warn_of(runs)
    found = result_of(profile, runs, file)
    if as_json:
        print_json(found)
    else:
        tell(found)


def _stored(store: str | None, db: str | None, wanted: RunFilter, limit: int) -> CalibrationRuns:
    if store is not None and db is not None:
        raise UserError(f"--db {db}: the store is named already, {store}; name one.")
    place = database(db) if store is None else database(store, "STORE")
    with open_store(place) as source:
        return runs_of_store(source, wanted, limit)


def _refuse(options: dict[str, Any], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise UserError(f"{name} {why}.")


def _check_writable(file: Path, what: str) -> None:
    """Refuse a place where no file can be written, before runs are made that would be lost.

    Raises:
        UserError: for one.
    """
    there = next(folder for folder in (file, *file.absolute().parents) if folder.exists())
    if file.is_dir():
        raise UserError(f"{what}{file}: is a folder; name a file.")
    if there != file and not there.is_dir():
        raise UserError(f"{what}{file}: cannot be written: {there} is no folder.")
    if not os.access(there if there.is_dir() else there.parent, os.W_OK | os.X_OK):
        raise UserError(f"{what}{file}: cannot be written: {there} allows nobody to.")
