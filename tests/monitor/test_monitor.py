"""`CoreVitalMonitor.run()` and what is known afterwards."""

import importlib.util
import inspect
import json
from typing import Any

import pytest
import torch
import transformers
import transformers.generation.utils as generation_utils
from transformers import StoppingCriteria

from opentelemetry_instrumentation_corevital import CoreVitalMonitor, RAGContext, Settings, SettingsError, disabled
from opentelemetry_instrumentation_corevital.legacy.report_reader import read_report
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.policies import PolicyError, Stop
from opentelemetry_instrumentation_corevital.store import StoreError
from tests.support.leftovers import leftovers
from tests.support.saved_models import word_tokenizer
from tests.support.scripted_tokens import looping
from tests.support.tiny_models import padded_batch, prompt, tiny_encoder_decoder, tiny_model

SHORT: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}


class Later:
    async def __call__(self, _event: Any) -> None:
        """Nobody would wait for it."""


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


def test_what_generate_returns_is_returned_and_nothing_is_left(model: Any) -> None:
    before, plain = leftovers(model), model.generate(prompt(), **SHORT)
    monitor = CoreVitalMonitor()
    assert torch.equal(monitor.run(model, prompt(), **SHORT), plain)
    assert leftovers(model) == before


def test_every_keyword_of_generate_is_passed_on(model: Any) -> None:
    made = CoreVitalMonitor().run(
        model, None, input_ids=prompt(), return_dict_in_generate=True, output_scores=True, num_beams=2, **SHORT
    )
    assert len(made.scores) == 8
    assert made.sequences.shape == (1, 14)


