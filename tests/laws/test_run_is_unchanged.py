"""Law 1: what a run is, draws, says, leaves behind and keeps alive is what it is without CoreVital."""

import copy
import gc
import pickle
import random
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList, StoppingCriteria

from opentelemetry_instrumentation_corevital.capture.collector.layer_outputs import StepHidden
from opentelemetry_instrumentation_corevital.capture.collector.step_attention import StepAttention
from opentelemetry_instrumentation_corevital.policies import BreakReasoning, CoolDown, RollBack, Stop
from tests.support.identity import Observed, assert_same, attributes, observe
from tests.support.in_memory import Telemetry, instrumented
from tests.support.policies import never
from tests.support.tiers import heavy
from tests.support.tiny_models import (
    ARCHITECTURES,
    ENCODER_DECODERS,
    padded_batch,
    prompt,
    tiny_encoder_decoder,
    tiny_model,
)

IN_ACCEPTANCE = ("qwen2", "phi3", "olmo2", "mistral", "gpt_neox")
"""Of these `make acceptance` alone compares every way of decoding."""

DECODING: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True, "temperature": 0.9, "top_k": 20, "top_p": 0.9},
    "sampled, penalties": {
        "do_sample": True,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 3,
        "min_new_tokens": 3,
    },
    "several sequences": {"do_sample": True, "num_return_sequences": 3},
    "beams": {"num_beams": 4, "do_sample": False},
    "sampled beams": {"num_beams": 2, "do_sample": True, "num_return_sequences": 2},
    "beams, dictionary": {
        "num_beams": 3,
        "num_return_sequences": 2,
        "return_dict_in_generate": True,
        "output_scores": True,
        "output_logits": True,
    },
    "no cache": {"do_sample": True, "use_cache": False},
    "static cache": {"do_sample": True, "cache_implementation": "static"},
    "dictionary": {
        "do_sample": True,
        "return_dict_in_generate": True,
        "output_scores": True,
        "output_logits": True,
    },
    "guidance": {"do_sample": True, "guidance_scale": 1.5},
}
INPUTS: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
    "one": lambda: {"input_ids": prompt()},
    "padded": padded_batch,
}


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> Iterator[None]:
    """Let the cyclic collector look only at what the runs make, not at all that the process has loaded."""
    with instrumented(capture="full"):  # what is imported and made once
        outcome(tiny_model(), {"input_ids": prompt()}, {})
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def outcome(model: Any, inputs: dict[str, torch.Tensor], options: dict[str, Any]) -> Observed:
    vars(model).pop(
        "_cache", None
    )  # transformers 4 keeps a static cache there, which the next call would not have to make
    return observe(lambda: model.generate(**inputs, max_new_tokens=14, **options))


@pytest.mark.parametrize(
    "architecture",
    [heavy(each) if each in IN_ACCEPTANCE else each for each in (*ARCHITECTURES, *ENCODER_DECODERS)],
)
def test_tokens_and_rng_are_bit_identical(architecture: str) -> None:
    """Every signal of every layer is measured at every step; 13 architectures x 11 decodings x one and padded."""
    encoder_decoder = architecture in ENCODER_DECODERS
    model = tiny_encoder_decoder(architecture) if encoder_decoder else tiny_model(architecture)
    for name, options in DECODING.items():
        if architecture == "t5" and name == "guidance":
            continue  # transformers has none for it
        for inputs in INPUTS.values():
            plain = outcome(model, inputs(), options)
            before = attributes(model)
            with instrumented(capture="full", run_data="off") as telemetry:
                found = outcome(model, inputs(), options)
            assert_same(found, plain)
            assert attributes(model) == before, name
            absent = str((telemetry.spans[0].attributes or {}).get("corevital.capture.absent"))
            for signal in ("hidden_states", '"attention"'):
                assert signal not in absent, (name, absent)
            assert_same(outcome(model, inputs(), options), plain)
    left = weakref.ref(model)
    del model
    assert left() is None


