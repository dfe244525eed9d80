"""A run's fingerprint and how far it is from another: part of `run.py`, where users find it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .short_repr import short_repr


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How a run behaved, as numbers that can be compared, and hashes that tell which runs answered the same.

    `vector` has a number in [0, 1] for each component that its `version` has; docs/metrics.md lists them.
    """

    prompt_hash: str | None = None
    prompt_hash_source: str | None = None
    run_hash: str | None = None
    vector: tuple[float, ...] | None = None
    version: str | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    __repr__ = short_repr

    def distance(self, other: "Fingerprint") -> float:
        """Return how differently two runs behaved, in [0, 1]: the root mean square over the components that both have.

        Raises:
            ValueError: if one has no vector, or they are of different versions.
        """
        if self.vector is None or other.vector is None or self.version is None or other.version is None:
            raise ValueError("a fingerprint without a vector has no distance")
        if self.version.partition("-")[0] != other.version.partition("-")[0]:
            raise ValueError(f"fingerprints of version {self.version} and {other.version} cannot be compared")
        shared = min(len(self.vector), len(other.vector))
        off = np.subtract(self.vector[:shared], other.vector[:shared])
        return float(np.sqrt(np.mean(off * off)))
