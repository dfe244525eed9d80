"""PEFT adapters: the span names the active ones, and another model's profile does not judge them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.assessment.fingerprint import judge_fingerprint
from opentelemetry_instrumentation_corevital.baselines.lookup import file_name
from opentelemetry_instrumentation_corevital.calibration import Profiles, fit_profile, profiles_folder, write_profile
from opentelemetry_instrumentation_corevital.run import ModelInfo, Prompt
from tests.support.healthy_runs import healthy
from tests.support.in_memory import Keep, instrumented
from tests.support.tiny_models import prompt, tiny_model

ARGUMENTS: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}


def seen(model: Any, **arguments: Any) -> tuple[Run, Any]:
    """Return the run of a call and the attribute of its span."""
    with instrumented(judgements=[keep := Keep()]) as telemetry:
        model.generate(**{"input_ids": prompt(), **ARGUMENTS, **arguments})
    return keep.runs[-1], (telemetry.spans[-1].attributes or {}).get("corevital.model.adapters")


def lora(*names: str) -> Any:
    """Return a wrapper with adapters, the first of which is active."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(0)
    wrapper = peft.get_peft_model(tiny_model(), config, adapter_name=names[0]).eval()
    for name in names[1:]:
        wrapper.add_adapter(name, config)
    return wrapper


def test_a_wrapper_reports_its_active_adapters() -> None:
    wrapper = lora("sql", "poems")
    run, attribute = seen(wrapper)
    assert (run.model.adapters, attribute) == (("sql",), ("sql",))
    assert not {"hidden_states", "attention"} & run.absent.keys()
    wrapper.base_model.set_adapter(["sql", "poems"])
    assert seen(wrapper)[1] == ("poems", "sql")
    with wrapper.disable_adapter():
        assert seen(wrapper)[1] is None
    wrapper.set_adapter("poems")
    assert seen(wrapper)[1] == ("poems",)
    assert seen(wrapper, input_ids=prompt(batch=2), adapter_names=["sql", "__base__"])[1] == ("sql",)
    wrapper.merge_adapter(["sql"])
    assert seen(wrapper)[1] == ("sql",), "what is in the weights, not what is active beside them"
    wrapper.unmerge_adapter()
    assert seen(wrapper.merge_and_unload())[1] is None, "nothing is left of it"


def test_transformers_own_adapters_are_reported() -> None:
    peft, model = pytest.importorskip("peft"), tiny_model()
    for name in ("a", "b"):
        model.add_adapter(peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False), adapter_name=name)
    model.set_adapter("a")
    assert seen(model)[1] == ("a",)
    model.disable_adapters()
    assert seen(model)[1] is None
    model.enable_adapters()
    model.set_adapter(["b", "a"])
    assert seen(model)[1] == ("a", "b")


def test_an_adapter_that_learns_a_prompt_is_reported() -> None:
    peft = pytest.importorskip("peft")
    config = peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    wrapper = peft.get_peft_model(tiny_model(), config, adapter_name="learned").eval()
    assert seen(wrapper)[1] == ("learned",)
    with wrapper.disable_adapter():
        assert seen(wrapper)[1] is None
    assert seen(wrapper.base_model)[1] is None


class Tuned(torch.nn.Linear):
    """What a layer of PEFT says of itself."""

    merged_adapters: tuple[str, ...] = ()
    active_adapters: Any = ("default",)
    disable_adapters = False


@pytest.mark.parametrize(
    ("change", "adapters"),
    [
        ({}, ("default",)),
        ({"disable_adapters": True}, None),
        ({"merged_adapters": ["other"]}, ("other",)),
        ({"active_adapters": "one"}, ("one",)),
        ({"active_adapters": []}, None),
        ({"active_adapters": 7}, None),
    ],
)
def test_what_layers_say_is_read_without_the_package(change: dict[str, Any], adapters: Any) -> None:
    model = tiny_model()
    model.peft_config = {"default": object()}
    old = model.model.layers[1].self_attn.q_proj
    tuned = model.model.layers[1].self_attn.q_proj = Tuned(old.in_features, old.out_features, bias=False)
    for name, value in change.items():
        setattr(tuned, name, value)
    run, attribute = seen(model)
    assert attribute == adapters
    assert run.steps == 4
    model.peft_config = {}
    assert seen(model)[1] is None


# --- identity ------------------------------------------------------------------------------------------------------


