"""A profile as a file, whole or not at all."""

import json
import os
from pathlib import Path

from .._internal.file_io import written
from ..baselines.profile import Profile, ProfileError


def write_profile(profile: Profile, path: str | os.PathLike[str]) -> None:
    """Write a profile, whole or not at all.

    Raises:
        ProfileError: if it cannot be written.
    """
    file = Path(path)
    text = json.dumps(profile.model_dump(mode="json", exclude_none=True), separators=(",", ":"))
    text = text.replace('},"', '},\n"') + "\n"  # one signal a line: two profiles can be compared by eye
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with written(file) as opened:
            opened.write(text.encode())
    except OSError as error:
        raise ProfileError(f"profile {file}: cannot be written: {error.strerror}") from None
