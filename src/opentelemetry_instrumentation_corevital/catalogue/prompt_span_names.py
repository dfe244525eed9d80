"""Names of what a run's span says of its prompt, where `prompt_analysis` is on."""

from typing import Final

from .definitions import attribute

SURPRISAL_MEAN: Final = attribute(
    "corevital.prompt.surprisal_mean",
    "double",
    "bit",
    "mean surprisal of the prompt's tokens, each given those before it",
    between=(0.0, None),
)
SURPRISAL_MAX: Final = attribute(
    "corevital.prompt.surprisal_max", "double", "bit", "that of the most surprising one", between=(0.0, None)
)
LAYER_TRANSFORMATION: Final = attribute(
    "corevital.prompt.layer_transformation",
    "double[]",
    "1",
    "1 - cosine of each layer's output with the layer's before it, mean over the prompt's tokens, from the second "
    "layer on; -1: not told",
    between=(-1.0, 2.0),
)
BASIN_SCORE: Final = attribute(
    "corevital.prompt.basin_score",
    "double[]",
    "1",
    "of each layer: attention of the prompt's last token to its middle third, over that of a uniform row, mean over "
    "heads; -1: not told, or the middle is outside the layer's window",
    between=(-1.0, None),
)
