"""`corevital cost`: what CoreVital costs on your own model and device."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .._internal.unknown_variables import PREFIX
from .._internal.user_error import UserError
from ..config import environment_variable, load_settings
from ..instrumentation.instrumentor import CoreVitalInstrumentor
from ..loading.models import load_model
from ..overhead.cost_measurement import CostMeasurement, CostWorkload
from ..overhead.measured_place import use_threads
from .cost_table import print_cost
from .options import AsJson
from .output import print_json
from .printing import echo, error_console
from .run_options import Device, DtypeOption, ModelName, Revision

_ARMS: Final = ("off", "summary", "full", "on_risk")
_DEFAULT_ARMS: Final = "off,summary,full"
_INTERRUPTED: Final = 130

Arms = Annotated[
    str,
    typer.Option(
        "--capture",
        metavar="A,B,...",
        help=f"What is compared with plain calls, of {', '.join(_ARMS)}; off: instrumented, the span not recorded.",
    ),
]
PromptTokens = Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")]
NewTokens = Annotated[int, typer.Option(min=2, help="Tokens that each call generates.")]
Batch = Annotated[int, typer.Option(min=1, help="Prompts per call.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds of all arms at most; a figure needs 6, better 30.")]
CostTimeLimit = Annotated[
    float, typer.Option(min=1, metavar="SECONDS", help="The round that passes this is the last; loading not counted.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of torch on the CPU; default: torch's own choice.")]


def cost(
    model: ModelName,
    prompt_tokens: PromptTokens = 64,
    new_tokens: NewTokens = 32,
    batch: Batch = 1,
    capture: Arms = _DEFAULT_ARMS,
    rounds: Rounds = 30,
    time_limit: CostTimeLimit = 180,
    device: Device = None,
    dtype: DtypeOption = None,
    revision: Revision = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure what CoreVital costs on your own model and device.

    The same call runs untouched, untouched again, and watched, in turns in one process.
    What two untouched calls differ by says what the machine is worth: the control (A/A).
    Telemetry goes to a process on this machine that counts and forgets; nothing is stored.
    Ctrl-C prints what there is so far.

    Example: corevital cost --model smollm2
    """
    arms = _chosen(capture)
    _check_environment()
    if threads is not None:
        use_threads(threads)
    loaded = load_model(model, device=device, dtype=dtype, revision=revision)
    if CoreVitalInstrumentor().is_instrumented_by_opentelemetry:  # opentelemetry-instrument corevital cost
        CoreVitalInstrumentor().uninstrument()
    status = error_console(quiet=as_json)
    with _own_data_folder():
        measurement = CostMeasurement(loaded.model, arms, CostWorkload(batch, prompt_tokens, new_tokens))
        interrupted = _measure(measurement, rounds, time_limit, status)
    if not measurement.rounds_done:
        echo("Interrupted before the first round was over: there are no figures.", err=True)
        raise typer.Exit(_INTERRUPTED)
    report = measurement.report()
    report["workload"] = {"model": loaded.name, **report["workload"]}
    report["method"] |= {"rounds_wanted": rounds, "time_limit_s": time_limit, "interrupted": interrupted}
    report["settings"] = _settings()
    print_json(report) if as_json else print_cost(report)
    if interrupted:
        raise typer.Exit(_INTERRUPTED)


def _chosen(capture: str) -> tuple[str, ...]:
    """Return the arms that the option names, in the order of their cost.

    Raises:
        UserError: if it names none, or what is none.
    """
    names = [name.strip() for name in capture.split(",") if name.strip()]
    unknown = [name for name in names if name not in _ARMS]
    if unknown or not names:
        raise UserError(f"--capture {', '.join(unknown) or 'is empty'}: give one or more of {', '.join(_ARMS)}.")
    return tuple(name for name in _ARMS if name in names)


def _check_environment() -> None:
    """Refuse settings with which there is nothing to measure.

    Raises:
        UserError: OpenTelemetry is switched off.
        SettingsError: a setting of CoreVital has a bad value.
    """
    load_settings()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        raise UserError("OTEL_SDK_DISABLED is true: OpenTelemetry records nothing, so nothing is measured; unset it.")


def _settings() -> dict[str, str]:
    """Return the settings of CoreVital that the environment gives: they are those that were measured."""
    hidden = {environment_variable("hash_key")}
    return {
        name: "(hidden)" if name in hidden else value
        for name, value in sorted(os.environ.items())
        if name.startswith(PREFIX)
    }


@contextmanager
def _own_data_folder() -> Iterator[None]:
    """Let what is learned of these runs go to a folder that is then removed: they are no runs of a service."""
    before = os.environ.get("XDG_DATA_HOME")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["XDG_DATA_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_DATA_HOME"]
            else:
                os.environ["XDG_DATA_HOME"] = before


def _measure(measurement: CostMeasurement, rounds: int, time_limit: float, status: Console) -> bool:
    """Measure until there are enough rounds or time is up; return whether somebody interrupted it."""
    deadline = time.monotonic() + time_limit
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("calls"),
        TimeRemainingColumn(),
    )
    try:
        with measurement.measuring(), Progress(*columns, console=status, transient=True) as progress:
            task = progress.add_task("First calls", total=measurement.calls(rounds))
            measurement.on_call(lambda: progress.advance(task))
            measurement.first_pass()
            progress.update(task, description=f"Round 1 of {rounds}")
            for number in measurement.rounds(rounds):
                progress.update(task, description=f"Round {number + 1} of {rounds}")
                if time.monotonic() > deadline:
                    break
    except KeyboardInterrupt:
        return True
    return False
