"""What is usual for a model: baseline profiles, made from its healthy runs, kept as JSON, found by its name."""

from ..baselines.lookup import Profiles, profiles_folder
from ..baselines.profile import Identity, Profile, ProfileError, read_profile
from .fit import fit_profile
from .write import write_profile

__all__ = [
    "Identity",
    "Profile",
    "ProfileError",
    "Profiles",
    "fit_profile",
    "profiles_folder",
    "read_profile",
    "write_profile",
]
