"""`corevital calibrate`: what is usual for a model, from healthy runs of it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._internal.user_error import UserError
from ..baselines.lookup import own_profile, profiles_folder
from ..calibration import ProfileError, fit_profile, write_profile
from ..calibration.answer_profile import with_answer_of
from ..loading.models import load_model
from ..store import RunFilter, open_store
from ..store.labels import LabelSource
from .calibrate_labels import calibrate_labels
from .calibrate_options import (
    MOST_SERVED,
    TEMPERATURES,
    TOKENS,
    CalibratedModel,
    ChatTemplate,
    FromLabels,
    FromStore,
    GeneratorSeed,
    LabelledExperiment,
    LabelsFrom,
    ModelDevice,
    MostServed,
    ProfileFile,
    PromptsFile,
    StorePlace,
    Temperatures,
    TokensOfAnAnswer,
    WeightsDtype,
    WriteAnyway,
)
from .calibration_report import result_of, tell, warn_of
from .calibration_runs import Asked, CalibrationRuns, check_enough
from .calibration_sources import prompts_in, runs_of_model, runs_of_store, temperatures_in
from .generation import use_chat
from .labelled_runs import MOST_LABELLED
from .options import AsJson, Database, Since, database, since_ns
from .output import print_json


def calibrate(
    store: StorePlace = None,
    model: CalibratedModel = None,
    prompts: PromptsFile = None,
    max_new_tokens: TokensOfAnAnswer = None,
    temperatures: Temperatures = None,
    from_store: FromStore = False,
    labels: FromLabels = False,
    label_source: LabelsFrom = None,
    experiment: LabelledExperiment = None,
    force: WriteAnyway = False,
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

    With --labels: fit the model's own answer risk to stored runs whose outcome is known.
    20 right and 20 wrong answers at least. What is usual for the model stays as it is.

    Example: corevital calibrate --model smollm2 --prompts prompts.txt
    """
    generating = {"--prompts": prompts, "--max-new-tokens": max_new_tokens, "--temperatures": temperatures}
    generating |= {"--chat": chat, "--seed": seed, "--device": device, "--dtype": dtype}
    reading = {"STORE": store, "--db": db, "--since": since, "--limit": limit}
    of_labels = {"--label-source": label_source, "--experiment": experiment, "--force": force or None}
    _check_writable(profiles_folder() / "model.json" if out is None else out, "" if out is None else "--out ")
    if labels:
        _refuse({"--from-store": from_store or None}, "makes a profile of healthy runs, and --labels fits to labels")
        _refuse(generating, "is about generating, and --labels takes runs that are stored")
        wanted = RunFilter(model=model, since_ns=since_ns(since), experiment=experiment)
        of = label_source or LabelSource.ANY
        most = limit or MOST_LABELLED
        calibrate_labels(_place(store, db), wanted, of, most, out=out, force=force, as_json=as_json)
        return
    _refuse(of_labels, "is about labelled runs: add --labels")
    if from_store:
        _refuse(generating, "is about generating, and --from-store takes runs that are stored")
        with open_store(_place(store, db)) as source:
            wanted = RunFilter(model=model, since_ns=since_ns(since))
            runs = runs_of_store(source, wanted, limit or MOST_SERVED)
    else:
        _refuse(reading, "is about stored runs: add --from-store or --labels")
        asked = Asked(
            temperatures_in(TEMPERATURES if temperatures is None else temperatures), max_new_tokens or TOKENS, seed or 0
        )
        runs = _generated(model, prompts, asked, chat, device=device, dtype=dtype)
    _profile_of(runs, out, as_json=as_json)


def _generated(
    model: str | None, prompts: Path | None, asked: Asked, chat: bool | None, *, device: str | None, dtype: str | None
) -> CalibrationRuns:
    """Return the runs in which a model answers the prompts of a file."""
    if model is None or prompts is None:
        missing = "--model" if model is None else "--prompts"
        raise UserError(
            f"{missing}: is needed to generate runs; or take stored ones with --from-store, or labelled ones with "
            "--labels."
        )
    questions = prompts_in(prompts, len(asked.temperatures), asked.tokens)
    loaded = load_model(model, device=device, dtype=dtype)
    return runs_of_model(loaded, questions, replace(asked, chat=use_chat(loaded, chat)))


def _profile_of(runs: CalibrationRuns, out: Path | None, *, as_json: bool) -> None:
    """Make the profile, write it, and say what there is to say of it."""
    check_enough(runs)
    try:
        profile = fit_profile(runs.sieve.runs, prompts=runs.prompts, groups=runs.sieve.groups)
        file = out or own_profile(profile.model)
        profile = with_answer_of(file, profile)
        write_profile(profile, file)
    except ProfileError as error:
        raise UserError(str(error)) from None
    warn_of(runs)
    found = result_of(profile, runs, file, found_by_name=out is None)
    if as_json:
        print_json(found)
    else:
        tell(found)


def _place(store: str | None, db: str | None) -> str:
    """Return the store that the argument or the option names."""
    if store is not None and db is not None:
        raise UserError(f"--db {db}: the store is named already, {store}; name one.")
    return database(db) if store is None else database(store, "STORE")


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
