"""Which baseline a model is judged with.

The sources in order: the one that is named; the model's own from the profiles folder (calibrated); the one that comes
with the package, for exactly this model; what was learned from its served runs; none. A profile that has an answer risk
of the model's own and nothing else gives that, and the next source what is usual.
"""

import logging
import os
import re
import threading
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from .._internal.baseline_use import BaselineSource
from .._internal.short_repr import short_repr
from ..config import data_folder
from ..run import ModelInfo, Run
from .answer_model import AnswerModel
from .learned import LearnedBaseline, identity_of
from .learned_files import SUFFIX, read_baseline
from .learner import LEARNER, Pupil, Usual
from .profile import Identity, Profile, ProfileError, last_part, read_profile
from .profile_limits import limit_of_profile
from .run_numbers import RunLimit

logger = logging.getLogger(__name__)

AUTO: Final = "auto"
OFF: Final = "off"

_PACKAGED: Final = Path(__file__).with_name("profiles")


def profiles_folder() -> Path:
    """Return where `corevital calibrate` keeps profiles and where they are looked for."""
    return Path(data_folder(), "profiles")


def file_name(model: str) -> str:
    """Return the file name of a model's profile: its name, with what a file system may refuse replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "--", model).strip("-.") + ".json"


def find_file(name: str) -> Path | None:
    """Return the file that a name or a path stands for, None where there is none.

    The profiles folder is looked into first, then the package, each for a model's whole name and then its last part.
    """
    if name.endswith((".json", SUFFIX)) or Path(name).is_absolute():
        path = Path(os.path.expanduser(name))  # of a user whom nobody knows, too
        return path if _is_file(path) else None
    return next((file for folder in (profiles_folder(), _PACKAGED) if (file := _file_in(folder, name))), None)


def _file_in(folder: Path, name: str) -> Path | None:
    """Return the file of a model's profile in a folder."""
    wanted = dict.fromkeys((file_name(name), file_name(last_part(name))))
    return next((folder / file for file in wanted if _is_file(folder / file)), None)


