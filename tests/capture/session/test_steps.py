"""The captured steps of a run against `output_logits` of the same run."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from transformers import StoppingCriteria

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.run import COLUMNS
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.reference import reference_signals
from tests.support.tiny_models import (
    ARCHITECTURES,
    ENCODER_DECODERS,
    EOS,
    PAD,
    padded_batch,
    prompt,
    tiny_encoder_decoder,
    tiny_model,
)


def generate(model: Any, **arguments: Any) -> tuple[list[Run], Any]:
    keep = Keep()
    with instrumented(judgements=[keep]):
        torch.manual_seed(3)
        result = model.generate(**arguments)
    return keep.runs, result


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
@pytest.mark.parametrize("padded", [False, True], ids=["one", "padded"])
def test_signals_are_those_of_the_raw_logits(architecture: str, sampled: bool, padded: bool) -> None:
    inputs = padded_batch() if padded else {"input_ids": prompt()}
    runs, result = generate(
        tiny_model(architecture),
        **inputs,
        max_new_tokens=12,
        do_sample=sampled,
        temperature=1.7 if sampled else None,
        top_k=9 if sampled else None,
        repetition_penalty=1.2,
        return_dict_in_generate=True,
        output_logits=True,
    )
    length = inputs["input_ids"].shape[1]
    assert len(runs) == len(result.sequences)
    for row, run in enumerate(runs):
        assert run.steps > 0
        assert run.tokens.tolist() == result.sequences[row, length : length + run.steps].tolist()
        for step in range(run.steps):
            expected = reference_signals(result.logits[step][row].double().tolist(), int(run.tokens[step]))
            for name in COLUMNS:
                assert run.columns[name][step] == pytest.approx(expected[name], rel=1e-5, abs=1e-5), (name, step)


def test_finished_sequences_end_at_their_end_token() -> None:
    model = tiny_model(scale=1.0)
    runs, result = generate(model, **padded_batch(), max_new_tokens=60, do_sample=True, num_return_sequences=4)
    assert len(runs) == 12
    lengths = set()
    for row, run in enumerate(runs):
        rest = result[row, 9 + run.steps :]
        assert (rest == PAD).all()
        ended = run.tokens[-1] == EOS
        assert (run.tokens[:-1] != EOS).all()
        assert run.finish_reason == ("stop" if ended else "length")
        assert ended or run.steps == 60
        lengths.add(run.steps)
        assert all(len(values) == run.steps for values in run.columns.values())
        assert len(run.time_ns) == run.steps
        assert (np.diff(run.time_ns) > 0).all()
        assert run.input_tokens == (9, 6, 3)[row // 4]
    assert len(lengths) > 2, "the test needs sequences that end at different steps"


def test_a_criterion_that_stops_one_row_is_told_from_padding() -> None:
    class StopFirstRow(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
            done = torch.zeros(len(input_ids), dtype=torch.bool)
            done[0] = input_ids.shape[1] >= 12
            return done

    runs, _ = generate(
        tiny_model(), **padded_batch(), max_new_tokens=8, do_sample=False, stopping_criteria=[StopFirstRow()]
    )
    assert [run.steps for run in runs] == [3, 8, 8]
    assert [run.finish_reason for run in runs] == ["stop", "length", "length"]


def test_the_prompt_is_counted_without_padding_also_where_transformers_infers_the_mask() -> None:
    ids = padded_batch()["input_ids"]
    runs, _ = generate(tiny_model(), input_ids=ids, max_new_tokens=2, do_sample=False)
    assert [run.input_tokens for run in runs] == [9, 6, 3]
    model = tiny_model(pad_token_id=None)
    runs, _ = generate(model, inputs_embeds=model.get_input_embeddings()(prompt(5)), max_new_tokens=2, do_sample=False)
    assert [run.input_tokens for run in runs] == [5]
    assert runs[0].steps == 2
    runs, _ = generate(tiny_model(), max_new_tokens=2, do_sample=False)
    assert [run.input_tokens for run in runs] == [1], "the begin token"


def test_planted_nan_and_infinity_are_counted_at_their_step() -> None:
    model = tiny_model()
    calls = {"n": 0}

    def plant(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        calls["n"] += 1
        output = output.clone()
        if calls["n"] == 3:
            output[..., :4] = torch.inf
        if calls["n"] == 5:
            output[..., 9] = torch.nan
        return output

    handle = model.lm_head.register_forward_hook(plant)
    runs, _ = generate(model, input_ids=prompt(), max_new_tokens=6, do_sample=False)
    handle.remove()
    (run,) = runs
    assert run.columns["logits_posinf"].tolist() == [0, 0, 4, 0, 0, 0]
    assert run.columns["logits_nan"].tolist() == [0, 0, 0, 0, 1, 0]
    assert np.isnan(run.columns["entropy"]).tolist() == [False, False, True, False, True, False]
    assert run.health is not None
    assert run.health.raised() == ["nan_detected", "inf_detected"]
    assert run.health.evidence["inf_detected"]["step"] == 2
    assert run.risk is not None
    assert run.risk.score == 1.0


def test_a_deferred_stop_leaves_no_extra_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers 5.23 lets the host run a step ahead on some devices and undoes the last step."""
    utils = pytest.importorskip("transformers.generation.utils")
    if not hasattr(utils, "DeferredStopCheck"):
        pytest.skip("this transformers has no deferred stop check")

    class Event:  # the CPU has none, and needs none
        def __init__(self, **options: Any) -> None: ...
        def record(self) -> None: ...
        def synchronize(self) -> None: ...

    monkeypatch.setattr(torch, "Event", Event)
    monkeypatch.setattr(utils.DeferredStopCheck, "is_supported", staticmethod(lambda *args, **kwargs: True))
    model = tiny_model()
    runs, result = generate(model, input_ids=prompt(), max_new_tokens=60, do_sample=True)
    (run,) = runs
    assert run.steps == result.shape[1] - 6
    assert "entropy" in run.columns
    assert len(run.columns["entropy"]) == run.steps