ARMED: list[tuple[dict[str, Any], str]] = [
    (DECODING["greedy"], "one"),
    (DECODING["sampled, penalties"], "padded"),
    (DECODING["beams"], "one"),
    (DECODING["sampled beams"], "padded"),
    (DECODING["dictionary"], "padded"),
    ({"prompt_lookup_num_tokens": 3, "do_sample": False}, "one"),
]


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *ENCODER_DECODERS])
def test_policies_that_never_fire_change_nothing(architecture: str) -> None:
    """Every kind of policy is asked at every step: whole results, scores, generators and what is left are the same."""
    model = tiny_encoder_decoder(architecture) if architecture in ENCODER_DECODERS else tiny_model(architecture)
    policies = [
        Stop(on=never),
        CoolDown(on=never),
        RollBack(on=never),
        BreakReasoning(on=never, tokens=[5]),
        Stop(on=("nan", "inf")),
    ]
    for options, which in ARMED:
        plain = outcome(model, INPUTS[which](), options)
        before = attributes(model)
        with instrumented(capture="full", run_data="off", policies=policies):
            found = outcome(model, INPUTS[which](), options)
        assert_same(found, plain)
        assert attributes(model) == before, options


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2"])
def test_policies_leave_a_run_with_an_assistant_model_alone(architecture: str, sampled: bool) -> None:
    """They would fire at once if they were asked; neither the model's run nor the assistant's is touched."""
    model, assistant = tiny_model(architecture), tiny_model(architecture, seed=1)
    options = {"assistant_model": assistant, "do_sample": sampled, "num_assistant_tokens": 3}
    policies = [RollBack(on="risk>=0"), BreakReasoning(on="risk>=0", tokens=[5]), CoolDown("risk>=0"), Stop("risk>=0")]
    plain = outcome(model, INPUTS["one"](), options)
    before = attributes(model), attributes(assistant)
    with instrumented(capture="full", run_data="off", policies=policies) as telemetry:
        found = outcome(model, INPUTS["one"](), options)
    assert_same(found, plain)
    assert (attributes(model), attributes(assistant)) == before
    (span,) = telemetry.spans
    absent = str((span.attributes or {})["corevital.capture.absent"])
    assert "assisted_generation" in absent
    assert "interventions" in absent


