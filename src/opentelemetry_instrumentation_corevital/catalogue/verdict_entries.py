"""What docs/judgement.md says of verdicts that are neither flags nor warnings, by their names."""

from collections.abc import Mapping
from typing import Final

from .verdict import Entry

ENTRIES: Final[Mapping[str, Entry]] = {
    "high_entropy_steps, high_entropy_share": Entry(
        definition=(
            "steps whose entropy is high: a count, no flag. With a [baseline](#learned-baseline) that is above the "
            "{{rule HIGH_STEP}} quantile of the model's steps; the warning `high_entropy_share` comes where more than "
            "{{rule UNUSUAL_FRACTION}} of the steps are, {{rule FEWEST_HIGH}} at least: ten times what is usual. "
            "Without one it is above {{rule ROUGH_ENTROPY_BITS}} bit, a rough number, which is usual for many models; "
            "so the warning needs {{rule ROUGH_FRACTION}} of the steps above {{limit rough_entropy}} x "
            "log2(vocabulary), the largest entropy that there is"
        ),
        unit="step",
        default=(
            "where logits are measured. Option `high_entropy_bits` goes before both: then a run with more than "
            "{{limit high_entropy_share}} of its steps above it is warned about"
        ),
        evidence=(
            "the count, in `corevital.health.high_entropy_steps`; in `corevital.health.evidence`, under "
            "`high_entropy_steps`, with the threshold and where it comes from (`threshold_source`: `baseline`, `rough` "
            "or `set`), and, where it is rough, `warning_steps` above `warning_threshold`. The counter "
            "`corevital.high_entropy_steps` adds up the count"
        ),
        measured=(
            "a part of it is in the risk: ordinary runs at temperature 1 with a low risk: {{figure Risk, method "
            "`rules`: degenerate and ordinary runs | ordinary runs with level low, temperature 1}}"
        ),
        advice=(
            "lower the temperature, or use top-p; if greedy runs have it, the prompt is unlike what the model knows. "
            "It fails where the baseline was learned of other traffic: one of greedy runs finds every run at "
            "temperature 1 unusual, rightly; one of word salad finds nothing"
        ),
    ),
    "failure_risk": Entry(
        definition=(
            "how likely the run is to end with `repetition_loop_detected`: 1 / (1 + exp({{failure_risk}})), with "
            "loop = 1 while a loop goes on, and recurring the fraction of the last {{limit loop_window}} tokens that "
            "are in a second or later copy; 1 once a logit was NaN or +Inf, or a value of a layer's output NaN or "
            "infinite. A logistic regression on one half of the run set"
        ),
        unit=(
            "1, per step; on the span that of the last step, and what the end shows: 0 where the end token or a stop "
            "string ended the run, 1 where a number was not finite"
        ),
        default="every run; it needs no logits",
        evidence="the repetition that goes on",
        measured=(
            "AUROC {{figure `failure_risk` | AUROC of `failure_risk`}}, expected calibration error {{figure "
            "`failure_risk` | expected calibration error, 10 bins}}; at token 64 of runs without a loop so far: "
            "AUROC {{figure `failure_risk` | AUROC at token 64 of runs without a loop so far}}: before a second copy "
            "begins it knows little"
        ),
        advice=(
            "above 0.8 the run is in a loop that it will hardly leave: stop it. It says nothing of when, and is "
            "calibrated for one model"
        ),
    ),
    "risk_so_far": Entry(
        definition=(
            "the [risk](#risk) of the run if it were cut off at that step, from what can be told without the rest of "
            "the run: NaN, infinity, repetition loop, attention collapse, high-entropy steps. The anomaly of a "
            "middle layer, measured against the whole run's median, -Inf logits, a mask if their number never "
            "changes, and a collapse that only the profile tells are in the finished run's risk only"
        ),
        unit="1, per step",
        default="where logits are measured",
        evidence="`corevital.step.warnings` of the step",
        measured=(
            "but for these it equals the risk of the run cut off there (a property that the tests hold), so that the "
            "risk's figures are its own"
        ),
        advice="as the risk",
    ),
    "risk": Entry(
        definition=(
            "method `rules`: 1 with NaN or infinity; else min(1, worst + entropy). The worst flag counts {{weights}}. "
            "The entropy counts {{rule ENTROPY_FRACTION_WEIGHT}} x (high-entropy steps / steps - "
            "{{rule USUAL_FRACTION}}, which is usual for the model); without a baseline nothing is taken off, and it "
            "counts {{rule MOST_OF_ROUGH_ENTROPY}} at most, so that it never makes the level medium by itself. Levels: "
            "low < {{limit risk_medium}} <= medium < {{limit risk_high}} <= high"
        ),
        unit="1",
        default="every run whose logits were measured, or that has a loop",
        evidence=(
            "`corevital.risk.factors`: what it is made of, largest first; a raised flag that a worse one covers is in "
            "it with 0"
        ),
        measured=(
            "degenerate runs with level high: {{figure Risk, method `rules`: degenerate and ordinary runs | "
            "degenerate runs with level high}}; ordinary runs at most at temperature 0.7 with level low: {{figure "
            "Risk, method `rules`: degenerate and ordinary runs | ordinary runs with level low, greedy or "
            "temperature 0.7}}; wrong short answers, AUROC within a task: {{figure Wrong short answers: AUROC, mean "
            "over tasks | risk, `rules`}}"
        ),
        advice=(
            "read the factors. A high score says that something went wrong in the generation; a low one does **not** "
            "say that the answer is right"
        ),
    ),
    "answer": Entry(
        definition=(
            "`corevital.risk.answer`: the probability that the answer is wrong, 1 / (1 + exp(-x)), where x is the "
            "intercept plus, over the features, coefficient x (feature - mean) / scale. The features are those of the "
            "run's own distributions that its length cannot blow up: {{answer_features}}. It does not say whether the "
            "generation broke: that is the [risk](#risk)"
        ),
        unit="1, in [0, 1]",
        default=(
            "runs whose logits were measured and that are in its support (`corevital.risk.answer_support`): at most "
            "{{answer_tokens}} tokens, and each feature within the range of the answers that it was fitted on. Else it "
            "is absent and `corevital.capture.absent` says why under `answer_risk`. A model's own, fitted on its "
            "labelled runs, goes before the one that CoreVital comes with (`corevital.risk.answer_method`)"
        ),
        evidence=(
            "`corevital.risk.answer_factors`: how far each feature moved x, farthest first: `surprisal_scaled=+0.310` "
            "made a wrong answer likelier"
        ),
        measured="on labelled runs of models and tasks other than those that it was fitted on",
        advice=(
            "sort answers by it, and read or check those at the top first. That a run is in the support does not say "
            "that its task is one of those that the probability was fitted on: no number of a run can tell that"
        ),
    ),
    "answer_so_far": Entry(
        definition=(
            "the [answer risk](#answer) of the run if it were cut off at that step. It has no number beyond "
            "{{answer_tokens}} tokens, nor at a step whose features are out of range"
        ),
        unit="1, per step",
        default="where logits are measured",
        evidence="none: the finished run has the factors",
        measured="it equals the answer risk of the run cut off there (a property that the tests hold)",
        advice="the policy condition `answer>0.9` acts on it; early steps know little of the answer",
    ),
    "blame": Entry(
        definition="the layers that stand out, the worst first, by the reasons below. A healthy run blames nobody",
        unit="layer, severity in (0, 1]",
        default=(
            "all layers that were looked at; much better with a [profile](#baseline-profile): without one it is "
            "blind to what does not change within the run"
        ),
        evidence="`corevital.blame.reasons`: reason, step and numbers of each",
        measured=(
            "planted faults that change the output, on seven models, the layer with the fault first: calibrated "
            "{{figure Faults that change the output: first blamed layer is the right one | calibrated: pooled}}, "
            "learned from 200 runs {{figure Faults that change the output: first blamed layer is the right one | "
            "learned from 200 runs: pooled}}, without a baseline {{figure Faults that change the output: first blamed "
            "layer is the right one | without a baseline: pooled}}, which are those that are not finite; healthy runs "
            "that blame a layer: calibrated {{figure Healthy runs that blame a layer | calibrated: pooled}}, without a "
            "baseline {{figure Healthy runs that blame a layer | without a baseline: pooled}}"
        ),
        advice=(
            "look at the first layer's weights, dtype, quantisation and adapters, and at the cache; the others "
            "mostly follow from it"
        ),
    ),
    "fingerprint": Entry(
        definition=(
            "the [vector](metrics.md#fingerprintvector) of how the run behaved; hashes of the prompt and of prompt, "
            "model and settings. The prompt is, as `prompt_hash_source` says, its `text` (Unicode NFC, stripped, case "
            "kept); else the text that its tokens are `decoded` to; else tokenizer and `tokens`. Only equal sources "
            "are compared, and tokens within one tokenizer only"
        ),
        unit="numbers in [0, 1]; hexadecimal",
        default="option `prompt_hash`: `sha256`, `hmac` with `hash_key`, or `off`; the vector is always there",
        evidence="none",
        measured="see the [vector](metrics.md#fingerprintvector)",
        advice="it does not: it tells which runs to compare",
    ),
    "narrative": Entry(
        definition=(
            "two to four sentences from templates: how the run ended, its risk, what policies did (two of them at "
            "most, and how many more), every raised flag, the layer that is blamed first and what to do, entropy, "
            "the first warning. NaN or infinity is named where it came first; what follows from it is told as "
            "that, and neither averages nor warnings after it are told. Facts with their steps, no content"
        ),
        unit="text",
        default="every run",
        evidence="it repeats that of the verdicts",
        measured="it says nothing of its own",
        advice="it is there for people; programs read the attributes",
    ),
}
