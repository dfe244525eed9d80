"""The zoo's runs as CoreVital would have recorded them, for its own judges.

Of most runs the zoo keeps layers as windows of 8 steps: median, largest value and its place. Their steps are made such
that the windows come out again, number for number: every step of a window has its median, the place of the largest has
the largest. Derived signals (`log2_gain`, say) are kept as windows of their own, and are given to the judges as
columns: a signal that a run has is not derived again. What needs more than windows sees less of such a run: a norm
against the run's other steps (`norm_jump`), the step within a window, and the steps at which a layer's output was
exactly zero (a padding token's embedding is), which have no transformation.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zoo import container
from zoo.container import WINDOW
from zoo.shard import LAYER_COLUMNS, WINDOW_COLUMNS
from zoo.store import Windows, ZooRun

from opentelemetry_instrumentation_corevital.baselines.profiled_signals import layer_signals, step_signals
from opentelemetry_instrumentation_corevital.run import FINISH_REASONS, Decoding, ModelInfo, Run

Columns = dict[str, NDArray[Any]]

NOT_KEPT: Final = "not kept in the zoo"
_OF_STATES: Final = ("log2_norm", "log2_gain", "layer_transformation")
_BETWEEN_LAYERS: Final = ("log2_gain", "layer_transformation")
_CHANGE: Final = "attention_entropy_change"


def model_of(known: Mapping[str, Any]) -> ModelInfo:
    """Return what the runs' model is, from `zoo.store.about`."""
    return ModelInfo(
        name=f"zoo/{known['model']['name']}",
        architecture=known["model"]["architecture"],
        dtype=known["dtype"],
        layer_count=known["layers"],
        head_count=known["heads"],
        attention_implementation=known["attention"],
        vocabulary_size=known["model"]["vocabulary_size"],
    )


def as_run(one: ZooRun, model: ModelInfo) -> Run:
    """Return a run; of one whose layers were kept as windows with steps that have these windows."""
    columns: Columns = {**one.columns, **{name: one.counts[name] for name in _LOGITS}}
    if one.layers:
        columns |= {name: values for name, values in one.layers.items() if name in LAYER_COLUMNS}
    if one.layers or one.kept_windows:
        columns |= {name: one.counts[name] for name in _STATES}
    if one.kept_windows:
        columns |= rebuilt(one.kept_windows, columns)
    run = run_of_tokens(one.tokens, model, one.end)
    run.columns = columns
    run.input_tokens = one.input_tokens
    run.decoding = Decoding(
        strategy="sample" if one.temperature else "greedy_search",
        max_new_tokens=one.limit,
        temperature=one.temperature or None,
    )
    if not (one.layers or one.kept_windows):
        run.absent |= {"hidden_states": NOT_KEPT, "attention": NOT_KEPT}
    return run


_LOGITS: Final = ("logits_nan", "logits_posinf", "logits_neginf")
_STATES: Final = ("hidden_nan", "hidden_inf")


def run_of_tokens(tokens: NDArray[np.int32], model: ModelInfo, end: str = "length") -> Run:
    """Return a run of which nothing but its tokens and its end is known."""
    reason: Any = end or None
    return Run(
        model=model,
        decoding=Decoding(),
        start_ns=0,
        end_ns=1,
        tokens=tokens,
        stop_reason=reason,
        finish_reason=FINISH_REASONS.get(reason),
    )


def windows_of(run: Run) -> dict[str, Windows]:
    """Return the windows of a run that has every step, as the zoo would have kept them."""
    found = layer_signals(run, WINDOW_COLUMNS)
    return {name: Windows(*container.windows(values)) for name, values in found.items()}


def seen_as_windows(run: Run) -> Run:
    """Return a run that has every step as it is where only its windows were kept."""
    kept = {name: values for name, values in run.columns.items() if name not in LAYER_COLUMNS}
    kept |= step_signals(run)
    other = run_of_tokens(run.tokens, run.model, run.stop_reason or "")
    other.decoding, other.input_tokens = run.decoding, run.input_tokens
    other.columns = kept | rebuilt(windows_of(run), kept)
    return other


def rebuilt(kept: Mapping[str, Windows], columns: Columns) -> Columns:
    """Return columns [steps, layers] whose windows are those that were kept; none of a run without a window.

    Args:
        kept: windows by signal.
        columns: what was kept of every step, which says where a layer had no number.
    """
    bad = (columns["hidden_nan"] > 0) | (columns["hidden_inf"] > 0)
    if len(bad) <= WINDOW:
        return {}
    found = {name: _steps(windows, _missing(name, bad, columns), len(bad)) for name, windows in kept.items()}
    if "log2_norm" in found:
        found["hidden_l2_norm"] = np.exp2(found["log2_norm"])
    return found


def _missing(name: str, bad: NDArray[np.bool_], columns: Columns) -> NDArray[np.bool_]:
    """Return where a signal has no number, as far as other columns say so [steps, layers].

    Args:
        name: of the signal.
        bad: where a layer's output was not finite [steps, layers].
        columns: of every step.
    """
    before = np.zeros_like(bad)
    before[:, 1:] = bad[:, :-1]
    if name in _OF_STATES:
        return bad | before if name in _BETWEEN_LAYERS else bad
    if name == _CHANGE:
        return before | (np.arange(len(bad)) < 2 * WINDOW)[:, None]
    if name == "collapsed_head_rate" and "collapsed_share" in columns:
        return before | np.isnan(columns["collapsed_share"])[:, None]
    return before


def _steps(windows: Windows, missing: NDArray[np.bool_], steps: int) -> NDArray[np.float32]:
    """Return the numbers of a signal [steps, layers].

    The first step and those after the last window, which count in no window, have the number next to them.
    """
    count, layers = windows.median.shape
    place = windows.place[:, None].astype(np.intp)
    some = place < WINDOW
    at = np.where(some, place, 0)
    known = ~missing[1 : 1 + count * WINDOW].reshape(count, WINDOW, layers)
    np.put_along_axis(known, at, some, 1)
    median, largest = windows.median[:, None], windows.largest[:, None]
    # The median of two numbers is their mean, so the other one is not the median.
    usual = np.where(known.sum(1, keepdims=True) == 2, 2 * median - largest, median)
    values = np.repeat(usual, WINDOW, axis=1)
    np.put_along_axis(values, at, largest, 1)
    values[~known] = np.nan
    inside = values.reshape(count * WINDOW, layers)
    tail = np.repeat(windows.median[-1:], steps - 1 - len(inside), axis=0)
    whole = np.concatenate([windows.median[:1], inside, tail]).astype(np.float32)
    outside = np.r_[0, 1 + len(inside) : steps]
    whole[outside] = np.where(missing[outside], np.nan, whole[outside])
    return whole
