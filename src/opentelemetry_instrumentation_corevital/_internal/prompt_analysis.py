"""What a run's prefill tells of its prompt: how surprising each token was, and what the layers did with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .short_repr import short_repr

MOST_SURPRISING: Final = 10
"""Positions of the most surprising tokens that are named."""
NEGLECTED_BELOW: Final = 0.5
"""Basin score below which a layer is said to neglect the prompt's middle third: half of what a uniform row gives it.
That is a convention, and no verdict rests on it."""
CONNECTIONS: Final = 8
"""Weights that are kept of a head: its largest."""


class PromptConnection(NamedTuple):
    """How strongly a head of the last prompt token looked at a token of the prompt."""

    layer: int
    head: int
    token: int
    """Its index in the prompt, padding not counted."""
    weight: float
    """In (0, 1]."""


@dataclass(frozen=True, slots=True)
class PromptConnections:
    """The keys with the largest weights of the last prompt token's attention, the largest first."""

    index: NDArray[np.int32]
    """[L, H, 8] token of the prompt; -1 where a head saw fewer keys, or its attention could not be told."""
    weight: NDArray[np.float32]
    """[L, H, 8] its weight; NaN where there is none."""
    __repr__ = short_repr


@dataclass(frozen=True, slots=True)
class PromptAnalysis:
    """What the prefill tells of the prompt, of P tokens without padding. What could not be told is None.

    `absent` has the reason: `prompt_surprisal`, `prompt_layer_transformation`, `prompt_basin` and
    `prompt_connections` are its names.
    """

    surprisal: NDArray[np.float32] | None = None
    """[P - 1 - first] bit: of the tokens behind the first analysed one, each given all tokens before it."""
    surprisal_mean: float | None = None
    """bit; of those that are finite."""
    surprisal_max: float | None = None
    """bit."""
    surprising: NDArray[np.int32] | None = None
    """Up to 10 indices of the most surprising tokens of the prompt, the most surprising first."""
    layer_transformation: NDArray[np.float32] | None = None
    """[L] 1 - cosine of a layer's output with the layer's before it, mean over positions; NaN for the first layer."""
    basin: NDArray[np.float32] | None = None
    """[L, H] weight of the last token on the prompt's middle third over what a uniform row has there; NaN where a
    layer's attention could not be told, or does not reach the middle third."""
    connections: PromptConnections | None = None
    """With `prompt_analysis=full`."""
    first: int = 0
    """Index of the first token that was analysed: above 0 where a cache had the tokens before it."""
    absent: Mapping[str, str] = field(default_factory=dict)
    __repr__ = short_repr

    @classmethod
    def of(cls, surprisal: "NDArray[np.float32] | None", **rest: Any) -> Self:
        """Return the analysis with this surprisal [P - 1 - first] and what is made of it; the rest are fields."""
        if surprisal is None or not np.isfinite(surprisal).any():
            return cls(surprisal, **rest)
        known = surprisal[np.isfinite(surprisal)]
        order = np.argsort(-surprisal, kind="stable")  # NaN is last
        order = order[~np.isnan(surprisal[order])][:MOST_SURPRISING]
        return cls(
            surprisal,
            float(known.mean(dtype=np.float64)),
            float(known.max()),
            (order + int(rest.get("first", 0)) + 1).astype(np.int32),
            **rest,
        )

    def basin_by_layer(self) -> NDArray[np.float32] | None:
        """Return the basin score of each layer [L], the mean over its heads; NaN where none could be told."""
        if self.basin is None:
            return None
        known = np.isfinite(self.basin)
        sums = np.where(known, self.basin, 0.0).sum(1, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            means: NDArray[np.float32] = (sums / known.sum(1)).astype(np.float32)
        return means

    def neglected_layers(self, below: float = NEGLECTED_BELOW) -> list[int]:
        """Return the layers whose basin score is below this, the lowest first."""
        scores = self.basin_by_layer()
        if scores is None:
            return []
        return [int(layer) for layer in np.argsort(scores, kind="stable") if scores[layer] < below]

    def attention_to(self, token: int) -> list[PromptConnection]:
        """Return which heads have this token of the prompt among their largest weights, the largest weight first."""
        return [each for each in self.top_connections(None) if each.token == token]

    def top_connections(self, n: int | None = 10) -> list[PromptConnection]:
        """Return the n largest weights of all heads, the largest first; None: all that are kept.

        Raises:
            ValueError: where no connections were kept, with the reason.
        """
        found = self.connections
        if found is None:
            raise ValueError(self.absent.get("prompt_connections", "connections are kept with prompt_analysis=full"))
        layers, heads, ranks = np.nonzero(found.index >= 0)
        weights = found.weight[layers, heads, ranks]
        order = np.argsort(-weights, kind="stable")[:n]
        return [
            PromptConnection(
                int(layers[at]), int(heads[at]), int(found.index[layers[at], heads[at], ranks[at]]), float(w)
            )
            for at, w in zip(order, weights[order], strict=True)
        ]


class AskedOfPrompt:
    """What can be asked of a run's prompt analysis."""

    __slots__ = ()

    @property
    def _analysis(self) -> PromptAnalysis:
        analysis: PromptAnalysis | None = getattr(self, "prompt_analysis", None)
        if analysis is None:
            raise ValueError("the prompt was not analysed: prompt_analysis is off")
        return analysis

    def attention_to(self, token: int) -> list[PromptConnection]:
        """Return which heads of the last prompt token had this token among their 8 largest weights, largest first.

        Raises:
            ValueError: where no connections were kept, with the reason.
        """
        return self._analysis.attention_to(token)

    def top_connections(self, n: int = 10) -> list[PromptConnection]:
        """Return the n largest attention weights of the last prompt token, over all layers and heads.

        Raises:
            ValueError: where no connections were kept, with the reason.
        """
        return self._analysis.top_connections(n)
