"""What `corevital.capture.absent` and `Run.absent` may name, what each name means, and the reasons that are given.

A name is that of a signal or of its group, of a fact of the run, of a verdict, of a part of the telemetry, or of an
attribute of the vocabulary (`semconv.py`), which is the only kind with a dot in it.
"""

import re
from collections.abc import Mapping
from typing import Final

from . import measured, prompt_columns, verdicts

_VERDICTS: Final[Mapping[str, str]] = {
    **{flag.name: "the flag was not judged" for flag in verdicts.FLAGS},
    "high_entropy_steps": "steps of high entropy were not counted",
    **{warning.name: "the warning was not looked for" for warning in verdicts.EARLY_WARNINGS},
    **{signal.name: "the signal was not judged" for signal in verdicts.COMPOUND},
    "profile": "a baseline profile is there and not used, or not for flags of layers",
    "risk": "the risk was not judged",
    "answer_risk": "there is no probability that the answer is wrong",
    "blame": "no layer was judged",
    "fingerprint": "the fingerprint has no vector",
    "prompt_hash": "the prompt was not hashed",
}

_TELEMETRY: Final[Mapping[str, str]] = {
    "consistency": "the run is in doubt: numbers that must agree do not",
    "layers": "the layer arrays",
    "series": "points of the series",
    "step_events": "events of single steps",
    "run_data": "columns of the run data",
    "intervention_events": "the first events of interventions, or the evidence of all of them",
    "interventions": "what policies would have done: they, or the kinds that are named, could not act",
}

REASONS: Final[tuple[str, ...]] = (
    # the call
    "not measured",
    "not chosen by capture_ratio={}",
    "no step was observed",
    "not measured in decoding strategy {}",
    "not measured in continuous batching (cache_implementation=paged)",
    "vocabulary too large for a vitals row",
    "internal error ({})",
    # its loop
    "the loop calls the logits processors several times before a token is shown to the stopping criteria",
    "the loop's logits are not [sequences, vocabulary]",
    "the loop's number of sequences changes",
    "the model's tensors have no values (a meta device or a fake-tensor mode)",
    "whose logits a custom loop hands over cannot be told: {}",
    "the loop's tokens are not [sequences, length]",
    "the loop does not show each token to the stopping criteria",
    "the stopping criteria return no flag for each sequence",
    "the loop's steps are not those of the result",
    "the loop's tokens are not those of the result",
    "the raw logits of a beam search were not seen",
    "the candidates of a beam search were not seen",
    # its result
    "the call failed, and the tokens before that were not observed: {}",
    "the result is shorter than the prompt",
    "the result holds no tensor of token ids: {}",
    "the result is no token ids [sequences, length]: {}",
    "the result has no sequence",
    "the result's token ids have no values (a meta device or a fake-tensor mode)",
    "the result's token ids could not be read ({})",
    "where a custom loop's new tokens begin cannot be told: the prompt has no token ids",
    "a custom loop's result neither begins with the prompt nor is what the loop was seen to choose",
    "it ends with padding: where its tokens end cannot be told",
    "no stopping criterion was seen to end it",
    "the prompt's tokens could not be counted",
    "the step at which the call failed could not be read from the device",
    # internals
    "switched off (attention_every=0)",
    "the model's layers were not found",
    "compiled",
    "the layers at {} did not run",
    "the layers' outputs were not seen at step {}",
    "the layers' attention was not seen at step {}",
    "a layer's output has not one row per sequence",
    "a layer's output is not [sequences, positions, width]",
    "a layer's output has {} positions at step {}",
    "a layer runs several times in a step",
    "a layer's attention has not one row per sequence",
    "a layer has several self-attentions",
    "self- and cross-attention are one row",
    "no attention was found in the model's layers",
    "the model's attention does not pass through transformers' attention functions",
    "{} were not seen at step {}",
    "{} are not returned as one row of numbers for each token",
    "{} have not one row per sequence",
    "{} are made several times in a step",
    "{} are made by one module for several layers",
    "{} are changed before the step is over",
    "no layer that has it was selected",
    "a layer has several routers",
    "the model does not say which of its modules are routers",
    "the scores of attention implementation {} cannot be told",
    "the scores of attention with {} cannot be told",
    "the keys of cache {} cannot be told",
    "float16 weights do not tell which keys are visible",
    "queries or keys were overwritten before they were read",
    "what attention returned was not finite, or no weights, at any step",
    # the prompt
    "switched off (prompt_analysis=summary)",
    "the prefill was not one pass",
    "the prefill has other positions or rows than the prompt",
    "an encoder reads the prompt",
    "the prompt has no token ids",
    "the attention mask does not say which of the prompt's tokens are padding",
    "no neighbouring layers were seen",
    "no attention was seen in the prefill",
    "the model's last hidden states were not seen",
    "the model's last hidden state is not [sequences, positions, width]",
    "the model has no output head",
    "the model's output head is not one plain matrix",
    "the weights of the model's output head are not where they can be read",
    "the model's logits are not what its output head makes of the last hidden state",
    # verdicts
    "logits were not measured",
    "the layers were not measured",
    "attention was not measured",
    "nothing was generated",
    "a step has no distribution",
    "the run failed, so it has no answer",
    "longer than the answers that it was fitted on ({} tokens)",
    "{} is {} that of the answers that it was fitted on",
    "no layer was measured",
    "needs {}",
    "too few steps with enough visible keys",
    "too few steps to compare",
    "no layer of the middle third was looked at",
    "the model has no baseline profile",
    "no_baseline",
    "attention to the prompt was not measured",
    "the prompt is too short",
    "the profile does not know attention to the prompt",
    "{}; runs are judged without it",
    "{}; until then no flag of layers rests on it",
    "a fingerprint needs {} steps with a distribution, the run has {}",
    "switched off (prompt_hash=off)",
    "switched off (enable_early_warning=False)",
    "neither the prompt's text nor its token ids are known: call generate() within prompt_text(...)",
    # policies
    "policies do not act on decoding strategy {}",
    "policies do not act on a custom loop",
    "the call is not measured: {}",
    "cool_down: {}",
    "roll_back: {}",
    "break_reasoning: {}",
    # telemetry
    "{} of {} steps are not finite and left out",
    "cut: span too large",
    "{} cut: span too large",
    "{} cut: a span has the last {}",
    "cut: a span has at most {} attributes",
    "cut: larger than {} bytes",
    "left out for its size: {}",
    "step_events=logs, but no LoggerProvider takes log events",
    "no tokenizer is known: make the prompt's tokens while CoreVital is on, or call generate(tokenizer=...)",
    "its value does not fit the type {}",
    "the numbers disagree: {}",
)
"""What is said of why something is absent; `{}` stands for what differs."""

_PATTERN: Final = re.compile("|".join(re.escape(each).replace(r"\{\}", ".+") for each in REASONS), re.DOTALL)


def names() -> dict[str, str]:
    """Return every name that is no attribute -> what is not there."""
    return {**measured.names(), **prompt_columns.ABSENT, **_VERDICTS, **_TELEMETRY}


def unknown(absent: Mapping[str, str], attributes: Mapping[str, object] | frozenset[str]) -> dict[str, str]:
    """Return what of this is not as declared here: names, and reasons.

    Args:
        absent: name -> reason.
        attributes: of the vocabulary.
    """
    known = names()
    return {
        name: reason
        for name, reason in absent.items()
        if (name not in known and name not in attributes) or not _PATTERN.fullmatch(reason)
    }
