"""`corevital calibrate`: what is usual for a model, from healthy runs of it."""

import os
from pathlib import Path
from typing import Any

from .._internal.user_error import UserError
from ..baselines.lookup import own_profile, profiles_folder
from ..calibration import ProfileError, fit_profile, write_profile
from ..loading.models import load_model
from ..store import RunFilter, open_store
from .calibrate_options import (
    MOST_SERVED,
    TEMPERATURES,
    TOKENS,
    CalibratedModel,
    ChatTemplate,
    FromStore,
    GeneratorSeed,
    ModelDevice,
    MostServed,
    ProfileFile,
    PromptsFile,
    StorePlace,
    Temperatures,
    TokensOfAnAnswer,
    WeightsDtype,
)
from .calibration_report import result_of, tell, warn_of
from .calibration_runs import Asked, CalibrationRuns, check_enough
from .calibration_sources import prompts_in, runs_of_model, runs_of_store, temperatures_in
from .generation import use_chat
from .options import AsJson, Database, Since, database, since_ns
from .output import print_json


def calibrate(
    store: StorePlace = None,
    model: CalibratedModel = None,
    prompts: PromptsFile = None,
    max_new_tokens: TokensOfAnAnswer = None,
    temperatures: Temperatures = None,
    from_store: FromStore = False,
    db: Database = None,
    since: Since = None,
    limit: MostServed = None,
    out: ProfileFile = None,
    chat: ChatTemplate = None,
    seed: GeneratorSeed = None,
    device: ModelDevice = None,
    dtype: WeightsDtype = None,
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
        runs = _stored(store, db, RunFilter(model=model, since_ns=since_ns(since)), limit or MOST_SERVED)
    else:
        _refuse(reading, "is about stored runs: add --from-store")
        if model is None or prompts is None:
            missing = "--model" if model is None else "--prompts"
            raise UserError(f"{missing}: is needed to generate runs; or take stored ones with --from-store.")
        heat = temperatures_in(TEMPERATURES if temperatures is None else temperatures)
        tokens = max_new_tokens or TOKENS
        questions = prompts_in(prompts, len(heat), tokens)
        loaded = load_model(model, device=device, dtype=dtype)
        runs = runs_of_model(loaded, questions, Asked(heat, tokens, seed or 0, use_chat(loaded, chat)))
    check_enough(runs)
    try:
        profile = fit_profile(runs.sieve.runs, prompts=runs.prompts, groups=runs.sieve.groups)
        file = out or own_profile(profile.model)
        write_profile(profile, file)
    except ProfileError as error:
        raise UserError(str(error)) from None
    warn_of(runs)
    found = result_of(profile, runs, file, found_by_name=out is None)
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