def test_adapters_are_part_of_a_runs_identity() -> None:
    hashes = set()
    for adapters in ((), ("a",), ("a", "b")):
        run = dataclasses.replace(healthy(1), prompt=Prompt(text="hello", source="text"))
        run.model = dataclasses.replace(run.model, adapters=adapters)
        found = judge_fingerprint(run)
        hashes.add((found.prompt_hash, found.run_hash))
    assert len({prompt_hash for prompt_hash, _ in hashes}) == 1
    assert len(hashes) == 3


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelInfo:
    """Return a model that has a profile, whose revision is known."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    runs = [healthy(seed) for seed in range(40)]
    for run in runs:
        run.model = dataclasses.replace(run.model, revision="a1", dtype="bfloat16")
    write_profile(fit_profile(runs, prompts=["a"]), profiles_folder() / file_name(runs[0].model.name))
    return runs[0].model


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"adapters": ("sql",)}, "adapters none, not sql"),
        ({"quantization": "bitsandbytes"}, "quantization none, not bitsandbytes"),
        ({"revision": "b2"}, "revision a1, not b2"),
        ({"dtype": "float8_e4m3fn"}, "dtype bfloat16, not float8_e4m3fn"),
        ({"name": "someone/model"}, "name org/model, not someone/model"),
    ],
)
def test_a_profile_is_used_only_for_what_it_was_made_of(model: ModelInfo, change: dict[str, Any], says: str) -> None:
    other = dataclasses.replace(model, **change)
    file = profiles_folder() / file_name(model.name)
    if "name" in change:
        file = file.rename(profiles_folder() / "model.json")
    found = Profiles().of(other)
    assert found.profile is None
    assert says in (found.reason or "")
    named = Profiles(str(file)).of(other)
    assert named.profile is not None, "it was asked for by name"
    assert named.differences == (says,)


@pytest.mark.parametrize("change", [{}, {"revision": None}, {"name": "model"}])
def test_what_is_not_known_to_differ_is_judged(model: ModelInfo, change: dict[str, Any]) -> None:
    (profiles_folder() / file_name(model.name)).rename(profiles_folder() / "model.json")
    found = Profiles().of(dataclasses.replace(model, **change))
    assert found.profile is not None
    assert found.differences == ()


def test_an_adapter_can_have_a_profile_of_its_own(model: ModelInfo) -> None:
    runs = [healthy(seed) for seed in range(40)]
    tuned = dataclasses.replace(model, adapters=("poems", "sql"))
    for run in runs:
        run.model = tuned
    write_profile(fit_profile(runs, prompts=["a"]), profiles_folder() / file_name(f"{model.name}+poems+sql"))
    found = Profiles().of(tuned).profile
    assert found is not None
    assert found.model.adapters == ("poems", "sql")
    assert Profiles().of(model).profile != found
    assert "adapters none, not sql" in (Profiles().of(dataclasses.replace(model, adapters=("sql",))).reason or "")


def absent_and_differences(change: Callable[[Any], Any]) -> tuple[Any, Any]:
    model = tiny_model(num_hidden_layers=9)
    model.config._name_or_path = "org/tiny"
    runs: list[Run] = []
    for seed in range(50):
        run = healthy(seed)
        run.model = dataclasses.replace(seen_info(model), layer_count=9)
        runs.append(run)
    write_profile(fit_profile(runs, prompts=["a"]), profiles_folder() / file_name("org/tiny"))
    change(model)
    with instrumented(capture="full", baseline="auto") as telemetry:
        model.generate(prompt(), **ARGUMENTS)
    attributes = telemetry.spans[-1].attributes or {}
    return attributes.get("corevital.capture.absent"), attributes.get("corevital.profile.differences")


def seen_info(model: Any) -> ModelInfo:
    from opentelemetry_instrumentation_corevital.capture.model.description import describe_model

    return describe_model(model)


def test_the_span_says_how_a_profile_differs(model: ModelInfo) -> None:
    def adapt(model: Any) -> None:
        model.peft_config = {"default": object()}
        model.unused = Tuned(2, 2)

    absent, differences = absent_and_differences(adapt)
    assert "adapters none, not default" in absent
    assert differences is None
    absent, differences = absent_and_differences(lambda model: model.bfloat16())
    assert '"profile"' not in absent
    assert differences == ("dtype float32, not bfloat16",)
    absent, differences = absent_and_differences(lambda _model: None)
    assert '"profile"' not in absent
    assert differences is None
