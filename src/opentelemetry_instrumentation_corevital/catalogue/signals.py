"""Every signal and its family, in the order of the signal row, and how to look them up.

The order of the declarations is that of the numbers in a row, of the columns of a run and of docs/metrics.md.
"""

from collections.abc import Iterable

from . import attention_signals, derived_signals, hidden_state_signals, logit_signals, router_signals
from .signal import Family, HeatMap, Shape, Signal, Timeline

FAMILIES: tuple[Family, ...] = (
    Family(name="logits", title="Logits: one number per step"),
    Family(
        name="faults",
        title="",
        group="hidden_states",
        in_row=False,
        index="index",
        index_meaning="layers that were measured, in the order of `nonfinite`; absent: all layers",
    ),
    Family(
        name="hidden", title="Hidden states: one number per step and layer", group="hidden_states", index="norm_index"
    ),
    Family(
        name="router",
        title="Routers of experts: one number per step and layer that has one",
        group="router",
        some_models=True,
        index="router_index",
    ),
    Family(
        name="attention",
        title="Attention: one number per step and layer, over the heads",
        intro="Of the last query's row, recomputed from the query and the cached keys under the model's own mask, "
        "window, scaling and\nsoft-cap; the model keeps its SDPA or flash attention. A key that padding or a sliding "
        "window hides counts nowhere.",
        group="attention",
        every_step=False,
        index="attention_index",
    ),
    Family(name="cross", title="", group="attention", every_step=False),
    Family(name="heads", title="", group="attention", every_step=False),
    Family(name="derived", title="", in_row=False),
)
"""In the order of their blocks in the row, and of their layer arrays on the span."""

SIGNALS: tuple[Signal, ...] = (
    *logit_signals.SIGNALS,
    *hidden_state_signals.SIGNALS,
    *router_signals.SIGNALS,
    *attention_signals.SELF,
    *attention_signals.CROSS,
    *attention_signals.HEADS,
    *derived_signals.SIGNALS,
)


def family(name: str) -> Family:
    """Return a family by its name.

    Raises:
        KeyError: if there is none.
    """
    return {each.name: each for each in FAMILIES}[name]


def signal(name: str) -> Signal:
    """Return a signal by its name.

    Raises:
        KeyError: if there is none.
    """
    return {each.name: each for each in SIGNALS}[name]


def of_family(name: str, *shapes: Shape) -> tuple[Signal, ...]:
    """Return a family's signals of these shapes, or all of them, in their order."""
    return tuple(each for each in SIGNALS if each.family == name and (not shapes or each.shape in shapes))


def names(signals: Iterable[Signal]) -> tuple[str, ...]:
    """Return the names of signals."""
    return tuple(each.name for each in signals)


def in_row() -> tuple[Signal, ...]:
    """Return the signals that have a column in `Run.columns`."""
    measured = {each.name for each in FAMILIES if each.in_row}
    return tuple(each for each in SIGNALS if each.family in measured)


def layered() -> tuple[Family, ...]:
    """Return the families that a run may have or lack, in the order of their blocks in the row: all but the logits'."""
    return tuple(each for each in FAMILIES if each.in_row and each.name != "logits")


def index_name(family: Family) -> str:
    """Return the span attribute that names the layers of a family's layer arrays."""
    return f"corevital.layers.{family.index}"


def layer_arrays(family: Family) -> tuple[Signal, ...]:
    """Return the signals of a family that have a layer array."""
    return tuple(each for each in SIGNALS if each.family == family.name and each.layer_array is not None)


def index_meaning(family: Family) -> str:
    """Return the meaning of the attribute that names the layers of a family's layer arrays."""
    words = [f"`{each.short}`" for each in layer_arrays(family)]
    listed = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return family.index_meaning or f"layers of {listed}; absent: all layers"


def with_summaries() -> tuple[Signal, ...]:
    """Return the signals that have numbers of the whole run on the span."""
    return tuple(each for each in SIGNALS if each.summaries)


def with_series() -> tuple[Signal, ...]:
    """Return the signals whose course over the steps is on the span."""
    return tuple(each for each in SIGNALS if each.series)


def step_fields(*, full: bool) -> tuple[Signal, ...]:
    """Return the signals that a step's event has: of a run that is reported in full, or of every run."""
    return tuple(each for each in SIGNALS if each.step is not None and (full or not each.step.detail))


def with_gauge(shape: Shape) -> tuple[Signal, ...]:
    """Return the signals that have a gauge of the last run's mean."""
    return tuple(each for each in SIGNALS if each.gauge and each.shape == shape)


def with_histogram() -> tuple[Signal, ...]:
    """Return the signals that have a histogram of all steps."""
    return tuple(each for each in SIGNALS if each.histogram)


def heat_maps() -> tuple[tuple[Signal, HeatMap], ...]:
    """Return the signals that have a heat map, in the order of the list of maps."""
    found = [(each, each.heat_map) for each in SIGNALS if each.heat_map is not None]
    return tuple(sorted(found, key=lambda pair: pair[1].rank))


def timelines() -> tuple[tuple[Signal, Timeline], ...]:
    """Return the signals that have a line on a run's page, in the order of the lines."""
    found = [(each, each.timeline) for each in SIGNALS if each.timeline is not None]
    return tuple(sorted(found, key=lambda pair: pair[1].rank))


def of_profile(shape: Shape) -> tuple[Signal, ...]:
    """Return the signals that a baseline profile knows, in its order."""
    found = [(each, each.profile) for each in SIGNALS if each.profile is not None and each.shape == shape]
    return tuple(each for each, _ in sorted(found, key=lambda pair: pair[1]))


def leave_out() -> tuple[str, ...]:
    """Return the columns that run data are left without where they are too large, in the order in which they go."""
    found = [(each.name, each.dropped) for each in SIGNALS if each.dropped is not None]
    return tuple(name for name, _ in sorted(found, key=lambda pair: pair[1]))
