"""Learns what is usual for a model from its healthy runs and writes it as a baseline profile."""

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
