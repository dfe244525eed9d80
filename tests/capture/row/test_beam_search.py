"""Beams: what is measured of each returned sequence is what a plain forward pass over it says, in float64."""

import copy
import gc
import math
import warnings
from typing import Any, Final

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital.capture.session import session
from opentelemetry_instrumentation_corevital.run import CROSS_SIGNALS, HIDDEN_SIGNALS, SELF_SIGNALS
from tests.capture.test_hidden_states_and_attention import LAYERS, measure, same, window_of
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.reference import cosine_reference, hidden_reference, layer_reference, reference_signals
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

NEW_TOKENS: Final = 10
SEARCHES: Final[dict[str, dict[str, Any]]] = {
    "search": {"num_beams": 3, "do_sample": False, "num_return_sequences": 2},
    "sample": {"num_beams": 3, "do_sample": True, "num_return_sequences": 3, "temperature": 3.0},
}
ARCHITECTURES: Final = ("llama", "gpt2", "qwen3", "mistral", "gemma3", "gpt_neox")
TOLERANCE: Final = 2e-4
"""The model runs in float32, its reference in float64."""


def forward(model: Any, layers: str, **inputs: torch.Tensor) -> tuple[Any, list[torch.Tensor]]:
    """Run a model in float64 with eager attention; return its output, and every decoder layer's [positions, D]."""
    model = copy.deepcopy(model).double()
    model.set_attn_implementation("eager")
    states: list[torch.Tensor] = []
    for layer in model.get_submodule(layers):
        layer.register_forward_hook(
            lambda _module, _args, output: states.append((output[0] if isinstance(output, tuple) else output)[0])
        )
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True, output_attentions=True, use_cache=False)
    kept = output["decoder_hidden_states" if "decoder_hidden_states" in output else "hidden_states"]
    for state, ours in zip(kept[1:-1], states, strict=False):
        assert torch.equal(state[0], ours), "the hooks see what the model returns"
    return output, states


def expected_columns(
    model: Any, layers: str, run: Run, start: torch.Tensor, encoded: torch.Tensor | None = None
) -> dict[str, np.ndarray]:
    """Return every column of a run by its definition.

    Args:
        model: which has generated it.
        layers: where its layers are.
        run: for its tokens.
        start: ids [columns] that the decoder began with, without padding.
        encoded: ids [columns] of the encoder, without padding.
    """
    ids = torch.cat((start, torch.tensor(run.tokens[:-1].tolist(), dtype=torch.long, device=start.device)))[None]
    if encoded is None:
        output, states = forward(model, layers, input_ids=ids)
        attentions, crosses = output.attentions, ()
    else:
        output, states = forward(model, layers, input_ids=encoded[None], decoder_input_ids=ids)
        attentions, crosses = output.decoder_attentions, output.cross_attentions
    steps: list[dict[str, Any]] = []
    for step, token in enumerate(run.tokens.tolist()):
        at = len(start) - 1 + step
        row: dict[str, Any] = dict(reference_signals(output.logits[0, at].tolist(), token))
        vectors = [state[at].tolist() for state in states]
        hidden = [hidden_reference(vector) for vector in vectors]
        row |= {name: [layer[name] for layer in hidden] for name in HIDDEN_SIGNALS if name in hidden[0]}
        pairs = zip(vectors[1:], vectors, strict=False)
        row["layer_transformation"] = [math.nan, *(1 - cosine_reference(*pair) for pair in pairs)]
        before = states[-1][at - 1].tolist()
        row["hidden_cosine"] = cosine_reference(vectors[-1], before) if step else math.nan
        seen = [
            layer_reference(weights[0, :, at, _first(model.config, layer, at) : at + 1].tolist(), step)
            for layer, weights in enumerate(attentions)
        ]
        row |= {name: [layer[name] for layer in seen] for name in SELF_SIGNALS}
        over = [layer_reference(weights[0, :, at].tolist(), 0) for weights in crosses]
        if over:
            row |= {name: [layer[name.removeprefix("cross_")] for layer in over] for name in CROSS_SIGNALS}
        steps.append(row)
    return {name: np.array([row[name] for row in steps]) for name in steps[0]}


def _first(config: Any, layer: int, position: int) -> int:
    """Return the first key that a query sees."""
    window = window_of(config, layer)
    return 0 if window is None else max(0, position + 1 - window)


def assert_equal(run: Run, expected: dict[str, np.ndarray]) -> None:
    for name in ("hidden_states", "attention", "nonfinite", "entropy"):
        assert name not in run.absent, run.absent
    assert set(run.columns) - {"attention_previous_heads"} == set(expected)
    for name, values in expected.items():
        found = run.columns[name]
        assert found.shape == values.shape, name
        for place, value in np.ndenumerate(values):
            assert same(float(found[place]), float(value), TOLERANCE), (name, place, found[place], value)


def inputs_of(kind: str) -> dict[str, torch.Tensor]:
    return padded_batch() if kind == "padded" else {"input_ids": prompt(9)}


def ends_early(model: Any, inputs: dict[str, torch.Tensor], options: dict[str, Any], at: int = 4) -> dict[str, Any]:
    """Return the options with end tokens that beams of this model choose before the limit."""
    torch.manual_seed(3)
    ids = model.generate(**inputs, **options, max_new_tokens=NEW_TOKENS, eos_token_id=None)
    return {**options, "eos_token_id": sorted(set(ids[:, -NEW_TOKENS:][:, at].tolist()))}


def compare(
    model: Any, layers: str, inputs: dict[str, torch.Tensor], options: dict[str, Any], **settings: Any
) -> list[Run]:
    """Generate, hold every returned sequence against its definition, and return the runs."""
    generation = {"max_new_tokens": NEW_TOKENS, **options}
    runs, tokens = measure(model, {"capture": "full", **settings}, **inputs, **generation)
    ids, returned = inputs["input_ids"], options.get("num_return_sequences", 1)
    mask = inputs.get("attention_mask", torch.ones_like(ids)) != 0
    assert len(runs) == len(tokens) == returned * len(ids)
    for index, run in enumerate(runs):
        at = index // returned
        assert run.prompt_index == at
        given = ids[at][mask[at]]
        if model.config.is_encoder_decoder:
            start, prompted = tokens[0, :1], 1
            expected = expected_columns(model, layers, run, start, given)
        else:
            prompted = ids.shape[1]
            expected = expected_columns(model, layers, run, given)
        assert run.tokens.tolist() == tokens[index, prompted : prompted + run.steps].tolist()
        assert len(set(tokens[index, prompted + run.steps :].tolist())) <= 1, "padding"
        assert_equal(run, expected)
        assert run.risk is not None
        assert run.stop_reason is not None
        assert run.time_ns.tolist() == sorted(run.time_ns.tolist())
        assert run.end_ns >= run.time_ns[-1]
    return runs


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
