"""The model of the answer risk as data: a logistic regression that a person can read, in a file or in a profile.

log-odds(wrong) = intercept + sum over the terms of coefficient x (feature - mean) / scale
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

_SHIPPED: Final = Path(__file__).with_name("answer_model.json")

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Term(BaseModel):
    """One feature's part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: str
    mean: Finite
    """Of the runs that it was fitted on."""
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Their standard deviation."""
    coefficient: Finite
    lowest: Finite
    """Below it a run is outside the support."""
    highest: Finite
    """Above it a run is outside the support."""

    @model_validator(mode="after")
    def _in_order(self) -> "Term":
        if self.lowest > self.highest:
            raise ValueError(f"{self.feature}: lowest is above highest")
        return self

    def moved(self, value: float) -> float:
        """Return how far a value moves the log-odds."""
        return self.coefficient * (value - self.mean) / self.scale


class AnswerModel(BaseModel):
    """The coefficients, what they were fitted on, and where they hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    """Its name and version, as spans have it: `logistic-1`; of a model's own, `labels-1`."""
    intercept: Finite
    terms: tuple[Term, ...]
    most_tokens: int = Field(ge=1)
    """Runs with more are outside the support."""
    runs: int = Field(ge=1)
    """Runs with known outcomes that it was fitted on."""
    models: int = Field(ge=1)
    """Of so many models."""


@cache
def shipped() -> AnswerModel:
    """Return the model that CoreVital comes with."""
    return AnswerModel.model_validate_json(_SHIPPED.read_bytes())
