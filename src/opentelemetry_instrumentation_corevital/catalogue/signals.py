"""Every signal and its family, in the order of the vitals row, and how to look them up.

The order of the declarations is that of the numbers in a row, of the columns of a run and of docs/metrics.md.
"""

from collections.abc import Iterable

from . import attention, derived, hidden, logits
from .signal import Family, Shape, Signal

FAMILIES: tuple[Family, ...] = (
    Family(name="logits", title="Logits: one number per step"),
    Family(
        name="hidden", title="Hidden states: one number per step and layer", group="hidden_states", index="norm_index"
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
    Family(
        name="faults",
        title="",
        group="hidden_states",
        in_row=False,
        index="index",
        index_meaning="layers that were measured, in the order of `nonfinite`; absent: all layers",
    ),
    Family(name="derived", title="", in_row=False),
)
"""In the order of their blocks in the row."""

SIGNALS: tuple[Signal, ...] = (
    *logits.SIGNALS,
    *hidden.SIGNALS,
    *attention.SELF,
    *attention.CROSS,
    *attention.HEADS,
    *derived.SIGNALS,
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
