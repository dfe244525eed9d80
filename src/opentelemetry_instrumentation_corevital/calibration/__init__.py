"""What is usual for a model: baseline profiles, made from its healthy runs, kept as JSON, found by its name."""

from .find import Profiles, profiles_folder
from .fit import fit_profile
from .profile import Identity, Profile, ProfileError, read_profile, write_profile

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
