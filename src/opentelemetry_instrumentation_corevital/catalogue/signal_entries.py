"""What docs/metrics.md says of the signals, one entry for those that belong together."""

from typing import Final

from .signal import SignalEntry

_LOGITS: Final = "every step of greedy search, sampling and beam search"
_HIDDEN: Final = "every step, all layers"
_ATTENTION: Final = "`summary` every 8th step, `full` every step"

ENTROPY: Final = SignalEntry(
    definition="-sum p log2 p over the whole vocabulary (Shannon 1948). Its power of two is the perplexity of the "
    "step, which is not stored",
    default=f"{_LOGITS}; other strategies: absent",
    evidence="`high_entropy_steps`, `high_entropy_share`, `entropy_rising`, all compound signals, the risk",
    measured="its mean, for wrong short answers: AUROC "
    "{{figure Wrong short answers: AUROC, mean over tasks | mean entropy}}",
    stands_out="high for some steps: names, numbers, beginnings of sentences; ordinary. High throughout: too high a "
    "temperature, or a prompt unlike all that the model was trained on. Near 0 throughout: the model recites, or loops",
)
SURPRISAL: Final = SignalEntry(
    definition="-log2 p(chosen token). Its sum is -log2 of the answer's probability",
    default=_LOGITS,
    evidence="`degenerating_generation`",
    measured="summed, for wrong short answers: AUROC "
    "{{figure Wrong short answers: AUROC, mean over tasks | summed surprisal}}; its mean: "
    "{{figure Wrong short answers: AUROC, mean over tasks | mean surprisal}}",
    stands_out="look at the step: a token was drawn that the model thought unlikely. In greedy search it is bounded by "
    "the entropy; a mean well above the entropy's says that top-k, top-p, temperature or a processor pushes the run "
    "away from the model",
)
MARGIN: Final = SignalEntry(
    definition="p(1st) - p(2nd); 1 for a vocabulary of one token",
    default=_LOGITS,
    evidence="`margin_collapsing`, `confident_confusion`, `degenerating_generation`",
    measured="through `margin_collapsing`, on ordinary runs at most at temperature 0.7: "
    "{{figure Warnings on ordinary runs | greedy or temperature 0.7: `margin_collapsing`}}",
    stands_out="near 0: a coin decides between two tokens, so that another run, device or dtype may go another way "
    "there",
)
LARGEST: Final = SignalEntry(
    definition="p(1st); the sum of the 10 largest p",
    default=_LOGITS,
    evidence="`top1_prob`: `confidence_drop`. `topk_mass`: none, it is in the fingerprint",
    measured="through `confidence_drop`, on ordinary runs at most at temperature 0.7: "
    "{{figure Warnings on ordinary runs | greedy or temperature 0.7: `confidence_drop`}}",
    stands_out="a small `topk_mass` says that the distribution is flat: sampling without top-k or top-p then draws "
    "from thousands of tokens",
)
LOGIT_FAULTS: Final = SignalEntry(
    definition="how many raw logits of the step are NaN, +Inf, -Inf",
    default=_LOGITS,
    evidence="`nan_detected`, `inf_detected`, the risk, `failure_risk`",
    measured="NaN planted in a layer: "
    "{{figure NaN and infinity | one value of a layer is NaN: flag with the right step and layer}}",
    stands_out="see [`nan_detected`](judgement.md#nan_detected). The same number of -Inf at every step is a masked "
    "vocabulary",
    also=("nan_detected", "inf_detected"),
)
HIDDEN: Final = SignalEntry(
    definition="of the layer's output at the last position, *before* the final norm: mean, population standard "
    "deviation, L2 norm, largest absolute value",
    default=f"{_HIDDEN}; absent in compiled graphs",
    evidence="the norm: `mid_layer_anomaly_detected`, `norm_jump`, blame; the others none",
    measured="`norm_jump` on ordinary runs: without a baseline "
    "{{figure Warnings on the zoo's ordinary runs | without a baseline: `norm_jump`}}",
    stands_out="compare a layer with itself only: norms grow by an order of magnitude from the first layer to the "
    "last, "
    'and jump in early layers at single tokens ("massive activations", arXiv 2402.17762). A float16 model overflows '
    "above "
    "65,504: watch `max_abs`",
)
HIDDEN_FAULTS: Final = SignalEntry(
    definition="how many values of the layer's output at the last position are NaN, infinite",
    default=_HIDDEN,
    evidence="`nan_detected`, `inf_detected`, blame",
    measured="infinity planted in a layer: "
    "{{figure NaN and infinity | one value of a layer is Inf: flag with the right step and layer}}",
    stands_out="see [`nan_detected`](judgement.md#nan_detected): the blamed layer is where it began",
    also=("nonfinite",),
)
TRANSFORMATION: Final = SignalEntry(
    definition="1 - cosine of the layer's output with that of the layer before, at the last position; none for the "
    "first",
    default=_HIDDEN,
    evidence="with a profile: `mid_layer_anomaly_detected`, blame",
    measured="through blame: "
    "{{figure Faults that change the output: first blamed layer is the right one | calibrated: pooled}}",
    stands_out="the layer turns its input more, or less, than it does in healthy runs; a layer with 0 does nothing",
)
COSINE: Final = SignalEntry(
    definition="cosine of the last layer's output with the previous step's; none for the first step",
    default="every step",
    evidence="none: it is in the fingerprint",
    measured="as a rule for loops (above 0.9995 for 3 steps): recall "
    "{{figure Simpler rules on the same half | hidden cosine above 0.9995 for 3 steps: recall}}: it does not find them",
    stands_out="near 1 over many steps: the same token again and again; a longer loop does not show here",
)
ATTENTION_ENTROPY: Final = SignalEntry(
    definition="-sum w log w over the row, divided by log(visible keys), 1 where one key is visible: mean, standard "
    "deviation, smallest and largest over heads",
    default=_ATTENTION,
    evidence="with a profile: blame",
    measured="alone it tells wrong answers hardly better than chance in published work; it is there for faults: "
    "queries x 40, blamed first: {{figure Faults that change the output: first blamed layer is the right one | "
    "learned from 200 runs: queries x 40}}",
    stands_out="low: the layer's heads look at single keys; high: at everything alike. Both are usual for some layers "
    "of every model, so only a profile says more",
)
MAX_WEIGHT: Final = SignalEntry(
    definition="the largest weight of a row: mean and largest over heads",
    default=_ATTENTION,
    evidence="none",
    measured="nothing rests on it",
    stands_out="read it beside `attention_mass_sink`: a large weight is mostly one on the first token",
)
HEAD_RATES: Final = SignalEntry(
    definition="fraction of heads whose entropy, the first 4 keys left out and the row renormalised, is below 0.03 "
    "(none below 8 keys beside those); fraction of heads with a weight above 0.90",
    default=_ATTENTION,
    evidence="collapsed: `attention_collapse_detected`, `attention_collapsing`, blame. Focused: none",
    measured="`attention_collapsing` on ordinary runs: with a baseline "
    "{{figure Warnings on the zoo's ordinary runs | learned from 200 runs: `attention_collapsing`}}",
    stands_out="a fraction that rises in a run is a fault; one that was always there belongs to the model",
)
MASSES: Final = SignalEntry(
    definition="weight on the first 4 visible keys (attention sinks, arXiv 2309.17453), on the rest of the prompt, on "
    "generated tokens: they sum to 1; mean over heads",
    default=_ATTENTION,
    evidence="prompt and generated: `context_loss`",
    measured="`context_loss` on ordinary runs: "
    "{{figure Warnings on the zoo's ordinary runs | calibrated: `context_loss`}}",
    stands_out="half and more on the sink is usual; the prompt's fraction falls as the answer grows",
)
PLACES: Final = SignalEntry(
    definition="weight on the prompt's middle third over what a uniform row has there (none below 3 prompt keys); "
    "weight on the key before the query's own, mean over heads and, for the middle third of the layers, of each head",
    default=_ATTENTION,
    evidence="none: RAUQ (arXiv 2505.20045) builds on the last one",
    measured="nothing rests on them",
    stands_out='a middle far below 1: the model reads the prompt\'s beginning and end ("lost in the middle")',
)
CROSS: Final = SignalEntry(
    definition="encoder-decoder models: the same as above of the row over the encoder's keys",
    default=_ATTENTION,
    evidence="none",
    measured="nothing rests on them",
    stands_out="high throughout: the decoder does not look at anything in particular of the input",
)
