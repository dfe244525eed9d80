"""Where the runs that `corevital calibrate` makes a profile of come from: prompts to answer, or a store."""

import math
from collections.abc import Sequence
from pathlib import Path

from .._internal.file_io import read_any
from .._internal.user_error import UserError
from ..baselines.run_numbers import FEWEST_RUNS, MANY_RUNS
from ..calibration.healthy import FEWEST_TOKENS
from ..loading.models import LoadedModel
from ..store import RunFilter, RunSource
from .calibrate_options import TEMPERATURES
from .calibration_runs import Asked, CalibrationRuns, generated, many, served
from .options import MOST_INPUT_BYTES, with_stored_model
from .printing import echo, error_console


def runs_of_model(loaded: LoadedModel, prompts: Sequence[str], asked: Asked) -> CalibrationRuns:
    """Return the runs in which a model answers prompts.

    Raises:
        UserError: if it cannot.
    """
    sieve = generated(loaded, prompts, asked, error_console())
    config = loaded.model.config
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    return CalibrationRuns(
        sieve,
        f"{len(prompts)} prompts at {many(len(asked.temperatures), 'temperature')}",
        "prompt",
        len(asked.temperatures),
        prompts,
        context if isinstance(context, int) else None,
    )


def runs_of_store(source: RunSource, wanted: RunFilter, limit: int) -> CalibrationRuns:
    """Return the runs of one model that a store has.

    Raises:
        UserError: if they are of several, or none has layer arrays.
    """
    wanted = with_stored_model(source, wanted)
    if wanted.model is None:
        there = [name for name in source.models(wanted) if name is not None]
        if len(there) > 1:
            raise UserError(f"{source.name}: has runs of several models; add --model: {', '.join(there[:8])}.")
    found = served(source, wanted, limit, error_console())
    if not found.sieve.tally.tried:
        which = "no run of it" if wanted == RunFilter() else "no run that is asked for"
        stored = f"; of {many(found.without_layers, 'run')} only the span is stored" if found.without_layers else ""
        raise UserError(
            f"{source.name}: {which} has layer arrays{stored}. They come with capture=full or run_data=on and a log "
            "exporter to the store; or generate runs with --prompts."
        )
    notes = []
    if found.without_layers:
        notes.append(f"{many(found.without_layers, 'run')} without layer arrays left aside")
    if found.sieve.flagged:
        notes.append(
            f"{found.sieve.flagged} of these runs had a flag of layers by the baseline of their time, and are used"
        )
    return CalibrationRuns(found.sieve, f"served runs in {source.name}", "run", notes=tuple(notes))


def prompts_in(file: Path, temperatures: int, tokens: int) -> list[str]:
    """Return the prompts of a file, each once.

    Raises:
        UserError: if it cannot be read, or they are too few whatever becomes of their runs.
    """
    try:
        lines = read_any(file, MOST_INPUT_BYTES).decode("utf-8").splitlines()
    except OSError as error:
        raise UserError(f"--prompts {file}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"--prompts {file}: is not UTF-8 at byte {error.start}.") from None
    given = [line.strip() for line in lines if line.strip()]
    found = list(dict.fromkeys(given))
    if len(found) < len(given):
        echo(f"{many(len(given) - len(found), 'prompt')} given twice, and asked once", err=True)
    fewest = math.ceil(max(FEWEST_RUNS, FEWEST_TOKENS / tokens) / temperatures)
    if len(found) < fewest:
        raise UserError(
            f"--prompts {file}: {many(len(found), 'prompt')}, one a line; {fewest} at least are needed at "
            f"{many(temperatures, 'temperature')} and {tokens} tokens, since {FEWEST_RUNS} runs and {FEWEST_TOKENS} "
            f"tokens have to be healthy; some are dropped, so give more. {math.ceil(MANY_RUNS / temperatures)} and "
            "more make a profile that flags at most 1 of 200 healthy runs."
        )
    return found


def temperatures_in(text: str) -> list[float]:
    """Return the temperatures of an option, each once.

    Raises:
        UserError: if they are none.
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(math.isfinite(heat) and heat >= 0 for heat in found):
        raise UserError(f"--temperatures {text}: give numbers from 0 on with commas between, such as {TEMPERATURES}.")
    return list(dict.fromkeys(found))