@pytest.mark.parametrize("architecture", ENCODER_DECODERS)
def test_encoder_decoder_models(architecture: str) -> None:
    model = tiny_encoder_decoder(architecture)
    ids, mask = torch.tensor([[5, 6, 7, 9, 0], [5, 6, 7, 8, 9]]), torch.tensor([[1, 1, 1, 1, 0], [1] * 5])
    runs, result = generate(
        model,
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=6,
        do_sample=True,
        return_dict_in_generate=True,
        output_logits=True,
    )
    assert [run.input_tokens for run in runs] == [4, 5], "the encoder's tokens"
    for row, run in enumerate(runs):
        assert run.steps > 0
        assert run.tokens.tolist() == result.sequences[row, 1 : 1 + run.steps].tolist(), "without the start token"
        expected = reference_signals(result.logits[0][row].double().tolist(), int(run.tokens[0]))
        assert run.columns["entropy"][0] == pytest.approx(expected["entropy"], rel=1e-5)


def test_a_custom_loop_is_measured_or_told() -> None:
    def loop(model: Any, input_ids: torch.Tensor, logits_processor: Any, stopping_criteria: Any, **rest: Any) -> Any:
        for _ in range(3):
            logits = logits_processor(input_ids, model(input_ids).logits[:, -1].float())
            input_ids = torch.cat([input_ids, logits.argmax(-1)[:, None]], -1)
            stopping_criteria(input_ids, None)
        return input_ids[:, :-1] if rest["generation_config"].max_new_tokens == 2 else input_ids

    (fits,), _ = generate(tiny_model(), input_ids=prompt(), max_new_tokens=3, custom_generate=loop)
    assert (fits.steps, len(fits.columns["entropy"])) == (3, 3)

    def other(model: Any, input_ids: torch.Tensor, **rest: Any) -> Any:
        return torch.cat([input_ids, input_ids[:, :2]], -1)

    (told,), _ = generate(tiny_model(), input_ids=prompt(), max_new_tokens=2, custom_generate=other)
    assert told.steps == 2
    assert told.columns == {}
    assert "no step was observed" in told.absent["entropy"]


def test_a_run_that_is_interrupted_ends_its_span() -> None:
    class Interrupt:
        def put(self, value: torch.Tensor) -> None:
            if value.numel() == 1:
                raise KeyboardInterrupt

        def end(self) -> None: ...

    with instrumented() as telemetry:
        with pytest.raises(KeyboardInterrupt):
            tiny_model().generate(prompt(), max_new_tokens=9, streamer=Interrupt())
        tiny_model().generate(prompt(), max_new_tokens=2, do_sample=False)
    interrupted, fine = telemetry.spans
    assert "error.type" not in (interrupted.attributes or {})
    assert (interrupted.attributes or {})["corevital.stop_reason"] == "cancelled"
    assert (interrupted.attributes or {})["gen_ai.response.finish_reasons"] == ("stop",)
    assert fine.parent is None