def _is_file(path: Path) -> bool:
    """Whether a file is there to be read; False for a name that no file can have, and in a closed folder."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class FoundProfile:
    """What became of looking for a baseline: it, or the reason why one that is there is not used."""

    profile: Profile | None = None
    """What is usual; None where nothing is known, or too little."""
    reason: str | None = None
    """Why one that is there is not used, or not for flags of layers: then it has no limit."""
    differences: tuple[str, ...] = ()
    """What the profile in use was made with and the model has not."""
    source: BaselineSource = "none"
    runs: int | None = None
    tokens: int | None = None
    """That it was made of."""
    limit: RunLimit | None = None
    """Beyond which a run has to be as a whole before a layer of it is out; None: nothing is known of whole runs."""
    pupil: Pupil | None = None
    """What runs of the model are handed over to; None: nothing is learned."""
    answer: AnswerModel | None = None
    """Of the answer risk, fitted on labelled runs of the model; None: none was, or what was is not used."""

    __repr__ = short_repr


class Profiles:
    """The baselines of a process: each file is read once, and what is wrong with one is said once."""

    def __init__(self, setting: str = AUTO) -> None:
        """Take the setting: `auto`, `off`, or a name or path.

        Raises:
            ProfileError: if the one that is named is not there or damaged.
        """
        self._setting = setting
        self._lock = threading.Lock()
        self._found: dict[ModelInfo, FoundProfile] = {}
        self._named: Profile | LearnedBaseline | None = None
        self._last = _LastRun()
        if setting not in (AUTO, OFF):
            file = find_file(setting)
            if file is None:
                raise ProfileError(
                    f"profile {setting}: there is no such file, nor a profile of that name in {profiles_folder()}; "
                    "make one with `corevital calibrate`"
                )
            self._named = _read(file)

    def of(self, model: ModelInfo) -> FoundProfile:
        """Return the baseline that runs of a model are judged with now."""
        with self._lock:
            if model not in self._found:
                found = self._found[model] = self._find(model)
                if found.reason is not None:
                    logger.warning("CoreVital: %s", found.reason)
            found = self._found[model]
        return found if found.pupil is None else _learned(found, found.pupil)

    def of_run(self, run: Run) -> FoundProfile:
        """Return the baseline that a run is judged with: the same one however often it is asked for by a thread."""
        if self._last.found is None or self._last.run is None or self._last.run() is not run:
            self._last.found, self._last.run = self.of(run.model), weakref.ref(run)
        return self._last.found

    def judge_with(self, found: FoundProfile, run: Run) -> None:
        """Have this thread judge a run with what its steps were judged with, though more may be known by now."""
        self._last.found, self._last.run = found, weakref.ref(run)

    def _find(self, model: ModelInfo) -> FoundProfile:
        if self._setting == OFF:
            return FoundProfile()
        if isinstance(self._named, LearnedBaseline):
            return _named_learned(self._named, model)
        if self._named is None:
            return _found_for(model)
        found = _checked(self._named, model, "calibrated", named=True)
        if not self._named.only_answer:
            return found
        usual = _found_for(model)
        reasons = "; ".join(filter(None, (found.reason, usual.reason)))
        return replace(usual, answer=found.answer, differences=found.differences, reason=reasons or None)


def _found_for(model: ModelInfo) -> FoundProfile:
    """Return what is found for a model without a name: the first of the sources that has something."""
    reasons: list[str] = []
    answer: AnswerModel | None = None
    folders: tuple[tuple[Path, BaselineSource], ...] = ((profiles_folder(), "calibrated"), (_PACKAGED, "packaged"))
    for folder, source in folders:
        file = _own_file(folder, model)
        if file is None:
            continue
        try:
            found = _checked(read_profile(file), model, source, named=False)
        except ProfileError as error:
            found = FoundProfile(reason=f"{error}; runs are judged without it")
        answer = answer or found.answer
        if found.profile is not None:
            return replace(found, answer=answer)
        if found.reason is not None:
            reasons.append(found.reason)
    return FoundProfile(reason="; ".join(reasons) or None, pupil=LEARNER.pupil(model), answer=answer)


class _LastRun(threading.local):
    """The run that a thread judges, and its baseline."""

    run: "weakref.ref[Run] | None" = None
    found: FoundProfile | None = None


def _read(file: Path) -> Profile | LearnedBaseline:
    if file.suffix == SUFFIX:
        try:
            return read_baseline(file)
        except FileNotFoundError:
            raise ProfileError(f"baseline {file}: there is no such file") from None
    return read_profile(file)


def _checked(profile: Profile, model: ModelInfo, source: BaselineSource, *, named: bool) -> FoundProfile:
    """Return a profile as found if it is of the model, else why it is not used."""
    differences, variations = profile.model.differences(model), profile.model.variations(model)
    if differences or (variations and not named):
        told = ", ".join([*differences, *variations])
        return FoundProfile(reason=f"{_another(profile, model)} ({told}); runs are judged without it")
    if variations:
        logger.warning("CoreVital: %s (%s); it is used as asked", _another(profile, model), ", ".join(variations))
    differing = (*variations, *profile.model.roundings(model))
    if profile.only_answer:
        return FoundProfile(differences=differing, answer=profile.answer)
    limit, why_not = limit_of_profile(profile)
    return FoundProfile(
        profile,
        None if why_not is None else f"{why_not}; until then no flag of layers rests on it",
        differences=differing,
        source=source,
        runs=profile.made.runs,
        tokens=profile.made.steps,
        limit=limit,
        answer=profile.answer,
    )


def _named_learned(baseline: LearnedBaseline, model: ModelInfo) -> FoundProfile:
    """Return a learned baseline that was asked for by name; one of another structure is not used."""
    asked = identity_of(model)
    names = ("architecture", "layer_count", "head_count", "vocabulary_size", "revision", "dtype", "quantization")
    pairs = {name: (getattr(baseline.identity, name), getattr(asked, name)) for name in (*names, "adapters")}
    told = [
        f"{name.replace('_', ' ')} {mine}, not {theirs}" for name, (mine, theirs) in pairs.items() if mine != theirs
    ]
    another = f"the baseline of {baseline.identity.name} was learned of another model than {model.name}"
    if any(pairs[name][0] != pairs[name][1] for name in names[:4]):
        return FoundProfile(reason=f"{another} ({', '.join(told)}); runs are judged without it")
    if told:
        logger.warning("CoreVital: %s (%s); it is used as asked", another, ", ".join(told))
    limit = baseline.limit()
    return FoundProfile(
        None if limit is None else baseline.profile(),
        differences=tuple(told),
        source="learned",
        runs=baseline.runs,
        tokens=baseline.tokens,
        limit=limit,
    )


def _learned(found: FoundProfile, pupil: Pupil) -> FoundProfile:
    """Return what was found, with what was learned up to now."""
    usual: Usual = pupil.usual
    if not usual.runs:
        return replace(found, reason=found.reason or pupil.refused)
    return replace(
        found,
        profile=None if usual.limit is None else usual.profile,
        source="learned",
        runs=usual.runs,
        tokens=usual.tokens,
        limit=usual.limit,
    )


def _own_file(folder: Path, model: ModelInfo) -> Path | None:
    """Return the file of a model's profile in a folder: that of it with its adapters, else of the model alone."""
    with_adapters = _file_in(folder, _whole_name(model)) if model.adapters else None
    return with_adapters or _file_in(folder, model.name)


def own_profile(model: ModelInfo | Identity) -> Path:
    """Return the file in the profiles folder in which the profile of a model with its adapters is found first."""
    return profiles_folder() / file_name(_whole_name(model))


def _whole_name(model: ModelInfo | Identity) -> str:
    """Return the name of a model with its adapters."""
    return "+".join([model.name, *(adapter.replace("/", "-") for adapter in model.adapters)])


def _another(profile: Profile, model: ModelInfo) -> str:
    return f"the profile of {profile.model.name} was made with another model than {model.name}"
