"""Beams: what is measured of each returned sequence is what a plain forward pass over it says, in float64."""

import gc
import math
import warnings
from typing import Any, Final

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.capture.session import session
from tests.support.beam_reference import SEARCHES, compare, ends_early
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.model_internals import LAYERS, measure
from tests.support.tiny_models import (
    ENCODER_DECODERS,
    PAD,
    VOCABULARY,
    padded_batch,
    prompt,
    sharpen,
    tiny_encoder_decoder,
    tiny_model,
)

ARCHITECTURES: Final = ("llama", "gpt2", "qwen3", "mistral", "gemma3", "gpt_neox")


def inputs_of(kind: str) -> dict[str, torch.Tensor]:
    return padded_batch() if kind == "padded" else {"input_ids": prompt(9)}


@pytest.mark.parametrize("kind", ["one", "padded"])
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_signal_is_that_of_a_plain_forward_pass(architecture: str, search: str, kind: str) -> None:
    model, inputs = sharpen(tiny_model(architecture)), inputs_of(kind)
    options = ends_early(model, inputs, SEARCHES[search])
    runs = compare(model, LAYERS.get(architecture, "model.layers"), inputs, options)
    assert len({run.steps for run in runs}) > 1 or kind == "one", "of different lengths"


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("architecture", ENCODER_DECODERS)
def test_an_encoder_decoder_too_with_its_cross_attention(architecture: str, search: str) -> None:
    model, ids = sharpen(tiny_encoder_decoder(architecture)), prompt(9, batch=2)
    mask = torch.ones(2, 9, dtype=torch.long)
    ids[1, 5:], mask[1, 5:] = PAD, 0
    runs = compare(model, LAYERS[architecture], {"input_ids": ids, "attention_mask": mask}, SEARCHES[search])
    assert all("cross_attention_entropy" in run.columns for run in runs)


VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "as soon as there are enough": {"early_stopping": True},
    "never early": {"early_stopping": "never", "length_penalty": 2.0},
    "short ones": {"length_penalty": -2.0},
    "all beams": {"num_return_sequences": 4},
    "no cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static"},
    "penalties": {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "min_new_tokens": 3},
    "sampled with penalties": {"do_sample": True, "temperature": 2.0, "repetition_penalty": 1.3, "top_k": 30},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_however_the_search_ends_and_whatever_its_processors_change(variant: str) -> None:
    model, inputs = sharpen(tiny_model()), padded_batch()
    options = {"num_beams": 4, "num_return_sequences": 2, **VARIANTS[variant]}
    plain = {name: value for name, value in options.items() if name != "min_new_tokens"}
    compare(model, "model.layers", inputs, {**ends_early(model, inputs, plain), **options})


def test_a_beam_that_ends_with_its_first_token() -> None:
    model, inputs = sharpen(tiny_model()), {"input_ids": prompt(9)}
    options = {"num_beams": 3, "num_return_sequences": 3, "do_sample": False}
    options = ends_early(model, inputs, options, at=0)
    runs = compare(model, "model.layers", inputs, {**options, "length_penalty": 0.0})
    assert runs[0].steps == 1
    assert runs[0].stop_reason == "eos"
    assert {run.steps for run in runs} != {1}


def test_step_by_step_by_torch_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = session.backend_for
    monkeypatch.setattr(session, "backend_for", lambda *args, **more: whole(*args, **{**more, "at_once": True}))
    compare(sharpen(tiny_model()), "model.layers", padded_batch(), SEARCHES["sample"])