def test_threads_that_generate_at_once_have_their_own_numbers() -> None:
    models = [tiny_model(), tiny_model("gpt2", seed=1)]
    jobs = [(models[index % 2], prompt(4 + index, seed=index)) for index in range(12)]
    expected = []
    for model, ids in jobs:
        (run,), _ = generate(model, input_ids=ids, max_new_tokens=15, do_sample=False)
        expected.append(run)
    keep = Keep()

    def job(index: int) -> None:
        model, ids = jobs[index]
        for _ in range(3):
            model.generate(ids, max_new_tokens=15, do_sample=False)

    with instrumented(judgements=[keep]) as telemetry:
        threads = [threading.Thread(target=job, args=(index,)) for index in range(len(jobs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(telemetry.spans) == len(keep.runs) == 36
    for alone in expected:
        same = [run for run in keep.runs if run.input_tokens == alone.input_tokens]
        assert len(same) == 3
        for run in same:
            assert run.tokens.tolist() == alone.tokens.tolist()
            assert run.columns["entropy"] == pytest.approx(alone.columns["entropy"], abs=1e-5)


def poison(model: Any, step: int, value: float) -> None:
    """Let the output of layer 1 hold a value that is not finite from a step on."""
    calls = {"n": 0}

    def plant(_module: Any, _args: Any, output: Any) -> None:
        calls["n"] += 1
        if calls["n"] > step:
            (output[0] if isinstance(output, tuple) else output)[..., 3] = value

    model.model.layers[1].register_forward_hook(plant)


def failing(
    model: Any, options: dict[str, Any] | None = None, **arguments: Any
) -> tuple[list[Run], Telemetry, BaseException]:
    keep = Keep()
    arguments = {**padded_batch(), "max_new_tokens": 12, "do_sample": True, "eos_token_id": None, **arguments}
    torch.manual_seed(3)
    with instrumented(judgements=[keep], **(options or {})) as telemetry:
        with pytest.raises(RuntimeError) as caught:
            model.generate(**arguments)
        return keep.runs, telemetry, caught.value


@pytest.mark.parametrize("step", [0, 5])
@pytest.mark.parametrize(("value", "flag"), [(np.nan, "nan_detected"), (np.inf, "inf_detected")])
@pytest.mark.parametrize("attention_every", [1, 4])
def test_a_step_that_sampling_refuses_is_judged(step: int, value: float, flag: str, attention_every: int) -> None:
    model = tiny_model(num_hidden_layers=3)
    poison(model, step, value)
    runs, telemetry, error = failing(model, {"attention_every": attention_every})
    assert "probability tensor" in str(error)
    assert len(runs) == 3
    for run in runs:
        assert run.steps == len(run.time_ns) == step
        assert all(len(values) == step for values in run.columns.values())
        assert run.health is not None
        assert run.health.flags()[flag]
        evidence = run.health.evidence[flag]
        assert (evidence["step"], evidence["steps"], evidence["layer"]) == (step, 1, 1)
        assert run.risk is not None
        assert run.risk.score == 1.0
        assert run.early_warning is not None
        assert run.early_warning.failure_risk_at_end == 1.0
        assert run.blame is not None
        assert (run.blame[0].layer, run.blame[0].evidence["step"]) == (1, step)
        assert f"at step {step}" in (run.narrative or "")
    spans = [span.attributes or {} for span in telemetry.spans]
    assert sum(attributes.get(f"corevital.health.{flag}", False) for attributes in spans) == 3


def test_a_sequence_that_was_over_is_not_judged_by_the_step_that_failed() -> None:
    class StopFirstRow(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
            done = torch.zeros(len(input_ids), dtype=torch.bool)
            done[0] = input_ids.shape[1] == 12
            return done

    model = tiny_model()
    poison(model, 5, np.nan)
    runs, _, _ = failing(model, stopping_criteria=[StopFirstRow()])
    assert [run.steps for run in runs] == [3, 5, 5]
    assert [bool(run.failed_step) for run in runs] == [False, True, True]
    assert [run.health.nan_detected for run in runs if run.health is not None] == [False, True, True]


def test_a_failed_step_that_cannot_be_read_is_not_taken_for_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry_instrumentation_corevital.capture.backends.batched_backend import BatchedBackend
    from opentelemetry_instrumentation_corevital.capture.session import session

    def unread(_self: Any, _row: torch.Tensor) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(BatchedBackend, "read", unread)
    monkeypatch.setattr(session, "HostRows", type("RowsOfAnotherDevice", (), {}))
    model = tiny_model()
    poison(model, 5, np.nan)
    runs, telemetry, _ = failing(model)
    for run in runs:
        assert run.steps == 5
        assert run.health is not None
        assert run.health.nan_detected is None
        assert "could not be read" in run.health.absent["nan_detected"]
        assert "entropy" in run.columns
    assert not any("corevital.health.nan_detected" in (span.attributes or {}) for span in telemetry.spans)


@pytest.mark.parametrize("step", [0, 4])
def test_a_healthy_step_that_failed_leaves_no_trace(step: int) -> None:
    error = RuntimeError("a processor")

    def fail(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if ids.shape[1] == 9 + step:
            raise error
        return scores

    runs, _, caught = failing(tiny_model(), logits_processor=[fail])
    assert caught is error
    assert len(runs) == (3 if step else 1)
    for run in runs:
        assert (run.steps, run.failed_step) == (step, {})
        assert run.health is not None
        assert run.health.nan_detected is (False if step else None)
        assert ("nonfinite" in run.absent) is (step == 0)
