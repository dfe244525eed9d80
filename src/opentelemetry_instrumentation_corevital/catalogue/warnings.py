"""Early warnings and compound signals. Each is declared here and nowhere else."""

from typing import Final

from .verdict import Compound, Entry, WarningSignal

EARLY_WARNINGS: Final[tuple[WarningSignal, ...]] = (
    WarningSignal(
        name="repetition_risk",
        needs="output_tokens",
        sentence="the tokens had entered a second copy of themselves",
        entry=Entry(
            definition=(
                "of the last {{limit repetition_window}} tokens {{limit repetition_recurring}} end a group of "
                "{{limit gram}} that stood before, at most {{limit max_period}} tokens ago: the tokens have entered "
                "a second copy of themselves. An exact copy does so with its 7th token"
            ),
            unit="per step",
            default=(
                "every run. It is told at the step, and stays in `corevital.early_warning.signals`; a warning of the "
                "finished run (`corevital.warnings`, the narrative, the counter) only where it went on for "
                "{{rule LASTING_TOKENS}} tokens or became a loop, since ordinary text repeats a phrase"
            ),
            evidence="period, copies so far, `start_step`, `onset_step`, `exact`; `lasting`: whether it did",
            measured=(
                "tokens into the second copy, median: {{figure When it fires | `repetition_risk`, tokens into the "
                "second copy, median}}; earlier than the loop in {{figure Warned before the flag | degenerate runs "
                "with the flag: `repetition_risk` earlier}}, by {{figure Warned before the flag | ... lead in "
                "tokens: quartiles}} tokens (quartiles); on ordinary runs at most at temperature 0.7: {{figure "
                "Warnings on ordinary runs | greedy or temperature 0.7: `repetition_risk`}}"
            ),
            advice="wait for the loop unless you can afford to be wrong: many ordinary runs quote themselves",
        ),
    ),
    WarningSignal(
        name="entropy_rising",
        signal="entropy",
        needs="entropy",
        sentence="the entropy rose above the run's earlier level",
        entry=Entry(
            definition=(
                "{{rule BEYOND_STEPS}} steps in a row the window's mean entropy is above the earlier mean by {{limit "
                "entropy_rise_deviations}} standard deviations, and its median above the {{rule RISEN}} quantile of "
                "the model's windows. Without a baseline: it has risen by {{limit rough_entropy_rise}} of the way from "
                "the earlier mean to log2(vocabulary), the largest entropy that there is, by {{limit "
                "entropy_rise_bits}} bit at least and by {{rule ROUGH_DEVIATIONS}} standard deviation"
            ),
            unit="per step",
            default="where logits are measured",
            evidence="value, threshold, threshold_source",
            measured=(
                "on SmolLM2's ordinary runs at most at temperature 0.7: {{figure Warnings on ordinary runs | greedy or "
                "temperature 0.7: `entropy_rising`}}; at temperature 1: {{figure Warnings on ordinary runs | "
                "temperature 1, nothing cut off: `entropy_rising`}}"
            ),
            advice="the run has come to something that the model does not know: check what it says from there on",
        ),
    ),
    WarningSignal(
        name="margin_collapsing",
        signal="margin",
        needs="margin",
        sentence="the two best tokens had become almost equally probable",
        entry=Entry(
            definition=(
                "{{rule BEYOND_STEPS}} steps in a row the window's median margin is below the {{rule NARROW}} quantile "
                "of the model's windows. Without a baseline: its mean is below {{limit margin_collapsed}} of the mean "
                "top-1 probability, so that the second token is nearly as probable as the first, however probable "
                "that is"
            ),
            unit="per step",
            default="where logits are measured",
            evidence="value, threshold, threshold_source",
            measured=(
                "on ordinary runs at most at temperature 0.7: {{figure Warnings on ordinary runs | greedy or "
                "temperature 0.7: `margin_collapsing`}}; at temperature 1: {{figure Warnings on ordinary runs | "
                "temperature 1, nothing cut off: `margin_collapsing`}}"
            ),
            advice="several tokens in a row were a matter of chance: facts among them are guesses",
        ),
    ),
    WarningSignal(
        name="confidence_drop",
        signal="top1_prob",
        needs="top1_prob",
        sentence="the best token's probability fell to half of the run's earlier level",
        entry=Entry(
            definition=(
                "{{rule BEYOND_STEPS}} steps in a row the window's mean top-1 probability is below {{limit "
                "confidence_share}} of the earlier mean, and its median below the {{rule UNSURE}} quantile of the "
                "model's windows. Without a baseline: it is below {{limit rough_confidence}} of the earlier mean"
            ),
            unit="per step",
            default="where logits are measured",
            evidence="value, threshold, threshold_source",
            measured=(
                "on ordinary runs at most at temperature 0.7: {{figure Warnings on ordinary runs | greedy or "
                "temperature 0.7: `confidence_drop`}}; at temperature 1: {{figure Warnings on ordinary runs | "
                "temperature 1, nothing cut off: `confidence_drop`}}"
            ),
            advice="as `entropy_rising`",
        ),
    ),
    WarningSignal(
        name="attention_collapsing",
        signal="collapsed_head_rate",
        needs="attention",
        sentence="more and more attention heads rested on single keys",
        entry=Entry(
            definition=(
                "{{rule BEYOND_STEPS}} attention samples in a row the fraction of collapsed heads, over the last "
                "{{limit collapse_steps}} of them, is above the mean of all that were before ({{limit collapse_steps}} "
                "at least) by {{limit collapse_warning}} and by {{limit collapse_deviations}} of their standard "
                "deviations; and, with a baseline, above the 99.9 % quantile of the model's windows"
            ),
            unit="per step",
            default="on steps on which attention is sampled",
            evidence="value, threshold, threshold_source",
            measured=(
                "on ordinary runs: with a baseline {{figure Warnings on the zoo's ordinary runs | learned from 200 "
                "runs: `attention_collapsing`}}, without one {{figure Warnings on the zoo's ordinary runs | without a "
                "baseline: `attention_collapsing`}}"
            ),
            advice="as `attention_collapse_detected`, earlier",
        ),
    ),
    WarningSignal(
        name="norm_jump",
        signal="hidden_l2_norm",
        needs="hidden_states",
        sentence="the norm of a middle layer jumped",
        entry=Entry(
            definition=(
                "at 4 of the last 8 steps, this one among them, the norm of a layer of the middle third is more than "
                "{{limit norm_jump}} times, or less than 1 / {{limit norm_jump}} of, its geometric mean over the run's "
                "steps before (the first one left out, {{limit norm_steps}} at least), and by "
                "{{rule NORM_DEVIATIONS}} standard deviations of its logarithm; and, with a baseline, outside of the "
                "0.1 % and 99.9 % quantiles of the layer's norms. A single token does not count: healthy layers react "
                "to one"
            ),
            unit="per step",
            default="where hidden states are measured",
            evidence="layer, value (without a baseline how many times its mean), threshold, threshold_source",
            measured=(
                "on ordinary runs: with a baseline {{figure Warnings on the zoo's ordinary runs | learned from 200 "
                "runs: `norm_jump`}}, without one {{figure Warnings on the zoo's ordinary runs | without a baseline: "
                "`norm_jump`}}. Most of the zoo's runs are kept as windows, in which it shows less"
            ),
            advice="see whether `mid_layer_anomaly_detected` and blame name the layer, too",
        ),
    ),
)
"""In the order in which those of one step are named."""

