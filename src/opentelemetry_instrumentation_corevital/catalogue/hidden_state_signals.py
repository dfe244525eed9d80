"""The signals of the layers' outputs at the last position: one number per step and layer, and one per step."""

from typing import Final

from . import signal_entries as entries
from .signal import HeatMap, LayerArray, PanelLine, Signal, StepField, Timeline

_STATE: Final = "the layer's output at the last position, before the final norm"

SIGNALS: Final = (
    Signal(
        name="hidden_mean",
        family="hidden",
        shape="layer",
        definition=f"{_STATE}: mean",
        dropped=140,
        entry=entries.HIDDEN,
    ),
    Signal(
        name="hidden_std",
        family="hidden",
        shape="layer",
        definition=f"{_STATE}: population standard deviation",
        lowest=0.0,
        dropped=150,
        entry=entries.HIDDEN,
    ),
    Signal(
        name="hidden_l2_norm",
        family="hidden",
        shape="layer",
        definition=f"{_STATE}: L2 norm",
        lowest=0.0,
        dropped=250,
        entry=entries.HIDDEN,
        word="l2_norm",
        layer_array=LayerArray(
            heading="L2 norm", meaning="mean over steps of the L2 norm of the layer's last position"
        ),
        gauge="mean L2 norm of a layer's output in the last run",
        heat_map=HeatMap(rank=10, title="L2 norm over the layer's own median", relative=True, default=True),
        line=PanelLine(title="layer norms", bars=True),
    ),
    Signal(
        name="hidden_max_abs",
        family="hidden",
        shape="layer",
        definition=f"{_STATE}: largest absolute value",
        lowest=0.0,
        dropped=190,
        entry=entries.HIDDEN,
        word="max_abs",
        layer_array=LayerArray(
            statistic="max",
            heading="max |x|",
            meaning="largest absolute value of the layer's last position in any step",
        ),
        heat_map=HeatMap(rank=20, title="largest absolute value over the layer's own median", relative=True),
    ),
    *(
        Signal(
            name=name,
            family="hidden",
            shape="layer",
            unit="",
            definition=f"{_STATE}: values that are {what}",
            lowest=0.0,
            stored="int32",
            dropped=dropped,
            entry=entries.HIDDEN_FAULTS,
        )
        for name, what, dropped in (("hidden_nan", "NaN", 260), ("hidden_inf", "infinite", 270))
    ),
    Signal(
        name="layer_transformation",
        family="hidden",
        shape="layer",
        definition="1 - cosine with the layer before; NaN for the first",
        lowest=0.0,
        highest=2.0,
        of_neighbours=True,
        stored="float16",
        dropped=160,
        entry=entries.TRANSFORMATION,
        heat_map=HeatMap(rank=90, title="1 - cosine with the layer before"),
        profile=30,
    ),
    Signal(
        name="hidden_cosine",
        family="hidden",
        shape="step",
        definition="cosine of the last layer's output with the step's before",
        lowest=-1.0,
        highest=1.0,
        from_step=1,
        entry=entries.COSINE,
        series="cosine of the last layer's output with the step before's",
        step=StepField(meaning="cosine of the last layer's output with the step before's", detail=True),
        timeline=Timeline(rank=50, title="cosine of the last layer's output with that of the step before"),
        profile=60,
    ),
)
