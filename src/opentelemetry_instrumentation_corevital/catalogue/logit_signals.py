"""The signals of the next-token distribution: one number per step."""

from typing import Final

from . import signal_entries as entries
from .signal import PanelLine, Signal, StepField, Summary, Timeline

_BITS: Final = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0)

SIGNALS: Final = (
    Signal(
        name="entropy",
        family="logits",
        shape="step",
        unit="bit",
        definition="-sum p log2 p of the raw next-token distribution",
        source="Shannon 1948",
        lowest=0.0,
        highest=64.0,  # no vocabulary has more than 2^64 tokens
        entry=entries.ENTROPY,
        summaries=(
            Summary(statistic="mean", meaning="mean entropy over steps"),
            Summary(statistic="max", meaning="largest entropy of a step"),
            Summary(statistic="slope", unit="bit/{step}", meaning="least-squares slope of the entropy over steps"),
        ),
        series="entropy over steps",
        step=StepField(meaning="entropy of the raw next-token distribution", telling="max", heading="entropy"),
        gauge="mean entropy of the last run",
        histogram="entropy of steps",
        buckets=_BITS,
        timeline=Timeline(rank=20, title="entropy of the next token", colours="high"),
        line=PanelLine(title="entropy", bars=True, figures=(("mean", ".2f"), ("max", ".2f"), ("slope", "+.3f"))),
        profile=10,
    ),
    Signal(
        name="surprisal",
        family="logits",
        shape="step",
        unit="bit",
        definition="-log2 p of the chosen token",
        lowest=0.0,
        entry=entries.SURPRISAL,
        summaries=(
            Summary(statistic="mean", meaning="mean surprisal over steps"),
            Summary(statistic="sum", meaning="summed surprisal: -log2 of the answer's probability"),
            Summary(statistic="max", meaning="largest surprisal of a step"),
        ),
        series="surprisal over steps",
        step=StepField(meaning="-log2 of the chosen token's probability", telling="max", heading="surprisal"),
        gauge="mean surprisal of the last run",
        histogram="surprisal of steps",
        buckets=_BITS,
        timeline=Timeline(rank=10, title="surprisal of the chosen token", colours="high"),
        line=PanelLine(title="surprisal", figures=(("mean", ".2f"), ("max", ".2f"), ("sum", ".1f"))),
        profile=20,
    ),
    Signal(
        name="margin",
        family="logits",
        shape="step",
        definition="p(1st) - p(2nd)",
        lowest=0.0,
        highest=1.0,
        migrated_highest=1e4,  # a difference of logits
        entry=entries.MARGIN,
        summaries=(
            Summary(statistic="mean", meaning="mean margin over steps"),
            Summary(statistic="min", meaning="smallest margin of a step"),
        ),
        series="margin over steps",
        step=StepField(meaning="probability of the first token less the second's", telling="min", heading="margin"),
        gauge="mean margin of the last run",
        timeline=Timeline(rank=30, title="margin between the two likeliest tokens", colours="low"),
        line=PanelLine(title="margin", figures=(("mean", ".3f"), ("min", ".3f"))),
        profile=30,
    ),
    Signal(
        name="top1_prob",
        family="logits",
        shape="step",
        definition="p(1st)",
        lowest=0.0,
        highest=1.0,
        entry=entries.LARGEST,
        step=StepField(meaning="probability of the most probable token", heading="top-1"),
        timeline=Timeline(rank=40, title="probability of the likeliest token"),
        profile=40,
    ),
    Signal(
        name="topk_mass",
        family="logits",
        shape="step",
        definition="sum of the 10 largest p",
        lowest=0.0,
        highest=1.0,
        entry=entries.LARGEST,
        step=StepField(meaning="summed probability of the 10 most probable", detail=True),
        profile=50,
    ),
    *(
        Signal(
            name=name,
            family="logits",
            shape="step",
            unit="",
            definition=f"raw logits that are {what}",
            lowest=0.0,
            dtype="int32",
            stored="int32",
            entry=entries.LOGIT_FAULTS,
        )
        for name, what in (("logits_nan", "NaN"), ("logits_posinf", "+Inf"), ("logits_neginf", "-Inf"))
    ),
)
