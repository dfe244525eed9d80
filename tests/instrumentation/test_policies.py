"""Policies act on a call while it goes on, say what they did, and leave alone what they are not to touch."""

import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from transformers import LogitsProcessor, LogitsProcessorList, TopKLogitsWarper
from transformers.generation.logits_process import TemperatureLogitsWarper

from opentelemetry_instrumentation_corevital import Run, StepEvent
from opentelemetry_instrumentation_corevital.capture.isolation.compiled_code import Compiled
from opentelemetry_instrumentation_corevital.capture.row import host_transfer
from opentelemetry_instrumentation_corevital.capture.session import session as sessions
from opentelemetry_instrumentation_corevital.capture.session.steering import Sampling, with_temperatures
from opentelemetry_instrumentation_corevital.config import SettingsError
from opentelemetry_instrumentation_corevital.instrumentation.patched_methods import process_recorder
from opentelemetry_instrumentation_corevital.policies import (
    BreakReasoning,
    CoolDown,
    PolicyError,
    Retry,
    RollBack,
    Stop,
)
from opentelemetry_instrumentation_corevital.testing import capture_runs
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.policies import GREEDY, SAMPLED, acted_on, at, generate, never
from tests.support.tiers import heavy
from tests.support.tiny_models import PAD, TRANSFORMERS_4, padded_batch, prompt, sharpen, tiny_model

ENDS = (20, 21, 22)
"""Tokens that end the reasoning."""
DECODINGS = {"greedy": GREEDY, "sampled": SAMPLED}


def told(run: Run) -> list[tuple[str, str, int, str]]:
    return [(each.kind, each.trigger, each.step, each.outcome) for each in run.interventions]


# --- each policy, of one sequence and of a row ------------------------------------------------------------------------


@pytest.mark.parametrize("decoding", DECODINGS)
def test_stop_ends_the_run_at_the_step_after(decoding: str) -> None:
    model, options = tiny_model(), DECODINGS[decoding]
    result, (run,) = acted_on([Stop(on=at(9))], model, **options)
    assert torch.equal(result, generate(model, **options)[:, : 6 + 11])
    assert told(run) == [("stop", "at_these_steps", 10, "stopped")]
    assert (run.stop_reason, run.finish_reason, run.steps) == ("policy", "stop", 11)
    assert run.interventions[0].tokens_left == 24 - 11


@pytest.mark.parametrize("decoding", DECODINGS)
def test_stop_ends_a_row_and_the_others_go_on(decoding: str) -> None:
    """Rows draw together: what the others draw is what they drew. A row that is over is padded."""
    model, options = tiny_model(), DECODINGS[decoding]
    plain = generate(model, padded_batch(), **options)
    result, runs = acted_on([Stop(on=at(9, sequences=[1]))], model, padded_batch(), **options)
    assert torch.equal(result[[0, 2]], plain[[0, 2]])
    assert torch.equal(result[1, : 9 + 11], plain[1, : 9 + 11])
    assert [run.stop_reason for run in runs] == ["length", "policy", "length"]
    assert [run.steps for run in runs] == [24, 11, 24]
    assert [len(run.interventions) for run in runs] == [0, 1, 0]


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("sequences", [[0], [1], [0, 2]], ids=str)
def test_break_reasoning_forces_its_tokens_in_a_row(decoding: str, sequences: list[int]) -> None:
    model, options = tiny_model(), DECODINGS[decoding]
    inputs = padded_batch()
    plain = generate(model, inputs, **options)
    policy = BreakReasoning(on=at(9, sequences=sequences), tokens=ENDS)
    result, runs = acted_on([policy], model, inputs, **options)
    assert torch.equal(result[:, : 9 + 11], plain[:, : 9 + 11])
    for index, run in enumerate(runs):
        forced = tuple(run.tokens[11:14].tolist())
        assert (forced == ENDS) == (index in sequences)
        assert told(run) == [("break_reasoning", "at_these_steps", 10, "continued")] * (index in sequences)
        assert run.stop_reason == "length"
        if index in sequences:
            assert (run.columns["surprisal"][11:14] > 0.5).any(), "the raw logits did not choose them"
        elif decoding == "greedy":
            assert torch.equal(result[index], plain[index])


