"""What `corevital calibrate` says of the profile that it has made."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..baselines.profile_limits import STRANGE, limit_of_profile, without_strange
from ..baselines.run_numbers import MANY_RUNS, promised_rate
from ..calibration import Profile
from ..calibration.false_alarms import false_alarms
from ..config import environment_variable
from .calibration_runs import CalibrationRuns, many
from .printing import echo

OPTION: Final = environment_variable("baseline")


def result_of(profile: Profile, runs: CalibrationRuns, file: Path, *, found_by_name: bool) -> dict[str, Any]:
    """Return what there is to say of a profile and its runs, as JSON.

    Args:
        profile: the one that was made.
        runs: what it was made of.
        file: where it lies.
        found_by_name: whether runs of the model find it there by themselves.
    """
    tally, (limit, why_not) = runs.sieve.tally, limit_of_profile(profile)
    alarms = None if profile.runs is None else false_alarms(profile.runs)
    found = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "model": profile.model.model_dump(mode="json"),
        "source": runs.source,
        "runs": tally.kept,
        "tokens": tally.tokens,
        "longest_run": tally.longest,
        "dropped": dict(tally.dropped.most_common()),
        "limit": None if limit is None else limit.value,
        "promised_rate": None if limit is None or profile.runs is None else promised_rate(len(profile.runs.values)),
        "strange": [] if limit is None or profile.runs is None else _strange(profile.runs.values),
        "false_alarms": None,
        "used": "runs of this model are judged with it from now on"
        if found_by_name
        else f"runs are judged with it where {OPTION}={file.absolute()}",
        "notes": [*runs.notes, *([] if why_not is None else [why_not]), *_kept_answer(profile)],
    }
    if alarms is not None:
        low, high = alarms.interval
        found["false_alarms"] = {
            "beyond": alarms.beyond,
            "runs": alarms.runs,
            "rate": alarms.rate,
            "interval": [low, high],
        }
    return found


def _kept_answer(profile: Profile) -> list[str]:
    """Return what it says of its answer risk, where it has one."""
    return [] if profile.answer is None else [f"its answer risk, of {profile.answer.runs} labelled runs, is kept"]


def _strange(numbers: Sequence[float]) -> list[float]:
    """Return the numbers of the runs that do not count in the limit."""
    return sorted(numbers)[len(without_strange(np.array(numbers))) :]


def warn_of(runs: CalibrationRuns) -> None:
    """Say on standard error what the profile cannot know."""
    tally = runs.sieve.tally
    if runs.context is not None and runs.context > tally.longest:
        echo(
            f"the longest of these runs has {tally.longest} tokens, and the model may generate {runs.context}: how far "
            "out longer runs go is extrapolated; give --max-new-tokens what you serve with",
            err=True,
        )
    missing = tally.missing(MANY_RUNS)
    if missing:
        more = many(math.ceil(missing / runs.per_unit), f"more {runs.unit}")
        echo(f"about {more} would make {MANY_RUNS} healthy runs: then 1 of 200 is beyond the limit", err=True)


def tell(found: dict[str, Any]) -> None:
    """Print it in sentences."""
    tried = found["runs"] + sum(found["dropped"].values())
    echo(
        f"{found['model']['name']}: {found['runs']} runs, {found['tokens']} steps, of {tried} runs ({found['source']})"
    )
    dropped = ", ".join(f"{reason} {count}" for reason, count in found["dropped"].items())
    echo(f"dropped: {dropped or 'none'}")
    if found["limit"] is not None:
        one_in = round(1 / found["promised_rate"])
        echo(f"limit {found['limit']:.3g}: at most 1 in {one_in} healthy runs is beyond it, on average over baselines")
    if found["strange"]:
        numbers = ", ".join(f"{number:.3g}" for number in found["strange"])
        echo(
            f"{many(len(found['strange']), 'run')} more than {STRANGE:g} times as far out as all others ({numbers}): "
            "not counted in the limit, and beyond it"
        )
    if (alarms := found["false_alarms"]) is not None:
        low, high = alarms["interval"]
        echo(
            f"false alarms, each run judged by those of other prompts: {alarms['beyond']} of {alarms['runs']} "
            f"({alarms['rate']:.1%}; 95 % interval {low:.1%} to {high:.1%})"
        )
    echo(f"longest run: {found['longest_run']} tokens; the limit of longer ones is extrapolated")
    for note in found["notes"]:
        echo(note)
    echo(f"{found['file']}, {found['bytes'] / 1024:.0f} KiB; {found['used']}")
