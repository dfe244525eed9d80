"""Every number that a judgement compares with, in one place.

They are starting rules. `docs/judgement.md` says which of them have been measured, on what, and with what result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from .._internal.short_repr import short_repr
from ..baselines.answer_model import AnswerModel
from ..baselines.profile import Profile
from ..baselines.run_numbers import RunLimit


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Numbers of the judgements."""

    high_entropy_bits: float | None = None
    """A step whose entropy is above it counts as high; None: one above what is usual for the model, else a rough number
    (`usual.py`)."""

    high_entropy_share: float = 0.3
    """A run with a larger fraction of high-entropy steps is warned about, where `high_entropy_bits` is given."""

    gram: int = 4
    """Tokens that have to recur together; a changed token breaks as many n-grams."""

    max_period: int = 256
    """Tokens after which an n-gram that did not recur is forgotten: the longest period that is found."""

    repetition_window: int = 8
    """Of so many last tokens ..."""

    repetition_recurring: int = 4
    """... so many have to recur for `repetition_risk`. An exact second copy does so with its 7th token."""

    loop_window: int = 24
    """Of so many last tokens ..."""

    loop_recurring: int = 14
    """... so many have to be in a third or later copy for a loop ..."""

    loop_tokens: int = 32
    """... and all copies have to span so many: three short copies alone are common in lists and tables."""

    window: int = 8
    """Steps over which early-warning signals average."""

    base_steps: int = 16
    """Steps before the window that a signal needs to compare with."""

    entropy_rise_bits: float = 1.5
    """Least rise of the windowed entropy over the run's earlier mean that `entropy_rising` needs where the model has no
    baseline."""

    entropy_rise_deviations: float = 2.0
    """Rise of the windowed entropy over the run's earlier mean that `entropy_rising` needs, in standard deviations of
    the run's earlier steps, where the model has a baseline ..."""

    rough_entropy_rise: float = 0.36
    """... and where it has none: as a fraction of the way from the earlier mean to the largest entropy that the model's
    vocabulary allows."""

    rough_entropy: float = 0.53
    """Fraction of the largest entropy that the model's vocabulary allows: where nothing is known of the model, a run is
    warned about if nearly all of its steps are above it."""

    margin_collapsed: float = 0.18
    """Windowed mean margin, as a fraction of the windowed mean top-1 probability, below which `margin_collapsing` warns
    where the model has no baseline."""

    confidence_share: float = 0.5
    """Fraction of the run's earlier mean top-1 probability below which `confidence_drop` warns, where the model has a
    baseline ..."""

    rough_confidence: float = 0.25
    """... and where it has none."""

    norm_jump: float = 1.8
    """Times, or one over so many times, its geometric mean over the run that a middle layer's norm has to be for
    `norm_jump`."""

    collapse_rise: float = 0.15
    """How far the fraction of collapsed heads has to be above the model's usual one for attention to have collapsed."""

    collapse_warning: float = 0.07
    """Rise of that fraction over the run's earlier steps that `attention_collapsing` warns of ..."""

    collapse_deviations: float = 4.0
    """... which is so many of their standard deviations, too."""

    collapse_steps: int = 4
    """Sampled steps of attention over which the fraction is averaged then."""

    norm_steps: int = 16
    """Steps after the first that `norm_jump` needs."""

    profile: Profile | None = None
    """What is usual for the run's model, where that is known."""

    context_excess: float = 1.6
    """How far out a window's attention to the prompt has to be for `context_loss`, in the same units."""

    confusion_steps: int = 4
    """Steps of 8 in a row at which the model is confused and confident that `confident_confusion` needs ..."""

    confusion_margin: float = 0.3
    """... and the margin from which it is confident."""

    degenerating_entropy_bits: float = 1.5
    """Rise of the mean entropy at the end of the run that `degenerating_generation` needs ..."""

    degenerating_surprisal_bits: float = 1.0
    """... the rise of the mean surprisal ..."""

    degenerating_margin_share: float = 0.5
    """... and the fraction of the earlier mean margin below which the margin has to be."""

    risk_medium: float = 0.3
    """Risk from which the level is `medium`."""

    risk_high: float = 0.7
    """Risk from which the level is `high`."""

    settled_copies: float = 2.8
    """Copies, all alike, after which a loop can have settled, so that policies act on it ..."""

    settled_bits: float = 10.0
    """... if its last copy's surprisals sum up to at most so much ..."""

    short_period: int = 4
    """... and, where its period is at most so many tokens, ..."""

    short_tokens: int = 96
    """... it spans so many, ..."""

    quoted: float = 0.3
    """... and, where this fraction of a copy stands in the prompt, ..."""

    quoted_tokens: int = 128
    """... so many."""

    alike_tokens: int = 16
    """A copy is alike where so many tokens in a row, and a whole period, are those of an earlier place ..."""

    alike_lasts: int = 64
    """... and counts for a loop for so many tokens."""

    loop_copies: tuple[int, int] = (48, 200)
    """Where no copy was alike the last two decide, which count as so many tokens at least, and at most ..."""

    unlike_recurring: int = 22
    """... and are a loop if so many of `loop_window` tokens are in a third or later copy (in records of structured text
    fewer are, since their values differ) ..."""

    unlike_new: float = 0.2
    """... and at most this fraction of the two copies is new, of a whole period nothing."""

    change_distance: int = 16
    """Or if nothing of them is new, and each differs from the one a period before in one place; a place counts for so
    many tokens at least."""

    different_tokens: int = 10
    """Either way the two copies have so many different tokens: of fewer (yes and no, dice, a matrix of 0 and 1) all
    groups recur by chance."""

    loop_pause: int = 16
    """What is asked of `loop_window` tokens may have been so many tokens ago: a change breaks a few of them."""

    limit: RunLimit | None = None
    """Beyond which a run has to be before a layer of it is out; None: not enough is known of the model's runs."""

    answer: AnswerModel | None = None
    """Of the answer risk, fitted on labelled runs of the run's model; None: the one that CoreVital comes with."""

    __repr__ = short_repr

    def __getstate__(self) -> dict[str, Any]:
        """Return the numbers by name, so that a later version can read them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __setstate__(self, state: Mapping[str, Any] | Sequence[Any]) -> None:
        """Take what a pickle holds; what one of an earlier version lacks is as the rules have it."""
        given = state if isinstance(state, Mapping) else dict(zip(_IN_PICKLES_OF_0_1, state, strict=False))
        for each in fields(self):
            object.__setattr__(self, each.name, given.get(each.name, each.default))


_IN_PICKLES_OF_0_1: Final = (
    "high_entropy_bits",
    "high_entropy_share",
    "gram",
    "max_period",
    "repetition_window",
    "repetition_recurring",
    "loop_window",
    "loop_recurring",
    "loop_tokens",
    "window",
    "base_steps",
    "entropy_rise_bits",
    "entropy_rise_deviations",
    "margin_collapsed",
    "confidence_share",
    "norm_jump",
    "collapse_rate",
    "collapse_rise",
    "collapse_warning",
    "collapse_steps",
    "norm_outlier",
    "norm_change",
    "norm_steps",
    "layer_collapse_rise",
    "profile",
    "window_excess",
    "change_excess",
    "step_excess",
    "context_excess",
    "confusion_steps",
    "confusion_margin",
    "degenerating_entropy_bits",
    "degenerating_surprisal_bits",
    "degenerating_margin_share",
    "risk_medium",
    "risk_high",
    "settled_copies",
    "settled_bits",
    "short_period",
    "short_tokens",
    "quoted",
    "quoted_tokens",
)
"""The numbers in the order in which earlier versions pickled them, without names."""

DEFAULT = Thresholds()
