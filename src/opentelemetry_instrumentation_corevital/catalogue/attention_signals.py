"""The signals of attention: of each layer's row of the last query, over its heads."""

from typing import Final

from . import signal_entries as entries
from .signal import HeatMap, LayerArray, PanelLine, Signal, SignalEntry, StepField

_ENTROPY: Final = "-sum w log w / log(visible keys) of the last query's row"
_CROSS_ENTROPY: Final = "encoder-decoder models: the same of the row over the encoder's keys"

SELF: Final = (
    Signal(
        name="attention_entropy",
        family="attention",
        shape="layer",
        definition=f"{_ENTROPY}: mean over heads",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=240,
        entry=entries.ATTENTION_ENTROPY,
        layer_array=LayerArray(
            heading="attention entropy", meaning="mean over steps and heads of the normalised entropy"
        ),
        step=StepField(meaning="mean over layers and heads of the normalised attention entropy", detail=True),
        gauge="mean attention entropy of a layer in the last run",
        heat_map=HeatMap(
            rank=30,
            title="attention entropy, mean over heads",
            default=True,
            migrated=("report.attention_summary.entropy_mean", "attention entropy in nats, mean over heads"),
        ),
        line=PanelLine(title="attention", bars=True),
        profile=40,
    ),
    Signal(
        name="attention_entropy_std",
        family="attention",
        shape="layer",
        definition=f"{_ENTROPY}: standard deviation over heads",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=20,
        entry=entries.ATTENTION_ENTROPY,
        layer_array=LayerArray(meaning="mean over steps of its standard deviation over heads"),
        profile=60,
    ),
    Signal(
        name="attention_entropy_min",
        family="attention",
        shape="layer",
        definition=f"{_ENTROPY}: smallest over heads",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=30,
        entry=entries.ATTENTION_ENTROPY,
    ),
    Signal(
        name="attention_entropy_max",
        family="attention",
        shape="layer",
        definition=f"{_ENTROPY}: largest over heads",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=40,
        entry=entries.ATTENTION_ENTROPY,
    ),
    Signal(
        name="attention_max_weight",
        family="attention",
        shape="layer",
        definition="largest weight of a row: mean over heads",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=180,
        entry=entries.MAX_WEIGHT,
        heat_map=HeatMap(rank=50, title="largest attention weight, mean over heads"),
        profile=70,
    ),
    Signal(
        name="attention_max_weight_max",
        family="attention",
        shape="layer",
        definition="largest weight of a row: largest over heads",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=50,
        entry=entries.MAX_WEIGHT,
    ),
    Signal(
        name="collapsed_head_rate",
        family="attention",
        shape="layer",
        definition="fraction of heads whose entropy, without the first 4 keys and renormalised, is below 0.03; NaN "
        "below 8 keys beside those",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=230,
        entry=entries.HEAD_RATES,
        layer_array=LayerArray(
            optional=True, heading="collapsed heads", meaning="mean over steps of the share of collapsed heads"
        ),
        gauge="mean share of collapsed heads of a layer in the last run",
        heat_map=HeatMap(rank=40, title="share of collapsed heads", default=True),
        profile=90,
    ),
    Signal(
        name="focused_head_rate",
        family="attention",
        shape="layer",
        definition="fraction of heads with a weight above 0.90",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=170,
        entry=entries.HEAD_RATES,
    ),
    Signal(
        name="attention_mass_sink",
        family="attention",
        shape="layer",
        definition="weight on the first 4 visible keys; mean over heads. The three masses sum to 1",
        source="Xiao et al. 2023, arXiv 2309.17453",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=100,
        entry=entries.MASSES,
        heat_map=HeatMap(rank=60, title="attention on the sinks"),
        profile=80,
    ),
    Signal(
        name="attention_mass_prompt",
        family="attention",
        shape="layer",
        definition="weight on the rest of the prompt; mean over heads",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=110,
        entry=entries.MASSES,
        heat_map=HeatMap(rank=70, title="attention on the prompt"),
    ),
    Signal(
        name="attention_mass_generated",
        family="attention",
        shape="layer",
        definition="weight on generated tokens; mean over heads",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=120,
        entry=entries.MASSES,
        heat_map=HeatMap(rank=80, title="attention on generated tokens"),
    ),
    Signal(
        name="attention_middle",
        family="attention",
        shape="layer",
        definition="weight on the prompt's middle third over what a uniform row has there; mean over heads",
        lowest=0.0,
        stored="float16",
        dropped=130,
        entry=entries.PLACES,
    ),
    Signal(
        name="attention_previous",
        family="attention",
        shape="layer",
        definition="weight on the key before the query's own; mean over heads",
        source="RAUQ, arXiv 2505.20045",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=200,
        entry=entries.PLACES,
    ),
)


def _cross(name: str, definition: str, dropped: int, entry: SignalEntry = entries.CROSS) -> Signal:
    """Return a signal of cross-attention: what the self-attention's of the same name is, over the encoder's keys."""
    return Signal(
        name=f"cross_{name}",
        family="cross",
        shape="layer",
        definition=definition,
        number=name,
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=dropped,
        entry=entry,
    )


CROSS: Final = (
    _cross("attention_entropy", f"{_CROSS_ENTROPY}: mean over heads", 210),
    _cross("attention_entropy_std", f"{_CROSS_ENTROPY}: standard deviation over heads", 60),
    _cross("attention_entropy_min", f"{_CROSS_ENTROPY}: smallest over heads", 70),
    _cross("attention_entropy_max", f"{_CROSS_ENTROPY}: largest over heads", 80),
    _cross(
        "attention_max_weight", "encoder-decoder models: largest weight on the encoder's keys: mean over heads", 220
    ),
    _cross(
        "attention_max_weight_max",
        "encoder-decoder models: largest weight on the encoder's keys: largest over heads",
        90,
    ),
)

HEADS: Final = (
    Signal(
        name="attention_previous_heads",
        family="heads",
        shape="head",
        definition="`attention_previous` of every head of the middle third of the layers",
        source="RAUQ, arXiv 2505.20045",
        number="attention_previous",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=10,
        entry=entries.PLACES,
    ),
)
