"""The alternatives of whole runs: those of the raw logits that `generate()` returns, of every step and sequence."""

import pickle
from typing import Any

import pytest
import torch

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.assessment.consistency import disagreements
from tests.support.alternatives_reference import assert_alternatives
from tests.support.in_memory import Keep, instrumented
from tests.support.tiny_models import (
    ARCHITECTURES,
    ENCODER_DECODERS,
    padded_batch,
    prompt,
    tiny_encoder_decoder,
    tiny_model,
)

NEW_TOKENS = 6


def generated(model: Any, capture: str = "full", **arguments: Any) -> tuple[list[Run], Any]:
    keep = Keep()
    with instrumented(judgements=[keep], capture=capture):
        torch.manual_seed(3)
        result = model.generate(
            **arguments, max_new_tokens=NEW_TOKENS, return_dict_in_generate=True, output_logits=True
        )
    return keep.runs, result


def check(runs: list[Run], result: Any) -> None:
    for row, run in enumerate(runs):
        logits = [step[row].double().tolist() for step in result.logits[: run.steps]]
        assert_alternatives(run.alternatives, logits, 1e-6)
        assert disagreements(run) == []


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *ENCODER_DECODERS])
def test_they_are_those_of_the_raw_logits(architecture: str) -> None:
    if architecture in ENCODER_DECODERS:
        model, inputs = tiny_encoder_decoder(architecture), {"input_ids": prompt(9, batch=2)}
    else:
        model, inputs = tiny_model(architecture), padded_batch()
    check(*generated(model, **inputs, do_sample=True, temperature=0.7, top_k=3))


def test_sequences_that_end_early_have_no_alternatives_of_their_padding() -> None:
    model, inputs = tiny_model(), padded_batch()
    _, plain = generated(model, **inputs, do_sample=False, eos_token_id=None)
    ends = plain.sequences[:, 9:].diagonal(offset=1).tolist()
    runs, result = generated(model, **inputs, do_sample=False, eos_token_id=ends)
    assert len({run.steps for run in runs}) > 1
    check(runs, result)


def test_a_processor_that_changes_the_logits_changes_no_alternatives() -> None:
    check(*generated(tiny_model(), input_ids=prompt(9), repetition_penalty=1.5, do_sample=False, top_k=None))


@pytest.mark.parametrize(("capture", "there"), [("summary", False), ("on_risk", True)])
def test_they_are_measured_of_runs_that_may_be_reported_in_full(capture: str, there: bool) -> None:
    runs, _ = generated(tiny_model(), capture, input_ids=prompt(9), do_sample=False)
    assert (runs[0].alternatives is not None) == there


def test_a_run_of_an_earlier_version_has_none() -> None:
    runs, _ = generated(tiny_model(), input_ids=prompt(9), do_sample=False)
    nothing, values = runs[0].__getstate__()
    assert pickle.loads(pickle.dumps(runs[0])).alternatives.probabilities.shape == (NEW_TOKENS, 5)
    old = Run.__new__(Run)
    old.__setstate__((nothing, {name: value for name, value in values.items() if name != "alternatives"}))
    assert old.alternatives is None
