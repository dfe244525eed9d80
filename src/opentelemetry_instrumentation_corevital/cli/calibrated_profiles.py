"""What `corevital baseline` says of the profiles that `corevital calibrate` made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._internal.printable import one_line
from ..baselines.lookup import profiles_folder
from ..baselines.profile import Identity, Profile, ProfileError, read_profile
from .printing import echo

_MOST_NAME = 60


@dataclass(frozen=True, slots=True)
class CalibratedProfile:
    """A file of the profiles folder, and its profile; or what is wrong with it."""

    file: Path
    profile: Profile | None = None
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        if self.profile is None:
            return {"file": str(self.file), "problem": self.problem}
        made, answer = self.profile.made, self.profile.answer
        return {
            "file": str(self.file),
            "model": self.profile.model.model_dump(mode="json"),
            "runs": None if self.profile.only_answer else made.runs,
            "tokens": None if self.profile.only_answer else made.steps,
            "answer": None if answer is None else answer.model_dump(mode="json"),
        }

    def said(self) -> str:
        """Return it as a sentence."""
        if self.profile is None:
            return f"{self.file}: cannot be read: {self.problem}"
        name = one_line(name_of(self.profile.model), _MOST_NAME)
        made, answer = self.profile.made, self.profile.answer
        parts = [] if self.profile.only_answer else [f"calibrated on {made.runs} runs of {made.steps} tokens"]
        if answer is not None:
            parts.append(f"own answer risk ({answer.method}) of {answer.runs} labelled runs")
        return f"{name}: {', '.join(parts)}; {self.file}"


def calibrated_profiles() -> list[CalibratedProfile]:
    """Return those of the profiles folder, by name."""
    try:
        found = sorted(profiles_folder().glob("*.json"))
    except OSError:
        return []
    return [_read(file) for file in found]


def profile_of(identity: Identity) -> CalibratedProfile | None:
    """Return the one that runs of a model are judged with; None where there is none."""
    for each in calibrated_profiles():
        if each.profile is not None and name_of(each.profile.model).lower() == name_of(identity).lower():
            return each
    return None


def name_of(identity: Identity) -> str:
    """Return a model's name with its adapters."""
    return "+".join([identity.name, *identity.adapters])


def tell_profiles(found: list[CalibratedProfile]) -> None:
    """Print them, a line each."""
    if found:
        echo("\nprofiles of `corevital calibrate`:")
        for each in found:
            echo(each.said())


def _read(file: Path) -> CalibratedProfile:
    try:
        return CalibratedProfile(file, read_profile(file))
    except ProfileError as error:
        return CalibratedProfile(file, problem=str(error).removeprefix(f"profile {file}: "))