def test_the_constructor_is_as_documented() -> None:
    parameters = inspect.signature(CoreVitalMonitor).parameters
    assert {name: each.default for name, each in parameters.items() if name != "settings"} == {
        "capture_mode": "summary",
        "risk_threshold": 0.7,
        "enable_early_warning": True,
        "intervene_on_risk_above": 0.8,
        "intervene_on_signals": ("repetition_risk",),
        "policies": (),
        "on_step_callback": None,
        "on_intervene": None,
        "store": None,
    }


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"capture_mode": "summary", "capture": "full"}, SettingsError, "capture_mode and capture"),
        ({"capture_mode": "some"}, SettingsError, "'capture'"),
        ({"risk_threshold": 2}, SettingsError, "risk_threshold"),
        ({"risk_treshold": 0.5}, SettingsError, "did you mean 'risk_threshold'"),
        ({"on_step_calback": print}, SettingsError, "did you mean 'on_step_callback'"),
        ({"enabled": False}, SettingsError, "enabled"),
        ({"enable_early_warning": "no"}, SettingsError, "enable_early_warning"),
        ({"on_intervene": 3}, SettingsError, "on_intervene"),
        ({"intervene_on_risk_above": 8}, PolicyError, "intervene_on_risk_above"),
        ({"intervene_on_signals": ["repetition"]}, PolicyError, "intervene_on_signals"),
        ({"policies": ["stop"]}, PolicyError, "policies"),
        ({"policies": [Stop(on="repetition_risk")], "enable_early_warning": False}, PolicyError, "repetition_risk"),
        ({"stop_on": "repetition_risk", "enable_early_warning": False}, PolicyError, "repetition_risk"),
        ({"stop_on": "everything"}, SettingsError, "stop_on"),
        ({"store": "runs/"}, StoreError, "folder"),
        ({"store": True}, SettingsError, "store is True"),
        ({"on_step_callback": Later()}, SettingsError, "on_step_callback"),
        ({"intervene_on_signals": ["norm_jump"], "enable_early_warning": False}, PolicyError, "norm_jump"),
        ({"profile": "nowhere"}, ValueError, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_when_the_monitor_is_made(
    given: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        CoreVitalMonitor(**given)


def test_an_option_that_is_not_given_is_that_of_its_variable(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_CAPTURE", "full")
    monkeypatch.setenv("OTEL_COREVITAL_ENABLED", "false")  # in code a monitor is on
    for monitor, layers in ((CoreVitalMonitor(), 2), (CoreVitalMonitor(capture_mode="summary"), 0)):
        monitor.run(model, prompt(), **SHORT)
        timeline = monitor.get_report()["timeline"]
        assert len(timeline) == 8
        assert {len(step.get("layers", ())) for step in timeline} == {layers}


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else found(name, *rest)
    )
    with pytest.raises(ImportError, match=r"torch.*corevital\[transformers\]"):
        CoreVitalMonitor()


@pytest.mark.parametrize("name", ["get_risk_score", "get_health_flags", "get_summary", "get_report"])
def test_before_any_run_nothing_is_known(name: str) -> None:
    monitor = CoreVitalMonitor()
    with pytest.raises(RuntimeError, match="no run has finished"):
        getattr(monitor, name)()
    assert (monitor.should_intervene(), monitor.intervention(), monitor.get_risk_so_far()) == (False, None, 0.0)
    assert monitor.get_answer_so_far() is None


def test_the_summary_has_its_keys(model: Any) -> None:
    monitor = CoreVitalMonitor()
    monitor.run(model, "w3 w4 w5", tokenizer=word_tokenizer(), **looping())
    summary = monitor.get_summary()
    assert summary["risk_score"] == monitor.get_risk_score() >= 0.9
    assert summary["risk_level"] == "high"
    assert (summary["answer_risk"] is None) == ("answer_risk" in summary["absent"])
    assert summary["risk_factors"][0] == "repetition_loop_detected"
    assert summary["blamed_layers"] == []
    assert summary["health_flags"] == monitor.get_health_flags()
    assert summary["health_flags"]["repetition_loop_detected"] is True
    assert isinstance(summary["health_flags"]["high_entropy_steps"], int)
    assert summary["early_warning"]["warning_signals"] == ["repetition_risk"]
    assert 0 < summary["early_warning"]["failure_risk"] <= 1
    assert len(summary["fingerprint"]["vector"]) > 8
    assert len(summary["fingerprint"]["prompt_hash"]) == 64
    assert "repeated" in summary["narrative"]
    assert len(summary["trace_id"]) == 32
    assert summary["trace_id"] != "0" * 32
    assert summary["output_text"].startswith("w9 w8 w7 w6")
    assert summary["stop_reason"] == "length"
    assert summary["model_id"] == "LlamaForCausalLM"


def test_the_report_is_one_that_can_be_read(model: Any) -> None:
    monitor = CoreVitalMonitor(capture="full", capture_message_content="span_only")
    context = {"context_token_count": 12, "retrieved_doc_ids": ["a"]}
    monitor.run(model, "w3 w4 w5", tokenizer=word_tokenizer(), rag_context=context, **looping())
    report = monitor.get_report()
    assert report["schema_version"] == "0.4.0"
    assert report["trace_id"].replace("-", "") == monitor.get_summary()["trace_id"]
    assert report["prompt"]["text"] == "w3 w4 w5"
    assert report["generated"]["token_ids"][:3] == [9, 8, 7]
    assert report["health_flags"]["repetition_loop_detected"] is True
    assert report["extensions"]["rag"]["retrieved_doc_ids"] == ["a"]
    assert report["extensions"]["risk"]["risk_score"] == monitor.get_risk_score()
    assert len(report["timeline"]) == 60
    json.dumps(report, allow_nan=False)
    assert read_report(report, Settings(), content=True).trace_id == monitor.get_summary()["trace_id"]


def test_the_report_has_no_content_unless_it_is_switched_on(model: Any) -> None:
    monitor = CoreVitalMonitor()
    monitor.run(model, "w3 w4 w5", tokenizer=word_tokenizer(), rag_context=RAGContext(3, ["secret"]), **looping())
    text = repr(monitor.get_report())
    assert not any(word in text for word in ("w3", "w9", "secret", "token_ids"))
    assert monitor.get_report()["extensions"]["rag"] == {"context_token_count": 3, "document_count": 1}


def test_of_several_sequences_the_worst_is_told_and_all_can_be_asked_for(model: Any) -> None:
    monitor = CoreVitalMonitor()
    monitor.run(model, padded_batch(), **SHORT)
    assert [run.sequence_index for run in monitor.runs] == [0, 1, 2]
    scores = [monitor.get_risk_score(index) for index in range(3)]
    assert monitor.get_risk_score() == max(scores)
    assert monitor.get_summary(2)["sequence_index"] == 2
    with pytest.raises(IndexError, match="has 3"):
        monitor.get_summary(3)


# --- prompts ---------------------------------------------------------------------------------------------------------


def _chatty() -> Any:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}w1 {{ m['content'] }} {% endfor %}w2"
    return tokenizer


def test_text_and_messages_have_the_hash_of_what_the_user_said(model: Any) -> None:
    monitor, tokenizer = CoreVitalMonitor(), _chatty()
    monitor.run(model, "w3 w4", tokenizer=tokenizer, **SHORT)
    text = monitor.runs[0]
    messages = [{"role": "system", "content": "w9"}, {"role": "user", "content": "w3 w4"}]
    monitor.run(model, messages, tokenizer=tokenizer, **SHORT)
    chat = monitor.runs[0]
    assert (text.input_tokens, chat.input_tokens) == (2, 6)
    assert (text.prompt.chat, chat.prompt.chat) == (False, True)
    assert text.fingerprint is not None
    assert chat.fingerprint is not None
    assert text.fingerprint.prompt_hash == chat.fingerprint.prompt_hash
    assert text.fingerprint.prompt_hash_source == "text"


@pytest.mark.parametrize(
    ("given", "lengths"),
    [
        (["w3 w4 w5", "w6"], [3, 1]),
        ([[{"role": "user", "content": "w3"}], [{"role": "user", "content": "w3 w4"}]], [3, 4]),
        (prompt(5)[0], [5]),
        (prompt(5, batch=2), [5, 5]),
        (padded_batch(), [9, 6, 3]),
    ],
    ids=["texts", "chats", "one row", "tensor", "mapping"],
)
def test_prompts_of_every_form(model: Any, given: Any, lengths: list[int]) -> None:
    monitor = CoreVitalMonitor()
    monitor.run(model, given, tokenizer=_chatty(), **SHORT)
    assert [run.input_tokens for run in monitor.runs] == lengths


@pytest.mark.parametrize(
    "given", [3, [1, 2], {"input_ids": [1]}, {"role": "user", "content": "w3"}, [], [{"role": "user"}, "w3"]]
)
def test_what_is_no_prompt_is_refused_at_once(model: Any, given: Any) -> None:
    with pytest.raises(TypeError, match=r"prompt: .*give text"):
        CoreVitalMonitor().stream(model, given)


def test_text_needs_a_tokenizer(model: Any) -> None:
    with pytest.raises(ValueError, match="tokenizer="):
        CoreVitalMonitor().run(model, "w3", **SHORT)
    with pytest.raises(TypeError, match="a message has no `role`, only 'rol', 'content'"):
        CoreVitalMonitor().run(model, [{"rol": "user", "content": "w3"}], tokenizer=word_tokenizer(), **SHORT)
    with pytest.raises(ValueError, match="no tokens"):
        CoreVitalMonitor().run(model, "", tokenizer=word_tokenizer(), **SHORT)
    with pytest.raises(TypeError, match="model: "):
        CoreVitalMonitor().run(3, "w3")


def test_an_encoder_decoder_takes_text(model: Any) -> None:
    monitor = CoreVitalMonitor()
    monitor.run(tiny_encoder_decoder("t5"), "w3 w4", tokenizer=word_tokenizer(), **SHORT)
    assert monitor.runs[0].output_tokens is not None


def test_a_model_is_loaded_by_its_name_once(monkeypatch: pytest.MonkeyPatch, tiny_folder: str) -> None:
    from opentelemetry_instrumentation_corevital.monitor import loaded_models

    loaded = list[str]()
    load = loaded_models.load_model

    def counted(name: str) -> LoadedModel:
        loaded.append(name)
        return load(name)

    monkeypatch.setattr(loaded_models, "load_model", counted)
    monitor = CoreVitalMonitor()
    for _ in range(2):
        monitor.run(tiny_folder, "w3 w4", **SHORT)
    assert loaded == [tiny_folder]
    assert monitor.get_summary()["output_text"]
    with pytest.raises(ValueError, match="model: /nowhere: there is no such folder"):
        monitor.run("/nowhere", "w3")


def test_the_tokenizer_of_a_model_is_found_on_this_machine(tiny_folder: str) -> None:
    monitor = CoreVitalMonitor()
    monitor.run(transformers.AutoModelForCausalLM.from_pretrained(tiny_folder), "w3 w4", **SHORT)
    assert monitor.get_summary()["output_text"]


def test_without_a_tokenizer_there_is_no_text_and_a_reason(model: Any) -> None:
    monitor = CoreVitalMonitor()
    monitor.run(model, prompt(), **SHORT)
    summary = monitor.get_summary()
    assert summary["output_text"] is None
    assert summary["absent"]["output_text"] == "no tokenizer is known"


def test_what_was_retrieved_is_told_by_the_call_or_before_it(model: Any) -> None:
    monitor = CoreVitalMonitor()
    monitor.set_rag_context({"context_token_count": 7})
    monitor.run(model, prompt(), **SHORT)
    assert monitor.get_report()["extensions"]["rag"] == {"context_token_count": 7}
    monitor.run(model, prompt(), rag_context={"retrieval_metadata": {"k": 3}, "context_token_count": 8}, **SHORT)
    assert monitor.get_report()["extensions"]["rag"] == {"context_token_count": 8}
    monitor.set_rag_context(None)
    monitor.run(model, prompt(), **SHORT)
    assert "rag" not in monitor.get_report()["extensions"]
    with pytest.raises(ValueError, match=r"rag_context: .*context_tokens"):
        monitor.set_rag_context({"context_tokens": 7})


def test_what_generate_raises_is_raised_and_what_is_switched_off_is_not_judged(model: Any) -> None:
    monitor = CoreVitalMonitor()

    with pytest.raises(ValueError, match="max_new_tokens"):
        monitor.run(model, prompt(), max_new_tokens=-1)
    with disabled():
        assert monitor.run(model, prompt(), **SHORT).shape == (1, 14)
    with pytest.raises(RuntimeError, match="was not judged"):
        monitor.get_risk_score()


def test_sampled_tokens_and_the_generator_are_those_of_the_run_alone(model: Any) -> None:
    made = list[tuple[torch.Tensor, torch.Tensor]]()
    for generate in (model.generate, lambda ids, **rest: CoreVitalMonitor().run(model, ids, **rest)):
        torch.manual_seed(7)
        made.append((generate(prompt(batch=3), max_new_tokens=20, do_sample=True), torch.get_rng_state()))
    assert torch.equal(made[0][0], made[1][0])
    assert torch.equal(made[0][1], made[1][1])


def test_the_option_stop_on_ends_a_run(model: Any) -> None:
    monitor = CoreVitalMonitor(stop_on="repetition_risk")
    monitor.run(model, prompt(), **looping())
    (acted,) = monitor.get_summary()["interventions"]
    assert (acted["kind"], acted["trigger"], acted["outcome"]) == ("stop", "repetition_risk", "stopped")
    assert monitor.get_summary()["stop_reason"] == "policy"


@pytest.mark.parametrize("given", ["keyword", "config", "model"])
def test_settings_that_need_the_tokenizer_get_it(model: Any, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """generate() takes it as a keyword of its own."""
    tokenizer, options, got = word_tokenizer(), dict(SHORT), list[Any]()

    class AtOnce(StoppingCriteria):
        def __init__(self, stop_strings: Any, tokenizer: Any) -> None:
            got.append((tokenizer, list(stop_strings)))

        def __call__(self, input_ids: torch.Tensor, _scores: Any) -> torch.Tensor:
            return torch.ones(len(input_ids), dtype=torch.bool)

    monkeypatch.setattr(generation_utils, "StopStringCriteria", AtOnce)
    if given == "keyword":
        options["stop_strings"] = ["end"]
    elif given == "config":
        options = {"generation_config": transformers.GenerationConfig(**SHORT, stop_strings=["end"], pad_token_id=0)}
    else:
        monkeypatch.setattr(model.generation_config, "stop_strings", ["end"])
    made = CoreVitalMonitor().run(model, prompt(), tokenizer=tokenizer, **options)
    assert made.shape == (1, 7)
    assert got == [(tokenizer, ["end"])]
