"""Verdicts that are no flags, as attributes and columns: what they are called, hold and mean, declared here only."""

from typing import Final

from .definitions import LONG, LONGEST_LINE, LONGEST_TRIGGER, LONGEST_WORD, MOST_LAYERS
from .verdict import Carried

CARRIED: Final[tuple[Carried, ...]] = (
    Carried(
        path="assessment",
        type="string",
        longest=LONGEST_LINE,
        meaning=(
            "the verdict in one short line, no content: level, score and the gravest finding, as `high 0.90: "
            "repetition loop from step 52`; on a call's span that of its worst sequence"
        ),
        role="assessment",
        carriers=("keep",),
    ),
    Carried(
        path="health.high_entropy_steps",
        type="int",
        unit="{step}",
        meaning="steps above the entropy threshold (not a flag)",
        role="health",
        column="high_entropy_steps",
        since=1,
    ),
    Carried(
        path="health.evidence",
        type="string",
        longest=LONG,
        meaning="JSON object: flag -> the numbers that raised it",
        role="health",
    ),
    Carried(
        path="risk.score",
        type="double",
        between=(0.0, 1.0),
        unit="1",
        meaning="risk in [0, 1]; on a call's span the worst",
        role="risk",
        column="risk_score",
        since=1,
        view="RiskScore",
        carriers=("route", "keep"),
    ),
    Carried(
        path="risk.level",
        type="string",
        meaning="`low` < 0.3 <= `medium` < 0.7 <= `high`",
        role="risk",
        column="risk_level",
        since=1,
        view="RiskLevel",
        carriers=("route", "keep"),
    ),
    Carried(
        path="risk.factors",
        type="string[]",
        meaning="what the score is made of, largest first, as `name=contribution`",
        role="risk",
    ),
    Carried(
        path="blame.layers",
        type="int[]",
        between=(0, MOST_LAYERS),
        meaning="layers that stand out, worst first; empty: nobody is blamed",
        role="blame",
        view="BlamedLayers",
    ),
    Carried(
        path="blame.reasons",
        type="string[]",
        meaning="of each of these layers: why, with the numbers that say so",
        role="blame",
    ),
    Carried(
        path="blame.severities",
        type="double[]",
        between=(0.0, 1.0),
        unit="1",
        meaning="of each of them, in (0, 1]",
        role="blame",
    ),
    Carried(
        path="risk.method",
        type="string",
        meaning="`rules`",
        role="risk",
        column="risk_method",
        since=3,
    ),
    Carried(
        path="risk.answer",
        type="double",
        between=(0.0, 1.0),
        unit="1",
        meaning="probability that the answer is wrong; absent outside the support",
        role="answer",
        column="risk_answer",
        since=9,
        view="RiskAnswer",
        carriers=("route", "keep"),
    ),
    Carried(
        path="risk.answer_support",
        type="boolean",
        meaning="whether the run is like those that the answer risk was fitted on",
        role="answer",
    ),
    Carried(
        path="risk.answer_method",
        type="string",
        meaning="the coefficients' name and version: `logistic-1`, or `labels-1` for a model's own",
        role="answer",
    ),
    Carried(
        path="risk.answer_factors",
        type="string[]",
        meaning="what moved the log-odds, farthest first, as `feature=distance`",
        role="answer",
    ),
    Carried(
        path="early_warning.failure_risk",
        type="double",
        between=(0.0, 1.0),
        unit="1",
        meaning="estimated chance at the last step that the run ends in a failure, in [0, 1]",
        role="early_warning",
        column="failure_risk",
        since=1,
    ),
    Carried(
        path="early_warning.signals",
        type="string[]",
        meaning="early-warning signals in the order in which they fired",
        role="early_warning",
    ),
    Carried(
        path="early_warning.first_step",
        type="int",
        unit="{step}",
        meaning="step of the first warning; absent when none fired",
        role="early_warning",
    ),
    Carried(
        path="early_warning.evidence",
        type="string",
        longest=LONG,
        meaning="JSON object: signal -> step, value, threshold",
        role="early_warning",
    ),
    Carried(
        path="compound.signals",
        type="string[]",
        meaning="compound signals that hold, the gravest first",
        role="compound",
    ),
    Carried(
        path="compound.severities",
        type="double[]",
        between=(0.0, 1.0),
        unit="1",
        meaning="of each of them, in (0, 1]: an order, not a probability",
        role="compound",
    ),
    Carried(
        path="compound.evidence",
        type="string",
        longest=LONG,
        meaning="JSON object: compound signal -> the numbers that raised it",
        role="compound",
    ),
    Carried(
        path="fingerprint.vector",
        type="double[]",
        unit="1",
        meaning="how the run behaved: numbers in [0, 1] that can be compared between runs (docs/metrics.md)",
        role="fingerprint",
    ),
    Carried(
        path="fingerprint.version",
        type="string",
        meaning="which components the vector has: `1`, or `1-outside` without layers",
        role="fingerprint",
    ),
    Carried(
        path="fingerprint.prompt_hash",
        type="string",
        meaning="SHA-256 (or HMAC) of the prompt's text, or else of its tokenizer and token ids, hexadecimal",
        role="fingerprint",
        column="prompt_hash",
        since=1,
        view="PromptHash",
    ),
    Carried(
        path="fingerprint.prompt_hash_source",
        type="string",
        meaning="`text`; `decoded`: text that was decoded from the prompt's tokens; `tokens`: tokenizer and token ids",
        role="fingerprint",
        column="prompt_hash_source",
        since=1,
    ),
    Carried(
        path="fingerprint.run_hash",
        type="string",
        meaning="hash of prompt hash, model and generation settings",
        role="fingerprint",
    ),
    Carried(
        path="warnings",
        type="string[]",
        meaning="names of all warnings of the run",
        role="warnings",
        column="warnings",
        since=1,
        view="Warnings",
        carriers=("keep",),
    ),
    Carried(
        path="narrative",
        type="string",
        longest=LONG,
        meaning="two to four sentences about the run, no content",
        role="narrative",
        column="narrative",
        since=1,
        view="Narrative",
        carriers=("keep",),
    ),
    Carried(
        path="stop_reason",
        type="string",
        longest=LONGEST_WORD,
        meaning=(
            "what ended the sequence: `eos`, `stop_string`, `length`, `time`, `criterion` (a stopping criterion of the "
            "caller's), `policy`, `cancelled` or `error`; not on the span of a call with several sequences"
        ),
        role="outcome",
        column="stop_reason",
        since=5,
        view="StopReason",
        carriers=("route", "keep"),
    ),
    Carried(
        path="baseline.source",
        type="string",
        longest=LONGEST_WORD,
        meaning=(
            "where what is usual for the model comes from: `calibrated`, `packaged`, `learned` from its served runs, "
            "or `none`; absent where no judgement asked"
        ),
        role="baseline",
        column="baseline_source",
        since=6,
    ),
    Carried(
        path="baseline.runs",
        type="int",
        unit="{run}",
        meaning="runs that the baseline was made of, before this one; absent without one",
        role="baseline",
    ),
    Carried(
        path="intervention.kind",
        type="string",
        longest=LONGEST_WORD,
        meaning=(
            "what a policy did to the sequence: `stop`, `cool_down`, `roll_back`, `break_reasoning` or `retry`; this "
            "and the names that follow are those of the last time, and absent where no policy did anything"
        ),
        role="outcome",
        column="intervention",
        since=5,
        view="Intervention",
        carriers=("route", "keep"),
    ),
    Carried(
        path="intervention.trigger",
        type="string",
        longest=LONGEST_TRIGGER,
        meaning=(
            "what it acted on: a flag or an early warning by its name, `risk>0.9` or `failure_risk>0.5`, `callback`, "
            "or the name of a function"
        ),
        role="outcome",
    ),
    Carried(
        path="intervention.step",
        type="int",
        unit="{step}",
        meaning="the step at which it acted, from the numbers of the step before",
        role="outcome",
    ),
    Carried(
        path="intervention.outcome",
        type="string",
        longest=LONGEST_WORD,
        meaning=(
            "`stopped`: it ended the sequence; `continued`: generation went on, changed; `failed`: it could not be "
            "carried out"
        ),
        role="outcome",
    ),
)
"""In the order in which docs/attributes.md and the columns of a row have them."""
