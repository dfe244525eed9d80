"""The signals of the routers of mixture-of-experts layers: one number per step and layer that has one."""

from typing import Final

from .signal import HeatMap, LayerArray, Signal, SignalEntry, StepField

_ENTRY: Final = SignalEntry(
    definition="-sum p log p over all experts, divided by log(experts), and the largest p, of p = softmax over the "
    "router's logits at the last position, before it chooses, corrects or renormalises. Also of routers that gate by "
    "sigmoids (DeepSeek-V3): there p is not what the experts are weighted with. Layers without a router have none",
    default="every step, all layers that have a router; models without experts: none; absent in compiled graphs, and "
    "with the reason where the routers of a model with experts cannot be told",
    evidence="none",
    measured="nothing rests on them",
    stands_out="an entropy near 0: the layer sends everything to the same expert; near 1: it does not distinguish "
    "them. Both are usual for some layers of every model; a course that changes in a run is worth a look",
)

SIGNALS: Final = (
    Signal(
        name="router_entropy",
        family="router",
        shape="layer",
        definition="-sum p log p / log(experts) of the softmax over all experts' router logits at the last position; "
        "NaN for layers without a router",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=204,
        entry=_ENTRY,
        layer_array=LayerArray(
            heading="router entropy", meaning="mean over steps of the normalised entropy of the layer's router"
        ),
        step=StepField(meaning="mean over layers of the routers' normalised entropy", detail=True),
        gauge="mean entropy of a layer's router in the last run",
        heat_map=HeatMap(rank=100, title="router entropy", default=True),
    ),
    Signal(
        name="router_top1_prob",
        family="router",
        shape="layer",
        definition="its largest p",
        lowest=0.0,
        highest=1.0,
        stored="float16",
        dropped=202,
        entry=_ENTRY,
        layer_array=LayerArray(
            heading="router top-1", meaning="mean over steps of the largest probability of the layer's router"
        ),
        heat_map=HeatMap(rank=110, title="largest probability of the router"),
    ),
)