class Edits(LogitsProcessor):
    """Changes what it gets in place, as the worst of processors."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, 40:] = -torch.inf
        scores += torch.arange(VOCABULARY, device=scores.device) / 50
        return scores


def test_a_processor_that_edits_in_place_changes_no_number() -> None:
    options = {"num_beams": 3, "num_return_sequences": 2, "logits_processor": LogitsProcessorList([Edits()])}
    runs = compare(sharpen(tiny_model()), "model.layers", padded_batch(), options)
    assert all((run.tokens < 40).all() for run in runs)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_counted_in_the_raw_logits(bad: float) -> None:
    """The loop's log-softmax would have none or 128 of them."""
    model, calls = tiny_model(), [0]

    def plant(_module: Any, _args: Any, logits: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 3:
            logits[..., [5, 9]] = bad
        return logits

    model.lm_head.register_forward_hook(plant)
    runs, _ = measure(model, input_ids=prompt(9), num_beams=3, max_new_tokens=6, eos_token_id=None, do_sample=False)
    (run,) = runs
    column = {math.inf: "logits_posinf", -math.inf: "logits_neginf"}.get(bad, "logits_nan")
    for name in ("logits_nan", "logits_posinf", "logits_neginf"):
        expected = [0, 0, 2 if name == column else 0, 0, 0, 0]
        assert run.columns[name].tolist() == expected[: run.steps], name
    assert run.steps >= 3
    assert run.health is not None
    assert run.health.raised() == ["nan_detected" if math.isnan(bad) else "inf_detected"]


def test_logs_of_its_steps_come_when_the_search_is_over() -> None:
    telemetry, keep, during = Telemetry(), Keep(), []

    def steps() -> list[Any]:
        return [record for record in telemetry.logs if record.event_name == semconv.STEP_EVENT]

    def criterion(_ids: torch.Tensor, _scores: Any, **_: Any) -> bool:
        during.append(len(steps()))
        return False

    model, options = sharpen(tiny_model()), {"num_beams": 3, "num_return_sequences": 3}
    options = ends_early(model, padded_batch(), options)
    with instrumented(telemetry, capture="full", step_events="logs", judgements=[keep]):
        model.generate(**padded_batch(), max_new_tokens=9, stopping_criteria=[criterion], **options)
    assert set(during) == {0}
    told = steps()
    for index, run in enumerate(keep.runs):
        mine = [record for record in told if record.attributes[semconv.SEQUENCE_INDEX] == index]
        assert [record.timestamp for record in mine] == run.time_ns.tolist()
        surprisals = [record.attributes[semconv.STEP_SURPRISAL] for record in mine]
        assert surprisals == pytest.approx(run.columns["surprisal"].tolist(), rel=1e-5)


def test_a_beam_that_was_never_found_has_no_step() -> None:
    """Three beams are to be returned, and there are two tokens to choose from."""
    telemetry, keep, model = Telemetry(), Keep(), sharpen(tiny_model())
    options = {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 1, "eos_token_id": None}
    with instrumented(telemetry, capture="full", step_events="logs", judgements=[keep]), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model.generate(prompt(9), do_sample=False, prefix_allowed_tokens_fn=lambda _row, _ids: [40, 41], **options)
    assert [run.steps for run in keep.runs] == [1, 1, 0]
    steps = [record for record in telemetry.logs if record.event_name == semconv.STEP_EVENT]
    assert [record.attributes[semconv.SEQUENCE_INDEX] for record in steps] == [0, 1]


def test_beams_of_a_prompt_of_embeddings_know_that_their_time_was_over() -> None:
    model = sharpen(tiny_model())
    embeds = model.get_input_embeddings()(prompt(9)).detach()
    options: dict[str, Any] = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 9, "eos_token_id": None}
    options["max_time"] = 0.0
    runs, _ = measure(model, inputs_embeds=embeds, attention_mask=torch.ones(1, 9, dtype=torch.long), **options)
    assert [(run.steps, run.stop_reason, run.finish_reason) for run in runs] == [(1, "time", "length")] * 2


def test_a_call_that_fails_does_not_claim_a_beam() -> None:
    class Fails(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if input_ids.shape[1] == at:
                raise RuntimeError("in the middle")
            return scores

    for at in (9, 12):
        keep = Keep()
        with instrumented(judgements=[keep], capture="full"), pytest.raises(RuntimeError):
            tiny_model().generate(
                prompt(9, batch=2), num_beams=3, num_return_sequences=2, max_new_tokens=9, logits_processor=[Fails()]
            )
        if at == 9:
            assert [run.output_tokens for run in keep.runs] == [0]
        else:
            (run,) = keep.runs
            assert run.output_tokens is None
            assert "which beams would have been returned is not known" in run.absent["output_tokens"]
            assert run.absent["entropy"] == run.absent["output_tokens"]
            assert not run.columns


def test_a_first_step_that_fails_on_what_is_not_finite_has_it_as_evidence() -> None:
    model, keep = tiny_model(), Keep()
    model.lm_head.register_forward_hook(lambda _module, _args, logits: logits * math.nan)
    with instrumented(judgements=[keep]), pytest.raises(RuntimeError):
        model.generate(prompt(9, batch=2), num_beams=3, num_return_sequences=2, max_new_tokens=9, do_sample=True)
    assert [run.prompt_index for run in keep.runs] == [0, 0, 1, 1]
    for run in keep.runs:
        assert run.health is not None
        assert run.health.evidence["nan_detected"]["logits"] == VOCABULARY


def test_a_loop_of_the_callers_is_not_taken_for_a_beam_search() -> None:
    def loop(_model: Any, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.cat((input_ids, input_ids[:, -1:]), 1)

    runs, _ = measure(tiny_model(), input_ids=prompt(9), num_beams=2, max_new_tokens=3, custom_generate=loop)
    assert {run.absent["entropy"] for run in runs} == {"not measured in decoding strategy beam_search of a custom loop"}


def test_a_model_whose_logits_nobody_sees_says_so() -> None:
    model = tiny_model()

    class Own(type(model)):  # type: ignore[misc]
        def _update_model_kwargs_for_generation(self, outputs: Any, *args: Any, **kwargs: Any) -> Any:
            logits, outputs.logits = outputs.logits, None
            try:
                return super()._update_model_kwargs_for_generation(outputs, *args, **kwargs)
            finally:
                outputs.logits = logits

    model.__class__ = Own
    (run,), _ = measure(model, input_ids=prompt(9), num_beams=2, max_new_tokens=3)
    assert run.absent["nonfinite"] == "the raw logits of a beam search were not seen"
    assert run.output_tokens == 3


def test_logits_of_past_steps_are_not_kept() -> None:
    kept: list[int] = []

    def criterion(ids: torch.Tensor, _scores: Any, **_: Any) -> bool:
        if ids.shape[1] in (20, 40):
            held = (each for each in gc.get_objects() if type(each) is torch.Tensor and each.ndim > 1)
            kept.append(sum(each.nbytes for each in held if each.shape[-1] == VOCABULARY))
        return False

    model, options = tiny_model(), {"max_new_tokens": 36, "stopping_criteria": [criterion], "eos_token_id": None}
    measure(model, input_ids=prompt(9), num_beams=3, **options)
    early, late = kept
    assert 0 < late <= early