def test_break_reasoning_measures_the_raw_logits() -> None:
    model = tiny_model()
    result, (run,) = acted_on([BreakReasoning(on=at(9), tokens=ENDS)], model, **GREEDY)
    with torch.no_grad():
        logits = model(result[:, : 6 + 11]).logits[0, -1].double()
    surprisal = -torch.log_softmax(logits, -1)[ENDS[0]] / torch.log(torch.tensor(2.0, dtype=torch.float64))
    assert float(run.columns["surprisal"][11]) == pytest.approx(float(surprisal), rel=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_cool_down_samples_at_another_temperature_for_its_steps(batch: int) -> None:
    """So cold that sampling chooses what is most likely; afterwards it draws as before."""
    model, inputs = tiny_model(), padded_batch()
    inputs = {name: value[:batch] for name, value in inputs.items()}
    plain = generate(model, inputs, **SAMPLED)
    policy = CoolDown(on=at(9, sequences=[0]), temperature=1e-3, steps=5)
    result, runs = acted_on([policy], model, inputs, **SAMPLED)
    assert torch.equal(result[:, : 9 + 11], plain[:, : 9 + 11])
    cold = runs[0].columns["surprisal"][11:16]
    likeliest = -torch.log2(torch.tensor(runs[0].columns["top1_prob"][11:16]))
    torch.testing.assert_close(torch.tensor(cold), likeliest, atol=1e-3, rtol=1e-3)
    assert told(runs[0]) == [("cool_down", "at_these_steps", 10, "continued")]
    assert all(run.stop_reason == "length" for run in runs)
    assert [len(run.interventions) for run in runs[1:]] == [0] * (batch - 1)


def test_a_budget_bounds_changes_and_not_an_end() -> None:
    policies = [BreakReasoning(on=at(3), tokens=ENDS), CoolDown(on=at(8, 12), steps=1), Stop(on=at(16))]
    with capture_runs(policies=policies, max_interventions=2) as telemetry:
        generate(tiny_model(), **SAMPLED)
    assert [each.kind for each in telemetry.runs[0].interventions] == ["break_reasoning", "cool_down", "stop"]


# --- the logits processors --------------------------------------------------------------------------------------------


class Seen(LogitsProcessor):
    calls = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return scores


def test_the_callers_processors_run_at_every_step() -> None:
    seen = Seen()
    policies = [CoolDown(on=at(9), steps=4), BreakReasoning(on=at(14), tokens=ENDS)]
    acted_on(policies, tiny_model(), logits_processor=LogitsProcessorList([seen]), **SAMPLED)
    assert seen.calls == 24


@pytest.mark.parametrize("own", [True, False], ids=["temperature", "no temperature"])
@pytest.mark.parametrize("given", [True, False], ids=["the caller's too", "none of the caller's"])
def test_the_temperature_stands_where_transformers_puts_it(own: bool, given: bool) -> None:
    """Before what chooses a part of the vocabulary, behind the caller's own, which stay."""
    callers = [Seen(), TemperatureLogitsWarper(0.5), TopKLogitsWarper(3)] if given else []
    behind = [TopKLogitsWarper(5)]
    before = [TemperatureLogitsWarper(0.7)] if own else []
    scores = torch.zeros(2, 8)
    found = with_temperatures([*callers, *before, *behind], scores, Sampling({1: 0.25}), callers)
    assert found[: len(callers)] == callers
    assert found[len(callers) + 1 :] == behind
    usual = 0.7 if own else 1.0
    assert found[len(callers)]._temperatures.flatten().tolist() == pytest.approx([usual, 0.25])


# --- nothing else changes ---------------------------------------------------------------------------------------------


def test_what_never_fires_waits_for_no_more_than_the_step_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a step for the numbers of the steps before it, and nothing is read of the device beside them."""
    waited: list[int] = []
    arrive = host_transfer.HostRows.arrive

    def counted(self: Any, steps: int) -> None:
        waited.append(steps)
        arrive(self, steps)

    monkeypatch.setattr(host_transfer.HostRows, "arrive", counted)
    steer = sessions.Session._steer
    reads: list[str] = []

    def watched(self: Any, flags: torch.Tensor) -> Any:
        with Reads(reads):
            return steer(self, flags)

    monkeypatch.setattr(sessions.Session, "_steer", watched)
    armed = [Stop(on=never), CoolDown(on=never), RollBack(on=never), BreakReasoning(on=never, tokens=ENDS)]
    acted_on(armed, tiny_model(), **SAMPLED)
    assert waited == list(range(24))
    assert reads == []


class Reads(torch.overrides.TorchFunctionMode):
    """Takes note of what waits for a device."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("tolist", "item", "cpu", "numpy", "__bool__", "to"):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.acceptance
def test_a_repeated_run_acts_at_the_same_step_under_load() -> None:
    """20 times, while other threads take the processor away."""
    model, stop = tiny_model(), threading.Event()

    def burn() -> None:
        while not stop.is_set():
            sum(range(2000))

    threads = [threading.Thread(target=burn) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with capture_runs(policies=[Stop(on=lambda event: event.entropy > 2.9 and event.step_index > 2)]) as telemetry:
            for _ in range(20):
                generate(model, tokens=40, **SAMPLED)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    (outcome,) = {(tuple(told(run)), tuple(run.tokens.tolist())) for run in telemetry.runs}
    assert outcome[0], "it acted"


def test_policies_are_asked_where_the_span_is_not_sampled() -> None:
    keep, model = Keep(), tiny_model()
    with instrumented(Telemetry(sampler=ALWAYS_OFF), policies=[Stop(on=at(9))], judgements=[keep]) as telemetry:
        found = generate(model, **GREEDY)
    assert found.shape[1] == 6 + 11
    assert not telemetry.spans
    assert [run.stop_reason for run in keep.runs] == ["policy"]
    with instrumented(policies=[Stop(on=at(9))], capture_ratio=0.0):
        assert generate(model, **GREEDY).shape[1] == 6 + 11


# --- conditions -------------------------------------------------------------------------------------------------------


def test_a_condition_that_fails_is_false_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Any) -> bool:
        raise ValueError("quotes the prompt: my secret")

    model = tiny_model()
    result, (run,) = acted_on([Stop(on=broken)], model, **GREEDY)
    assert torch.equal(result, generate(model, **GREEDY))
    assert run.interventions == ()
    said = [record.getMessage() for record in caplog.records if "broken" in record.getMessage()]
    assert len(said) == 1
    assert "secret" not in caplog.text


def test_a_condition_can_keep_the_event_and_cannot_change_it() -> None:
    kept: list[Any] = []

    def keeps(event: Any) -> bool:
        kept.append(event)
        with pytest.raises(AttributeError):
            event.entropy = 99.0
        with pytest.raises(TypeError):
            event["flags"] = ("nan_detected",)
        return False

    model = tiny_model()
    result, (run,) = acted_on([Stop(on=keeps)], model, **GREEDY)
    assert torch.equal(result, generate(model, **GREEDY))
    assert [event.step_index for event in kept] == list(range(23))
    assert [event.token_id for event in kept] == run.tokens[:23].tolist()
    assert [event.entropy for event in kept] == run.columns["entropy"][:23].tolist()


@pytest.mark.parametrize(("answer", "holds"), [(None, False), (0.9, False), (0.91, True)])
def test_a_threshold_of_the_answer_risk_is_met_by_a_number_only(answer: float | None, holds: bool) -> None:
    (read,) = Stop(on="answer > 0.9").conditions
    assert read.name == "answer>0.9"
    assert read.holds(StepEvent({"answer_so_far": answer})) is holds
    assert read.holds(StepEvent({})) is False


def test_a_run_is_stopped_where_its_answer_becomes_risky() -> None:
    model = sharpen(tiny_model())
    _, (free,) = acted_on([], model, **GREEDY)
    assert free.early_warning is not None
    so_far = free.early_warning.answer_so_far
    step = int(np.nanargmax(so_far[:-2]))
    limit = float(so_far[step]) - 1e-4
    _, (run,) = acted_on([Stop(on=f"answer>{limit}")], model, **GREEDY)
    first = int(np.argmax(so_far > limit))
    assert [each.step for each in run.interventions] == [first + 1], "from the numbers of the step before"
    assert run.interventions[0].evidence == {"value": pytest.approx(float(so_far[first]), abs=1e-6)}


@pytest.mark.parametrize("trigger", ["nan", "nan_detected", "NaN", "risk>0.9", "risk >= 0.9", "failure_risk>0.5"])
def test_conditions_of_the_catalogue_stop_what_is_not_finite(trigger: str) -> None:
    class Broken(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return torch.nan_to_num(scores)

    model = tiny_model()
    fine = model.lm_head.forward

    def head(hidden: torch.Tensor) -> torch.Tensor:
        head.calls += 1
        return fine(hidden) * (float("nan") if head.calls == 5 else 1.0)

    head.calls = 0
    model.lm_head.forward = head
    result, (run,) = acted_on([Stop(on=trigger)], model, logits_processor=LogitsProcessorList([Broken()]), **GREEDY)
    assert run.interventions[0].step == 5, "judged from step 4, the first that was not finite"
    assert result.shape[1] == 6 + 6
    assert run.interventions[0].evidence


# --- where nothing can act --------------------------------------------------------------------------------------------


def own_loop(model: Any, input_ids: torch.Tensor, logits_processor: Any, stopping_criteria: Any, **_: Any) -> Any:
    for _step in range(7):
        logits = logits_processor(input_ids, model(input_ids).logits[:, -1].float())
        input_ids = torch.cat([input_ids, logits.argmax(-1)[:, None]], -1)
        if bool(stopping_criteria(input_ids, None).all()):
            break
    return input_ids


UNABLE: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "beams": (lambda: {"num_beams": 2}, "policies do not act on decoding strategy beam_search"),
    "assisted": (
        lambda: {"assistant_model": tiny_model(seed=1)},
        "not measured in decoding strategy assisted_generation",
    ),
    "prompt lookup": (
        lambda: {"prompt_lookup_num_tokens": 3, "eos_token_id": 2},
        "not measured in decoding strategy assisted_generation",
    ),
    "sampled beams": (
        lambda: {"num_beams": 2, "do_sample": True},
        "policies do not act on decoding strategy beam_sample",
    ),
    "a custom loop": (lambda: {"custom_generate": own_loop}, "policies do not act on a custom loop"),
}


@pytest.mark.parametrize("name", UNABLE)
def test_where_none_can_act_it_says_so_once_and_does_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    make, reason = UNABLE[name]
    plain, drawn = generate(model, **{**GREEDY, **make()}), torch.get_rng_state()
    with capture_runs(policies=[Stop(on=at(3)), RollBack(on=at(3))]) as telemetry:
        for _ in range(3):
            assert torch.equal(generate(model, **{**GREEDY, **make()}), plain)
            assert torch.equal(torch.get_rng_state(), drawn)
    said = [record.getMessage() for record in caplog.records if "cannot act" in record.getMessage()]
    assert said == [
        f"CoreVital: policies cannot act on this generate() call (not said again of calls like it): {reason}"
    ]
    assert [run.absent["interventions"] for run in telemetry.runs] == [reason] * 3


def test_cool_down_has_nothing_to_do_where_decoding_is_greedy(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    result, (run,) = acted_on([CoolDown(on=at(3))], model, **GREEDY)
    assert torch.equal(result, generate(model, **GREEDY))
    assert run.absent["interventions"] == "cool_down: greedy decoding has no temperature"


def test_tokens_outside_the_vocabulary_are_not_forced() -> None:
    model = tiny_model()
    result, (run,) = acted_on([BreakReasoning(on=at(3), tokens=[5, 4000])], model, **GREEDY)
    assert torch.equal(result, generate(model, **GREEDY))
    assert run.absent["interventions"] == "break_reasoning: a token of it is not in the model's vocabulary"


def test_a_loop_that_is_not_the_librarys_ends_it_for_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be measured any more cannot be judged."""
    monkeypatch.setattr(sessions, "has_numbers", lambda _logits: False)
    _, (run,) = acted_on([Stop(on=at(3))], tiny_model(), **GREEDY)
    assert run.absent["interventions"].startswith("the model's tensors have no values")


def test_a_call_that_is_not_measured_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    with instrumented(policies=[Stop(on=at(3))]) as telemetry:
        recorder = process_recorder()
        assert recorder is not None
        compiled = Compiled(lambda **given: given["input_ids"], None)
        recorder.generate(compiled, model, (), {"input_ids": prompt()})
    absent = (telemetry.span.attributes or {})["corevital.capture.absent"]
    assert '"interventions": "the call is not measured: compiled"' in str(absent).replace('":"', '": "')
    assert "policies cannot act on this generate() call" in caplog.text


@pytest.mark.skipif(TRANSFORMERS_4, reason="transformers 4 has no cache_implementation=paged")
def test_continuous_batching_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Request:
        prompt_ids, generated_tokens = prompt()[0].tolist(), [5, 6]

    model = tiny_model()
    monkeypatch.setattr(type(model), "generate_batch", lambda *_, **__: {"req_0": Request()}, raising=False)
    with capture_runs(policies=[Stop(on=at(3))]) as telemetry:
        generate(model, cache_implementation="paged")
    (run,) = telemetry.runs
    assert run.absent["interventions"] == "not measured in continuous batching (cache_implementation=paged)"
    assert "policies cannot act on this generate() call" in caplog.text


def test_an_open_breaker_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from opentelemetry_instrumentation_corevital.instrumentation import recorder

    model = tiny_model()
    with instrumented(policies=[Stop(on=at(3))]):
        monkeypatch.setattr(recorder, "breaker_open", lambda: True)
        assert generate(model, **GREEDY).shape[1] == 30
        generate(model, **GREEDY)
    assert caplog.text.count("no run is recorded for a while") == 1


async def later(_event: Any) -> bool:
    return True


class Later:
    async def __call__(self, _event: Any) -> bool:
        return True


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Stop(on=None), "a policy acts on"),
        (lambda: Stop(on=5), "a policy acts on"),
        (lambda: Stop(on={"nan", "inf"}), "a policy acts on"),
        (lambda: Stop(on=later), "later is called"),
        (lambda: Stop(on=["nan", Later()]), "Later is called"),
        (lambda: CoolDown(temperature="low"), "temperature"),
        (lambda: CoolDown(temperature=None), "temperature"),
        (lambda: CoolDown(temperature=True), "temperature"),
        (lambda: CoolDown(temperature=float("inf")), "temperature"),
        (lambda: CoolDown(temperature=1e-320), "temperature"),
        (lambda: BreakReasoning(tokens=5), "tokens"),
        (lambda: BreakReasoning(tokens=None), "tokens"),
        (lambda: BreakReasoning(tokens=torch.tensor([5])), "tokens"),
    ],
)
def test_what_a_policy_cannot_be_is_refused_by_name(make: Callable[[], Any], said: str) -> None:
    """An infinite temperature makes of a masked logit what is no number, a coroutine is always true."""
    with pytest.raises(PolicyError, match=said):
        make()


# --- how they are given -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ("repetition_loop", "policies"),
        (Stop(), "policies"),
        (["repetition_loop"], "is no policy"),
        ([Retry()], "CoreVitalMonitor"),
        ([Stop], "is no policy"),
    ],
    ids=["a name", "one policy", "a name in a list", "retry", "a class"],
)
def test_what_is_no_policy_is_refused_where_it_is_given(policies: Any, said: str) -> None:
    with pytest.raises(PolicyError, match=said), instrumented(policies=policies):
        pass
    with instrumented():  # it left nothing behind
        pass


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Stop(on="repetition_lop"), "did you mean 'repetition_loop_detected'"),
        (lambda: Stop(on="Entropy_Rising"), "did you mean 'entropy_rising'"),
        (lambda: Stop(on="nan,inf"), "several conditions are a list"),
        (lambda: Stop(on=None), "not on None"),  # type: ignore[arg-type]
        (lambda: Stop(on=5), "not on 5"),  # type: ignore[arg-type]
        (lambda: CoolDown(temperature="cold"), "temperature is 'cold'"),  # type: ignore[arg-type]
        (lambda: CoolDown(temperature=float("inf")), "temperature is inf"),
        (lambda: RollBack(to="start"), "'onset' or a whole number"),  # type: ignore[arg-type]
        (lambda: BreakReasoning(tokens=5), "tokens is 5"),  # type: ignore[arg-type]
        (lambda: BreakReasoning(tokens="</think>"), "tokenizer.encode"),  # type: ignore[arg-type]
    ],
)
def test_a_policy_that_cannot_be_names_what_is_wrong(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(said)):
        make()


@pytest.mark.parametrize("text", ["nonsense", "nan,,bogus", "risk>2", "risk>x", ",", "mid_layer_anomaly"])
def test_a_bad_condition_names_its_option(text: str) -> None:
    with pytest.raises(SettingsError, match="stop_on"), instrumented(stop_on=text):
        pass


def zero_code(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    program = "from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor\n"
    program += "CoreVitalInstrumentor().instrument(skip_dep_check=True)\n" + textwrap.dedent(code)
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


GENERATES = """
    import torch
    from tests.support.tiny_models import prompt, tiny_model
    model = tiny_model()
    torch.manual_seed(0)
    found = model.generate(prompt(), max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0)
    print(found.shape[1])
"""


@pytest.mark.parametrize(
    ("value", "columns", "said"),
    [
        ("risk>=0", 8, ""),
        heavy("repetition_loop,nan,inf,risk>0.9", 30, ""),
        ("loop", 30, "OTEL_COREVITAL_STOP_ON"),
        heavy("nan;inf", 30, "OTEL_COREVITAL_STOP_ON"),
    ],
)
def test_a_process_is_told_by_its_environment(value: str, columns: int, said: str) -> None:
    found = zero_code(GENERATES, OTEL_COREVITAL_STOP_ON=value)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout.split()[-1]) == columns
    lines = [line for line in found.stderr.splitlines() if "CoreVital" in line]
    assert len([line for line in lines if "stays off" in line]) == (1 if said else 0)
    assert said in found.stderr


def test_padding_of_a_stopped_row_is_the_calls() -> None:
    """With an end token, a row that is over gets padding, as after the end token."""
    torch.manual_seed(3)
    with capture_runs(policies=[Stop(on=at(4, sequences=[1]))]):
        model = tiny_model()
        found = model.generate(**padded_batch(), max_new_tokens=16, do_sample=False, eos_token_id=127, pad_token_id=PAD)
    assert found[1, 9 + 6 :].unique().tolist() == [PAD]
