"""Which profile a model is judged with: the one that is named, or its own from the profiles folder or the package."""

import logging
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..config import data_folder
from ..run import ModelInfo
from .profile import Profile, ProfileError, last_part, read_profile

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

    A model's whole name is looked for first, then its last part, each in the profiles folder and then in the package.
    """
    if name.endswith(".json") or Path(name).is_absolute():
        path = Path(os.path.expanduser(name))  # of a user whom nobody knows, too
        return path if _is_file(path) else None
    wanted = dict.fromkeys((file_name(name), file_name(last_part(name))))
    folders = (profiles_folder(), _PACKAGED)
    return next((folder / file for file in wanted for folder in folders if _is_file(folder / file)), None)


def _is_file(path: Path) -> bool:
    """Whether a file is there to be read; False for a name that no file can have, and in a closed folder."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class FoundProfile:
    """What became of looking for a profile: it, or the reason why there is none."""

    profile: Profile | None = None
    reason: str | None = None
    differences: tuple[str, ...] = ()
    """What the profile in use was made with and the model has not."""


class Profiles:
    """The profiles of a process: each is read once, and what is wrong with one is said once."""

    def __init__(self, setting: str = AUTO) -> None:
        """Take the setting: `auto`, `off`, or a name or path.

        Raises:
            ProfileError: if the one that is named is not there or damaged.
        """
        self._setting = setting
        self._lock = threading.Lock()
        self._found: dict[ModelInfo, FoundProfile] = {}
        self._named: Profile | None = None
        if setting not in (AUTO, OFF):
            file = find_file(setting)
            if file is None:
                raise ProfileError(
                    f"profile {setting}: there is no such file, nor a profile of that name in {profiles_folder()}; "
                    "make one with `corevital calibrate`"
                )
            self._named = read_profile(file)

    def of(self, model: ModelInfo) -> FoundProfile:
        """Return the profile that runs of a model are judged with."""
        with self._lock:
            if model not in self._found:
                found = self._found[model] = self._find(model)
                if found.reason is not None:
                    logger.warning("CoreVital: %s", found.reason)
            return self._found[model]

    def _find(self, model: ModelInfo) -> FoundProfile:
        if self._setting == OFF:
            return FoundProfile()
        profile = self._named
        if profile is None:
            try:
                file = _own_file(model)
                profile = None if file is None else read_profile(file)
            except ProfileError as error:
                return FoundProfile(reason=f"{error}; runs are judged without it")
            if profile is None:
                return FoundProfile()
        differences, variations = profile.model.differences(model), profile.model.variations(model)
        if differences or (variations and self._named is None):
            told = ", ".join([*differences, *variations])
            return FoundProfile(reason=f"{_another(profile, model)} ({told}); runs are judged without it")
        if variations:
            logger.warning("CoreVital: %s (%s); it is used as asked", _another(profile, model), ", ".join(variations))
        return FoundProfile(profile, differences=(*variations, *profile.model.roundings(model)))


def _own_file(model: ModelInfo) -> Path | None:
    """Return the file of a model's profile: that of it with its adapters, else of the model alone."""
    with_adapters = find_file(f"{model.name}+{'+'.join(model.adapters).replace('/', '-')}") if model.adapters else None
    return with_adapters or find_file(model.name)


def _another(profile: Profile, model: ModelInfo) -> str:
    return f"the profile of {profile.model.name} was made with another model than {model.name}"
