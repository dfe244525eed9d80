"""Where the model of `corevital run` comes from, and where what is recorded goes."""

import os
from dataclasses import dataclass
from typing import Any

from .own_telemetry import CommandTelemetry, Otlp
from .sinks import Sink


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from and where it goes, as `load_model` takes it."""

    name: str
    device: str | None
    dtype: str | None
    revision: str | None

    def identity(self) -> dict[str, Any]:
        """Return what tells its answers from another model's: a folder by where it is, since names may be the same."""
        name = os.path.realpath(self.name) if os.path.isdir(self.name) else self.name
        return {"model": name, "dtype": self.dtype, "revision": self.revision}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where what is recorded goes."""

    sink: Sink
    otlp: Otlp
    content_to_otlp: bool
    """Whether message text may leave for an OTLP endpoint."""

    experiment: str | None = None
    """What the runs belong to; None: what the environment says, if anything."""

    def telemetry(self, recorded: str | None) -> CommandTelemetry:
        """Return what records into a file, or into none."""
        return CommandTelemetry(
            recorded, content_to_otlp=self.content_to_otlp, otlp=self.otlp, experiment=self.experiment
        )
