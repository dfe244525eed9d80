"""What is told of a prompt: columns of the run data that are of the prompt's tokens, or of all of them together.

They are in no signal row: the prefill makes them, once per run, where `prompt_analysis` is on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from . import prompt_span_names
from .signal import Dtype, SignalEntry

_DEFAULT: Final = (
    "off in code and under zero-code start-up (`OTEL_COREVITAL_PROMPT_ANALYSIS`), `summary` in `corevital run`"
)
_EVIDENCE: Final = "none: no verdict rests on it"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptColumn:
    """One column of what is told of a prompt."""

    name: str
    shape: tuple[str, ...]
    """P: tokens of the prompt; L: layers; H: heads."""
    definition: str
    """In a few words, for the table of columns."""
    unit: str = "1"
    dtype: Dtype = "float32"
    lowest: float | None = 0.0
    highest: float | None = None
    content: bool = False
    """Whether it is stored only with content on."""
    entry: SignalEntry | None = None
    """In docs/metrics.md; `also` are the names of its span attributes."""

    @property
    def of_heads(self) -> bool:
        """Whether it has numbers of heads."""
        return "H" in self.shape


_SURPRISAL: Final = SignalEntry(
    definition="-log2 p(token given all tokens before it), by the raw logits of the prefill, of each token of the "
    "prompt behind the first one. The model makes logits of the last position only; those of the others are made by "
    "its own output head from the last hidden states of the same prefill, some positions at a time. Where that does "
    "not give the model's own logits of the last position, it is absent. The maximum, the mean and the ten largest "
    "are of the tokens that have one",
    evidence=_EVIDENCE,
    measured="equal to a float64 definition on a plain forward pass, in 11 architectures, padded and not",
    stands_out="single high tokens: names, numbers, errors of writing or of tokenizing. High throughout: text unlike "
    "what the model was trained on, or a wrong chat template",
    default=_DEFAULT,
    also=(prompt_span_names.SURPRISAL_MEAN, prompt_span_names.SURPRISAL_MAX),
)
_LAYERS: Final = SignalEntry(
    definition="1 - cosine of a layer's output with that of the layer before, mean over the prompt's tokens",
    evidence=_EVIDENCE,
    measured="equal to a float64 definition on `output_hidden_states` of the same prefill, in 11 architectures",
    stands_out="a layer that turns every token's state: usually the first and the last ones",
    default=_DEFAULT,
    also=(prompt_span_names.LAYER_TRANSFORMATION,),
)
_BASIN: Final = SignalEntry(
    definition="weight of the last token's attention on the middle third of the prompt, over the fraction of its "
    "visible keys that lie there: 1 is what a row that is uniform on all it sees would have. With n tokens, the "
    "middle third is from index n // 3 to before n - n // 3. A head whose sliding window does not reach it has none",
    evidence=_EVIDENCE,
    measured="equal to a float64 definition on eager attention of the same prefill, in 13 architectures. The first "
    "CoreVital's score was the weight on the middle over that on the rest, averaged over all queries. Most of these "
    "cannot see the middle third, so that a uniform causal matrix scores 0.31 there and not the 0.5 that was called "
    "balanced; below 0.3, which was to mean neglect, were 70 to 99 % of the heads of its four demonstration traces",
    stands_out="far below 1 in most heads: what stands in the middle of the prompt is hardly attended to as the "
    "answer begins. `corevital show` counts the layers whose mean over heads is below 0.5; that limit is a convention",
    default=_DEFAULT,
    also=(prompt_span_names.BASIN_SCORE,),
)
_CONNECTIONS: Final = SignalEntry(
    definition="the 8 largest weights of each head's row of the prompt's last token, and the index of the token that "
    "each is on, the largest first",
    evidence=_EVIDENCE,
    measured="equal to the largest weights of eager attention of the same prefill, in 13 architectures",
    stands_out="`Run.attention_to(token)` says which heads have a token among them, `Run.top_connections()` which "
    "are the largest of all",
    default="`prompt_analysis=full`",
    also=(),
)

COLUMNS: Final = (
    PromptColumn(
        name="prompt_surprisal",
        shape=("P - 1",),
        unit="bit",
        content=True,
        definition="-log2 p of each token of the prompt behind the first analysed one",
        entry=_SURPRISAL,
    ),
    PromptColumn(
        name="prompt_first",
        shape=("1",),
        unit="",
        dtype="int32",
        definition="index of the first token that was analysed: above 0 where a cache had those before it",
    ),
    PromptColumn(
        name="prompt_surprising",
        shape=("10",),
        unit="",
        dtype="int32",
        definition="indices of the ten most surprising tokens of the prompt, the most surprising first",
        entry=_SURPRISAL,
    ),
    PromptColumn(
        name="prompt_layer_transformation",
        shape=("L",),
        highest=2.0,
        definition="1 - cosine with the layer before, mean over the prompt's tokens; NaN for the first layer",
        entry=_LAYERS,
    ),
    PromptColumn(
        name="prompt_basin",
        shape=("L", "H"),
        definition="basin score: weight on the prompt's middle third over that of a uniform row",
        entry=_BASIN,
    ),
    PromptColumn(
        name="prompt_connection_index",
        shape=("L", "H", "8"),
        unit="",
        dtype="int32",
        lowest=-1.0,
        definition="the tokens that a head of the last one attends to most; -1 where it sees fewer",
        entry=_CONNECTIONS,
    ),
    PromptColumn(
        name="prompt_connection_weight",
        shape=("L", "H", "8"),
        highest=1.0,
        definition="the weight on each of them",
        entry=_CONNECTIONS,
    ),
)
"""In the order of the table of columns."""

LEAVE_OUT: Final = ("prompt_connection_weight", "prompt_connection_index")
"""Columns that run data are left without where they are too large, before all others."""

ABSENT: Final[Mapping[str, str]] = {
    "prompt_surprisal": "how surprising the prompt's tokens are",
    "prompt_layer_transformation": "what the layers do to the prompt",
    "prompt_basin": "the basin scores",
    "prompt_connections": "the largest attention weights of the prompt's last token",
}
"""Part of the prompt analysis, as `absent` names it -> what is not there."""
