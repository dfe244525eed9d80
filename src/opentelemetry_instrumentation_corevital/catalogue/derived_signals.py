"""What is made of other columns once a run is over: in no row and no run data, but carried or known to a profile."""

from typing import Final

from .signal import LayerArray, Signal

SIGNALS: Final = (
    Signal(
        name="nonfinite",
        family="faults",
        shape="layer",
        unit="",
        definition="`hidden_nan` + `hidden_inf`, over all steps",
        lowest=0.0,
        layer_array=LayerArray(
            statistic="sum",
            integers=True,
            meaning="NaN and infinities of the layer's last position, over all steps",
        ),
    ),
    Signal(
        name="prompt_focus",
        family="derived",
        shape="step",
        definition="attention to the prompt over what attention without a preference would give it; mean over layers",
        lowest=0.0,
        profile=70,
    ),
    Signal(
        name="collapsed_share",
        family="derived",
        shape="step",
        definition="`collapsed_head_rate`, mean over layers",
        lowest=0.0,
        highest=1.0,
        profile=80,
    ),
    Signal(
        name="log2_norm",
        family="derived",
        shape="layer",
        definition="log2 of `hidden_l2_norm`",
        profile=10,
    ),
    Signal(
        name="log2_gain",
        family="derived",
        shape="layer",
        definition="the same less that of the layer before",
        profile=20,
    ),
    Signal(
        name="attention_entropy_change",
        family="derived",
        shape="layer",
        definition="how far `attention_entropy`'s mean over a window of steps is from that over the window before",
        lowest=0.0,
        highest=1.0,
        profile=50,
    ),
)