class FailAt(LogitsProcessor):
    """Draws from Python's generator, warns and, at some length, raises an exception that has a cause."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        random.random()
        warnings.warn("from a processor", UserWarning, stacklevel=1)
        if input_ids.shape[1] == self.length:
            try:
                raise KeyError("first")
            except KeyError as error:
                raise ValueError("then") from error
        return scores


@pytest.mark.parametrize("decoding", ["greedy", "sampled", "beams", "static cache", "dictionary"])
def test_a_call_that_raises_is_the_same(decoding: str) -> None:
    model = tiny_model()
    for length in (9, 12):  # at the first step and later
        options = {**DECODING[decoding], "logits_processor": LogitsProcessorList([FailAt(length)])}
        plain = outcome(model, padded_batch(), options)
        assert isinstance(plain.error, ValueError)
        assert plain.warnings
        before = attributes(model)
        with instrumented(capture="full"):
            found = outcome(model, padded_batch(), options)
        assert_same(found, plain)
        assert attributes(model) == before


ASSISTED: dict[str, dict[str, Any]] = {
    "prompt lookup": {"prompt_lookup_num_tokens": 3, "do_sample": False},
    "prompt lookup, sampled": {"prompt_lookup_num_tokens": 3, "do_sample": True},
    "assisted": {"do_sample": False},
    "assisted, sampled": {"do_sample": True},
}


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *ENCODER_DECODERS])
def test_assisted_decoding_is_bit_identical_and_nothing_runs_in_the_assistant(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: Any) -> Any:
        raise AssertionError("measured")

    monkeypatch.setattr(StepHidden, "_inspect", forbidden)
    monkeypatch.setattr(StepAttention, "on_scores", forbidden)
    monkeypatch.setattr(StepAttention, "_inspect", forbidden)
    make = tiny_encoder_decoder if architecture in ENCODER_DECODERS else tiny_model
    model, assistant = make(architecture), make(architecture, seed=1)
    for name, settings in ASSISTED.items():
        options = {**settings, "assistant_model": assistant} if name.startswith("assisted") else settings
        plain = outcome(model, {"input_ids": prompt()}, options)
        before = attributes(model), attributes(assistant)
        with instrumented(capture="full") as telemetry:
            found = outcome(model, {"input_ids": prompt()}, options)
        assert_same(found, plain)
        assert (attributes(model), attributes(assistant)) == before, name
        (span,) = telemetry.spans
        assert "assisted" in str((span.attributes or {})["corevital.capture.absent"]), name


@pytest.mark.parametrize(
    "options",
    [{"prompt_lookup_num_tokens": 3}, {"assistant": True}, {"assistant": True, "do_sample": True}],
    ids=["prompt lookup", "assisted", "assisted, sampled"],
)
def test_assisted_decoding_is_unharmed_and_told_as_unmeasured(options: dict[str, Any]) -> None:
    model, options = tiny_model(), dict(options)
    if options.pop("assistant", False):
        options["assistant_model"] = tiny_model(seed=1)
    plain = outcome(model, {"input_ids": prompt()}, options)
    with instrumented() as telemetry:
        found = outcome(model, {"input_ids": prompt()}, options)
    assert_same(found, plain)
    # The assistant's own generate() calls make no runs.
    told = telemetry.span.attributes or {}
    assert told["gen_ai.usage.output_tokens"] == plain.result.shape[1] - 6
    assert "assisted" in str(told["corevital.capture.absent"])
    assert "corevital.entropy.mean" not in told
    assert "corevital.risk.score" not in told


def test_the_callers_processors_criteria_and_streamer_are_used_as_they_are() -> None:
    class Ban(LogitsProcessor):
        calls = 0

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            Ban.calls += 1
            scores[:, 5:60] = -torch.inf  # in place, as the worst of processors
            return scores

    class StopAtSeven(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
            return torch.full((input_ids.shape[0],), input_ids.shape[1] >= 13)

    class Streamer:
        def __init__(self) -> None:
            self.seen: list[list[int]] = []

        def put(self, value: torch.Tensor) -> None:
            self.seen.append(value.flatten().tolist())

        def end(self) -> None:
            self.seen.append([])

    model = tiny_model()

    def run() -> tuple[torch.Tensor, list[list[int]], int]:
        Ban.calls, streamer = 0, Streamer()
        torch.manual_seed(0)
        result = model.generate(
            prompt(),
            max_new_tokens=20,
            do_sample=True,
            logits_processor=LogitsProcessorList([Ban()]),
            stopping_criteria=[StopAtSeven()],
            streamer=streamer,
        )
        return result, streamer.seen, Ban.calls

    plain = run()
    with instrumented() as telemetry:
        found = run()
    assert torch.equal(found[0], plain[0])
    assert found[1:] == plain[1:]
    assert (telemetry.span.attributes or {})["gen_ai.response.finish_reasons"] == ("stop",)


def test_the_same_exception_reaches_the_caller() -> None:
    class Boom(RuntimeError):
        pass

    error = Boom("in the middle")

    class Fail(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if input_ids.shape[1] == 9:
                raise error
            return scores

    model = tiny_model()
    with instrumented() as telemetry:
        with pytest.raises(Boom) as caught:
            model.generate(prompt(), max_new_tokens=20, do_sample=False, logits_processor=LogitsProcessorList([Fail()]))
        assert caught.value is error
        model.generate(prompt(), max_new_tokens=4, do_sample=False)
    failed, fine = telemetry.spans
    attributes = failed.attributes or {}
    assert attributes["error.type"].endswith("Boom")
    assert attributes["corevital.steps.total"] == 3
    assert failed.status.status_code.name == "ERROR"
    assert [event.name for event in failed.events].count("exception") == 1
    assert fine.status.status_code.name == "UNSET"


def test_a_model_is_copied_pickled_and_saved_clean(tmp_path: Path) -> None:
    model = tiny_model()
    before = sorted(vars(model))
    with instrumented():
        expected = model.generate(prompt(), max_new_tokens=5, do_sample=False)
        copied, pickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        model.save_pretrained(tmp_path)
    assert sorted(vars(model)) == before
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    for other in (copied, pickled, loaded):
        assert torch.equal(other.generate(prompt(), max_new_tokens=5, do_sample=False), expected)
        assert not any("corevital" in type(hook).__module__ for hook in other._forward_hooks.values())
    assert b"corevital" not in pickle.dumps(model)


def test_what_is_not_recorded_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    from opentelemetry_instrumentation_corevital.capture.backends import torch_backend
    from opentelemetry_instrumentation_corevital.capture.session import session

    def forbidden(*args: Any) -> Any:
        raise AssertionError("measured")

    monkeypatch.setattr(torch_backend, "logit_signals", forbidden)
    monkeypatch.setattr(session, "transfer_for", forbidden)
    model = tiny_model()
    with instrumented(Telemetry(sampler=ALWAYS_OFF)) as telemetry:
        found = model.generate(prompt(), max_new_tokens=5, do_sample=False)
    assert not telemetry.spans
    metrics = telemetry.metrics()
    (runs,) = metrics["corevital.runs"]
    assert runs.value == 1
    assert runs.attributes["corevital.captured"] is False
    usage = {point.attributes["gen_ai.token.type"]: point.sum for point in metrics["gen_ai.client.token.usage"]}
    assert usage == {"input": 6, "output": found.shape[1] - 6}
    assert "corevital.risk.score" not in metrics
