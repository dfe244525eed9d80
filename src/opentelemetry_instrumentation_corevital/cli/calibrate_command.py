"""`corevital calibrate`: what is usual for a model, from healthy runs of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import track

from .._internal.file_io import read_any
from .._internal.user_error import UserError
from ..baselines.lookup import file_name, profiles_folder
from ..calibration import Profile, ProfileError, fit_profile, write_profile
from ..instrumentation.instrumentor import CoreVitalInstrumentor
from ..loading.models import LoadedModel, load_model
from ..run import Run
from .generation import Kept, encode, use_chat
from .options import MOST_INPUT_BYTES, checked_seed
from .printing import echo, error_console

_FEWEST_PROMPTS: Final = 8


def calibrate(
    model: Annotated[str, typer.Option("--model", "-m", help="A path, a hub id, or smollm2, the demo model.")],
    prompts: Annotated[
        Path, typer.Option("--prompts", help="A UTF-8 file with a prompt a line that the model answers well.")
    ],
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=17, help="Of each answer.")] = 64,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The profile's file; default: the model's in the profiles folder."),
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--raw", help="Use the chat template or not; default: if there is one.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of torch's generators; every second answer is sampled.", callback=checked_seed)
    ] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the fastest there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16; default: the checkpoint's.")] = None,
) -> None:
    """Make the baseline profile of a model: what its layers and signals do in healthy runs.

    Flags, blame and warnings compare later runs of the model with it.
    Give at least 40 prompts of the kind that the model will get.
    A run that is not finite, or that ends in a loop, is left out.

    Example: corevital calibrate --model smollm2 --prompts prompts.txt
    """
    asked = _prompts(prompts)
    status = error_console()
    loaded = load_model(model, device=device, dtype=dtype)
    runs = healthy_runs(loaded, asked, tokens=max_new_tokens, seed=seed, chat=use_chat(loaded, chat), status=status)
    try:
        profile = fit_profile(runs, prompts=asked)
        file = out or profiles_folder() / file_name(profile.model.name)
        write_profile(profile, file)
    except ProfileError as error:
        raise UserError(str(error)) from None
    _tell(profile, file, len(asked) - len(runs))


def healthy_runs(
    loaded: LoadedModel, prompts: Sequence[str], *, tokens: int, seed: int, chat: bool, status: Console
) -> list[Run]:
    """Answer each prompt, every second one sampled, and return the runs without a flag.

    Raises:
        UserError: if the model cannot answer.
    """
    import torch

    kept, instrumentor = Kept(), CoreVitalInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    # Nothing is exported, and no profile judges the runs of which one is made.
    instrumentor.instrument(judgements=[kept], capture_unsampled=True, attention_every=1, baseline="off")
    torch.manual_seed(seed)
    try:
        shown = track(prompts, "Generating", console=status, transient=True, disable=not status.is_terminal)
        for number, text in enumerate(shown):
            options: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
            if number % 2:
                options = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
            loaded.model.generate(**encode(loaded, text, chat=chat), max_new_tokens=tokens, **options)
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"{loaded.name} cannot answer: {error}") from error
    finally:
        instrumentor.uninstrument()
    return [run for run in kept.runs if run.health is not None and not run.health.raised()]


def _prompts(file: Path) -> list[str]:
    try:
        lines = read_any(file, MOST_INPUT_BYTES).decode("utf-8").splitlines()
    except OSError as error:
        raise UserError(f"--prompts {file}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"--prompts {file}: is not UTF-8 at byte {error.start}.") from None
    found = [line.strip() for line in lines if line.strip()]
    if len(found) < _FEWEST_PROMPTS:
        raise UserError(f"--prompts {file}: {len(found)} prompts, one a line; at least {_FEWEST_PROMPTS} are needed.")
    return found


def _tell(profile: Profile, file: Path, left_out: int) -> None:
    left = f"; {left_out} left out, which had a flag" if left_out else ""
    echo(f"{profile.model.name}: {profile.made.runs} runs, {profile.made.steps} steps{left}")
    echo(f"{file}, {file.stat().st_size / 1024:.0f} KiB; runs of this model are judged with it from now on")