COMPOUND: Final[tuple[Compound, ...]] = (
    Compound(
        name="context_loss",
        severity=0.75,
        needs=("attention", "entropy"),
        entry=Entry(
            definition=(
                "in a window of {{limit window}} steps the attention to the prompt (what is not on the first 4 keys, "
                "over what a row without a preference would give it) is further below the profile's median than "
                "{{limit context_excess}} times its 0.1 % quantile, while the entropy is above the profile's 95 % "
                "quantile. Severity {{severity context_loss}}"
            ),
            unit="present or not",
            default="with a profile that knows attention to the prompt",
            evidence="step, attention to the prompt, usual value, excess, threshold, entropy, threshold_source",
            measured="on ordinary runs: {{figure Warnings on the zoo's ordinary runs | calibrated: `context_loss`}}",
            advice="the answer goes on without the question: compare what follows the step with the prompt",
        ),
    ),
    Compound(
        name="degenerating_generation",
        severity=0.7,
        needs=("entropy",),
        entry=Entry(
            definition=(
                "over the last 16 steps, against all before (32 at least): mean entropy and mean surprisal are higher, "
                "and above the {{rule RISEN}} quantiles of the model's windows; without a baseline they are {{limit "
                "degenerating_entropy_bits}} and {{limit degenerating_surprisal_bits}} bit higher. And the mean margin "
                "is below {{limit degenerating_margin_share}} of what it was. Severity "
                "{{severity degenerating_generation}}"
            ),
            unit="present or not",
            default="where logits are measured",
            evidence="first of the last steps; entropy, surprisal and margin there and before; threshold_source",
            measured=(
                "on ordinary runs: with a baseline {{figure Warnings on the zoo's ordinary runs | learned from 200 "
                "runs: `degenerating_generation`}}, without one {{figure Warnings on the zoo's ordinary runs | without "
                "a baseline: `degenerating_generation`}}"
            ),
            advice=(
                "the text falls apart at its end: cut it there, lower the temperature. It compares with the run's "
                "own beginning: a run that is word salad from the start has `high_entropy_share` instead"
            ),
        ),
    ),
    Compound(
        name="confident_confusion",
        severity=0.5,
        needs=("entropy",),
        entry=Entry(
            definition=(
                "at {{limit confusion_steps}} of 8 steps in a row the entropy is high (see "
                "[`high_entropy_steps`](#high_entropy_steps-high_entropy_share); without a baseline above the run's "
                "own mean, too) while the margin is above {{limit confusion_margin}}. Severity "
                "{{severity confident_confusion}}"
            ),
            unit="present or not",
            default="where logits are measured",
            evidence="step, number of steps, threshold; entropy_threshold, threshold_source",
            measured=(
                "on ordinary runs: with a baseline {{figure Warnings on the zoo's ordinary runs | learned from 200 "
                "runs: `confident_confusion`}}, without one {{figure Warnings on the zoo's ordinary runs | without a "
                "baseline: `confident_confusion`}}"
            ),
            advice="one token stands out from a flat rest: names and numbers there are likely made up",
        ),
    ),
)
"""The gravest first."""
