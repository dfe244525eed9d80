"""Health flags: what is definitely wrong with a run. Each is declared here and nowhere else."""

from typing import Final

from .verdict import Entry, Flag, Sentence

FLAGS: Final[tuple[Flag, ...]] = (
    Flag(
        name="nan_detected",
        word="nan",
        label="NaN",
        meaning=(
            "a NaN was seen in the logits or in a layer that was looked at; where `corevital.capture.absent` has "
            "`hidden_states`, no layer was, and false speaks of the logits alone"
        ),
        about="numbers",
        needs=("nonfinite",),
        weight=1.0,
        sentences=(
            Sentence("Layer {layer} put out one NaN value at step {step}, the first of {steps}.", (("values", 1),)),
            Sentence("Layer {layer} put out {values} NaN values at step {step}, the first of {steps}."),
            Sentence("{logits} logits were NaN at step {step}, the first of {steps}."),
        ),
        entry=Entry(
            definition="a logit, or a value of a layer's output at the last position, was NaN at any step",
            unit="boolean",
            default=(
                "logits and layers of every step; false says nothing of layers that were not looked at: "
                "`corevital.layers.index` names those that were, and where `corevital.capture.absent` has "
                "`hidden_states`, false speaks of the logits alone"
            ),
            evidence="first step, number of steps; number of logits; first layer, values in it, number of layers",
            measured=(
                "one NaN planted in a layer, right step and layer: {{figure NaN and infinity | one value of a layer "
                "is NaN: flag with the right step and layer}}"
            ),
            advice=(
                "throw the answer away. The blamed layer is where it began: look at its weights (a damaged file, a "
                "bad quantisation) and its dtype; run again in bfloat16 or float32"
            ),
        ),
        since=1,
        in_reports="nan_or_inf",
    ),
    Flag(
        name="inf_detected",
        word="inf",
        label="infinity",
        meaning="an infinity was seen; judged from the same as `nan_detected`",
        about="numbers",
        needs=("nonfinite",),
        weight=1.0,
        sentences=(
            Sentence(
                "Layer {layer} put out one infinite value at step {step}, the first of {steps}.", (("values", 1),)
            ),
            Sentence("Layer {layer} put out {values} infinite values at step {step}, the first of {steps}."),
            Sentence("{logits} logits were infinite at step {step}, the first of {steps}."),
        ),
        entry=Entry(
            definition=(
                "a value of a layer's output was infinite; or a logit was +Inf; or -Inf, unless the same number of "
                "logits is -Inf at every step (a masked vocabulary)"
            ),
            unit="boolean",
            default="as `nan_detected`",
            evidence="as `nan_detected`",
            measured=(
                "one infinity planted in a layer: {{figure NaN and infinity | one value of a layer is Inf: flag with "
                "the right step and layer}}; float16 overflow: {{figure NaN and infinity | float16 overflow: "
                "`inf_detected` with the right step and layer}}"
            ),
            advice=(
                "in float16 mostly an overflow above 65,504: run in bfloat16. `corevital.layers.max_abs` shows how "
                "close the other layers come"
            ),
        ),
        since=1,
        in_reports="nan_or_inf",
    ),
    Flag(
        name="repetition_loop_detected",
        word="loop",
        label="repetition loop",
        meaning="a loop was running when the run ended, and neither the end token nor a stop string ended it",
        about="text",
        needs=("output_tokens",),
        weight=0.9,
        sentences=(
            Sentence(  # of copies that became alike after some that were not
                "From step {onset_step} on it repeated itself, from step {alike_step} on the {period} tokens before "
                "that without a change, {alike_copies:.1f} copies by the end.",
                (("exact", True),),
            ),
            Sentence(
                "From step {onset_step} on it repeated the {period} tokens that began at step {start_step}, "
                "{copies:.1f} copies by the end.",
                (("exact", True),),
            ),
            Sentence(
                "From step {onset_step} on it repeated itself with small changes, about every {period} tokens, "
                "{copies:.1f} copies by the end."
            ),
        ),
        entry=Entry(
            definition=(
                "a loop was still running when the run ended, and neither the end token nor a stop string ended it: "
                "the length limit did, the time limit, a stopping criterion, a policy, somebody who cancelled, or an "
                "error. Of the last {{limit loop_window}} tokens {{limit loop_recurring}} are in a third or later "
                "copy, all copies together span at least {{limit loop_tokens}}, and the copies are near to each other "
                "in one of three ways: in the last {{limit alike_lasts}} tokens a whole copy came token for token; or "
                "{{limit unlike_recurring}} of the last {{limit loop_window}} are in a third copy, and of the last two "
                "copies at most {{limit unlike_new}} is new, of a whole period nothing; or nothing of these is new, "
                "and each has changed in one place at most. The last two ways need {{limit different_tokens}} "
                "different tokens: of fewer all groups recur by chance. The last {{limit loop_pause}} tokens may be a "
                "change. A token is in a copy when the {{limit gram}} tokens that end with it stood together "
                "before, at most {{limit max_period}} tokens ago, and new when no such group has it. So copies may "
                "differ by changed, inserted or missing tokens, but records of structured text whose values vary are "
                "no copies. A loop that the model left or ended by itself is no "
                "flag"
            ),
            unit="boolean",
            default="judged for every run, whatever its decoding strategy: it needs tokens only",
            evidence=(
                "period, copies, step of the first copy (`start_step`) and of the second (`onset_step`), whether the "
                "last copies are alike (`exact`): each token is the one that stood a period before; where only the "
                "last ones are, from which step on (`alike_step`), and how many (`alike_copies`)"
            ),
            measured=(
                "on seven models: recall {{figure Loops | recall on clear loops}}, precision {{figure Loops | "
                "precision}}; cut-off JSON, YAML, CSV, HTML, SQL, logs, code and tables called a loop {{figure "
                "Structured text called a loop | generated: all formats}}; on labelled runs of SmolLM2: recall "
                "{{figure `repetition_loop_detected` | recall on degenerate runs}}, precision {{figure "
                "`repetition_loop_detected` | precision against ordinary runs}}; on requested repetition that the "
                "model ended {{figure `repetition_loop_detected` | requested repetition that the model ended, with "
                "the flag}}, by definition; on requested repetition that was cut off {{figure "
                "`repetition_loop_detected` | requested repetition cut off in mid-refrain, with the flag}}: it "
                "cannot know what was asked; windows of Python source code, cut off, that look like a loop {{figure "
                "`repetition_loop_detected` | windows of source code (384 tokens of Python's library) that end in "
                "what looks like a loop}}"
            ),
            advice=(
                "cut the answer back to `onset_step` and sample on with another temperature or a repetition penalty. "
                "Often? Greedy search makes small models loop: sample"
            ),
        ),
        since=1,
    ),
    Flag(
        name="attention_collapse_detected",
        word="collapse",
        label="attention collapse",
        meaning="heads had collapsed onto single keys",
        about="layers",
        needs=("attention",),
        weight=0.3,
        sentences=(Sentence("{rate:.0%} of the attention heads had collapsed onto single keys."),),
        entry=Entry(
            definition=(
                "in a run with `layer_anomaly_detected`, the fraction of collapsed heads over all layers that were "
                "looked at, as the median of 8 attention samples, is by more than {{limit collapse_rise}} above the "
                "fraction that is usual for the model, and above the 99.9 % quantile of its "
                "[baseline](#learned-baseline)"
            ),
            unit="boolean",
            default=(
                "samples every 8th step in `summary` (option `attention_every`), at every one in `full`; absent with "
                "the reason `no_baseline` where the model has no [baseline](#learned-baseline) of 50 runs: then a rise "
                "is the warning `attention_collapsing`"
            ),
            evidence="step, fraction (`rate`), usual fraction (`usual`), threshold",
            measured=(
                "healthy runs with any flag but the loop's, this one among them, on seven models: calibrated "
                "{{figure Healthy runs with any flag but the loop's | calibrated: pooled}}, learned from 200 runs "
                "{{figure Healthy runs with any flag but the loop's | learned from 200 runs: pooled}}. No fault of the "
                "zoo brings it about by itself, so that its recall is not known"
            ),
            advice=(
                "the model has stopped to read its context: shorten it, look at the position encoding's range and at "
                "what was done to the cache"
            ),
        ),
        since=2,
    ),
    Flag(
        name="mid_layer_anomaly_detected",
        word="anomaly",
        label="middle-layer anomaly",
        meaning=(
            "a layer of the middle third left what is usual for the model in what it puts out, or was not finite; "
            "absent where no middle layer was looked at, or the model has no baseline"
        ),
        about="layers",
        needs=("hidden_states",),
        weight=0.7,
        sentences=(
            Sentence(
                "Layer {layer} left what is usual for the model at step {step} ({signal} {value}, usually {usual})."
            ),
            Sentence("The norm of layer {layer} was {norm} at step {step}."),
        ),
        entry=Entry(
            definition=(
                "`layer_anomaly_detected` in a layer of the middle third, in the gain of its norm or in how it turns "
                "its input: the layers in which a model works out its answer"
            ),
            unit="boolean",
            default=(
                "every layer that was looked at; absent where none of the middle third was (option `layers`), and, "
                "but for what was not finite, with the reason `no_baseline` where the model has no "
                "[baseline](#learned-baseline) of 50 runs"
            ),
            evidence="layer, step; signal, value, usual value, excess, threshold; or norm",
            measured=(
                "healthy runs with any flag but the loop's, this one among them, on seven models: calibrated "
                "{{figure Healthy runs with any flag but the loop's | calibrated: pooled}}, learned from 200 runs "
                "{{figure Healthy runs with any flag but the loop's | learned from 200 runs: pooled}}"
            ),
            advice=(
                "look at the blamed layer. If it fires on runs that are fine, the profile does not know their kind "
                "of text: make one of your own prompts (`corevital calibrate`)"
            ),
        ),
        since=2,
    ),
    Flag(
        name="layer_anomaly_detected",
        word="layer",
        label="layer anomaly",
        meaning=(
            "a layer left what is usual for the model, or was not finite; absent where no layer was looked at, or the "
            "model has no baseline"
        ),
        about="layers",
        needs=("hidden_states",),
        weight=0.7,
        sentences=(
            Sentence(
                "Layer {layer} left what is usual for the model at step {step} ({signal} {value}, usually {usual})."
            ),
            Sentence("The norm of layer {layer} was {norm} at step {step}."),
        ),
        entry=Entry(
            definition=(
                "a layer is blamed: a value of it was not finite; or the run is beyond the limit that the model's "
                "healthy runs stay below, and the layer is one of those that make it so. See "
                "[learned baseline](#learned-baseline)"
            ),
            unit="boolean",
            default=(
                "every layer that was looked at, states and attention; absent, but for what was not finite, with the "
                "reason `no_baseline` where the model has no [baseline](#learned-baseline) of 50 runs: then a middle "
                "layer whose norm stays far from its own mean is the warning `norm_jump`"
            ),
            evidence="the layer where it began, step; signal, value, usual value, excess, threshold, number of layers",
            measured=(
                "healthy runs with any flag but the loop's, on seven models: calibrated {{figure Healthy runs with any "
                "flag but the loop's | calibrated: pooled}}, learned from 200 runs {{figure Healthy runs with any flag "
                "but the loop's | learned from 200 runs: pooled}}; its worst model: {{figure Healthy runs with any "
                "flag but the loop's | ... learned from 200 runs: worst model}}"
            ),
            advice=(
                "look at the layer that is blamed first: its weights, its dtype, its adapters and its cache. If it "
                "fires on runs that are fine, the baseline does not know their kind of text: make one of your own "
                "prompts (`corevital calibrate`)"
            ),
        ),
        since=6,
    ),
)
