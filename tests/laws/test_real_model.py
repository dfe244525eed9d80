"""SmolLM2-135M-Instruct: the run that loops, the run that does not, and nothing changed."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from opentelemetry_instrumentation_corevital.assessment.consistency import disagreements
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.presentation.token_strip import token_pieces
from opentelemetry_instrumentation_corevital.run import Alternatives
from tests.support.alternatives_reference import assert_alternatives
from tests.support.in_memory import Keep, instrumented
from tests.support.model_internals import assert_attention, assert_hidden, measure, tell
from tests.support.real_prompts import HEALTHY, LOOPING, chat
from tests.support.reference import reference_signals

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("real_model")]


def test_a_loop_is_high_risk_with_its_onset_and_an_answer_is_low(smollm2: LoadedModel) -> None:
    with instrumented() as telemetry:
        result = smollm2.model.generate(**chat(smollm2, LOOPING), max_new_tokens=200, do_sample=False)
        smollm2.model.generate(**chat(smollm2, HEALTHY), max_new_tokens=128, do_sample=False)
    looping, healthy = (span.attributes or {} for span in telemetry.spans)
    text = smollm2.tokenizer.decode(result[0])
    assert text.count("I have walked among the stars") > 4, "the model still loops"
    assert looping["corevital.health.repetition_loop_detected"] is True
    assert looping["corevital.risk.level"] == "high"
    assert '"onset_step":52' in str(looping["corevital.health.evidence"])
    assert looping["corevital.early_warning.first_step"] < 66  # type: ignore[operator]
    assert healthy["corevital.risk.level"] == "low"
    flags = [name for name, value in healthy.items() if name.startswith("corevital.health") and value is True]
    assert flags == []
    assert healthy["gen_ai.response.finish_reasons"] == ("stop",)


@pytest.mark.parametrize("factor", [1, 5])
def test_attention_that_is_too_sharp_from_the_first_step_is_told_by_the_profile(
    smollm2: LoadedModel, factor: int
) -> None:
    """As with a wrong scale or position encoding: within the run nothing changes."""
    layers = smollm2.model.model.layers
    hooks = [layer.self_attn.q_proj.register_forward_hook(lambda _m, _a, output: factor * output) for layer in layers]
    keep = Keep()
    try:
        with instrumented(judgements=[keep], capture="full", baseline="auto"):
            smollm2.model.generate(**chat(smollm2, HEALTHY), max_new_tokens=12, min_new_tokens=12, do_sample=False)
    finally:
        for hook in hooks:
            hook.remove()
    health = keep.runs[0].health
    assert health is not None
    assert health.raised() == ([] if factor == 1 else ["attention_collapse_detected", "layer_anomaly_detected"])
    if factor == 5:
        assert "usual" in health.evidence["attention_collapse_detected"]


@pytest.mark.parametrize("batch", [(HEALTHY,), (HEALTHY, "What is a cat?")], ids=["one", "padded"])
@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
def test_tokens_rng_and_signals(smollm2: LoadedModel, batch: tuple[str, ...], sampled: bool) -> None:
    inputs, keep = chat(smollm2, *batch), Keep()
    options: dict[str, Any] = {"max_new_tokens": 24, "do_sample": sampled, "temperature": 0.8 if sampled else None}

    def generate(**more: Any) -> tuple[Any, torch.Tensor]:
        torch.manual_seed(4)
        return smollm2.model.generate(**inputs, **options, **more), torch.get_rng_state()

    plain, plain_rng = generate()
    with instrumented(judgements=[keep], capture="full"):
        found, rng = generate(return_dict_in_generate=True, output_logits=True)
    assert torch.equal(found.sequences, plain)
    assert torch.equal(rng, plain_rng)
    for row, run in enumerate(keep.runs):
        logits = [step[row].double().tolist() for step in found.logits[:2]]
        assert run.alternatives is not None
        first = Alternatives(run.alternatives.probabilities[:2], run.alternatives.tokens[:2])
        assert_alternatives(first, logits, 1e-4)
        assert disagreements(run) == []
        for step in (0, run.steps // 2, run.steps - 1):
            expected = reference_signals(found.logits[step][row].double().tolist(), int(run.tokens[step]))
            for name in ("entropy", "surprisal", "margin", "top1_prob", "topk_mass"):
                assert run.columns[name][step] == pytest.approx(expected[name], abs=1e-4, rel=1e-4), (name, step)


def test_what_is_inside_equals_hidden_states_and_eager_attention(smollm2: LoadedModel) -> None:
    arguments = {**chat(smollm2, HEALTHY, "What is a cat?"), "max_new_tokens": 8, "do_sample": False}
    padding = (arguments["attention_mask"] == 0).sum(-1).tolist()
    length = arguments["input_ids"].shape[1]
    truth = tell(smollm2.model, "model.layers", **arguments)
    runs, tokens = measure(smollm2.model, **arguments)
    assert torch.equal(tokens, truth.tokens)
    for row, run in enumerate(runs):
        # 30 layers of trained weights: SDPA and eager attention add in another order.
        assert_hidden(run, row, truth, 1e-4)
        assert_attention(run, row, truth, smollm2.model.config, length, padding[row], 1e-4)


def test_the_model_is_copied_pickled_and_saved_clean(smollm2: LoadedModel, tmp_path: Path) -> None:
    inputs = chat(smollm2, HEALTHY)
    with instrumented():
        expected = smollm2.model.generate(**inputs, max_new_tokens=6, do_sample=False)
        copied = copy.deepcopy(smollm2.model)
        pickled = pickle.loads(pickle.dumps(smollm2.model))
        smollm2.model.save_pretrained(tmp_path)
    for other in (copied, pickled, AutoModelForCausalLM.from_pretrained(tmp_path)):
        assert torch.equal(other.generate(**inputs, max_new_tokens=6, do_sample=False), expected)


def test_token_pieces_add_up_to_the_text(smollm2: LoadedModel) -> None:
    text = "Zoë said: “naïve café” 日本語 🙂 done.\n\n  indented\tcode()"
    tokens = smollm2.tokenizer(text)["input_ids"]
    pieces = token_pieces(smollm2.tokenizer, tokens)
    assert len(pieces) == len(tokens)
    assert "".join(pieces) == smollm2.tokenizer.decode(tokens)
