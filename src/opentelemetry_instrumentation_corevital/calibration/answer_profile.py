"""A model's own answer risk in its baseline profile, beside what that has already."""

from pathlib import Path

from ..baselines.answer_model import AnswerModel
from ..baselines.profile import VERSION, Identity, Made, Profile, ProfileError, read_profile
from ..run import ModelInfo
from ..version import __version__
from .write import write_profile


def put_answer(file: Path, model: ModelInfo, answer: AnswerModel, tokens: int) -> Profile:
    """Write a model's own answer risk into its profile, and return that; what else the profile says stays.

    Where there is none yet, the new one has nothing else: what is usual for the model is taken from elsewhere, as
    before.

    Args:
        file: of the profile, whether it is there or not.
        model: whose labelled runs it was fitted on.
        answer: what was fitted.
        tokens: of these runs.

    Raises:
        ProfileError: if the file that is there cannot be read or is of another model, or none can be written.
    """
    known = profile_there(file, model)
    if known is None:
        made = Made(version=__version__, runs=answer.runs, steps=tokens)
        known = Profile(model=Identity.of(model), made=made, signals={}, layers={})
    elif known.only_answer:
        known = known.model_copy(update={"made": Made(version=__version__, runs=answer.runs, steps=tokens)})
    profile = known.model_copy(update={"version": VERSION, "answer": answer})
    write_profile(profile, file)
    return profile


def profile_there(file: Path, model: ModelInfo) -> Profile | None:
    """Return the profile of a model that a file has; None where there is no file.

    Raises:
        ProfileError: if it cannot be read, or is of another model.
    """
    if not file.exists():
        return None
    known = read_profile(file)
    if told := [*known.model.differences(model), *known.model.variations(model)]:
        raise ProfileError(
            f"profile {file}: was made with another model than the labelled runs ({', '.join(told)}); "
            "move it away, or write another file with --out"
        )
    return known


def with_answer_of(file: Path, profile: Profile) -> Profile:
    """Return a new profile with the answer risk that the one in its place has, if that is of the same model."""
    try:
        known = read_profile(file) if file.exists() else None
    except ProfileError:  # it is replaced because it is damaged
        return profile
    whole = ModelInfo(**profile.model.model_dump(exclude_none=False))
    if known is None or known.answer is None or known.model.differences(whole) or known.model.variations(whole):
        return profile
    return profile.model_copy(update={"version": VERSION, "answer": known.answer})
