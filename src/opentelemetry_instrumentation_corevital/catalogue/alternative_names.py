"""The likeliest tokens of each step: how many, and under which names the run data have them."""

from typing import Final

RANKS: Final = 5
"""Tokens of each step that are kept, the likeliest first."""

PROBABILITY: Final = "alternative_probability"
"""Column of the run data: float32 [T, 5]."""
TOKEN: Final = "alternative_token"
"""Column of the run data: int32 [T, 5], -1 where there is no token. Content: a token id decodes exactly."""

COLUMNS: Final = (PROBABILITY, TOKEN)

PROBABILITY_MEANING: Final = (
    "probabilities of the five likeliest tokens under the raw distribution, the likeliest first; in full only"
)
TOKEN_MEANING: Final = (
    "ids of these tokens, -1 where fewer than five can be chosen: of equally likely ones the lower id first; only with "
    "content on"
)
