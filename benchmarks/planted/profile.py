"""Makes the profile of SmolLM2-135M-Instruct that comes with the package.

    python benchmarks/planted/profile.py

Of the healthy runs of the fitting halves: those of `planted/`, which have every signal, and those of `runset/` with
layer data, which are longer and of all kinds of prompts: layers do otherwise in code, in lists and without a chat
template. `corevital calibrate` does the same with runs of its own.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from judged.replay import as_run
from runset import store as runset

from opentelemetry_instrumentation_corevital import baselines
from opentelemetry_instrumentation_corevital.baselines.lookup import file_name
from opentelemetry_instrumentation_corevital.baselines.profile import last_part
from opentelemetry_instrumentation_corevital.baselines.profile_limits import limit_of_profile
from opentelemetry_instrumentation_corevital.calibration import Profile, fit_profile, write_profile
from opentelemetry_instrumentation_corevital.calibration.false_alarms import false_alarms
from planted.store import Planted, load

FOLDER = Path(baselines.__file__).with_name("profiles")


KINDS = ("long", "short", "repeat", "free")


def made(kinds: Sequence[str] = KINDS) -> Profile:
    """Return the profile of the fitting halves, of some kinds of prompts of the run set."""
    runs = {("planted", one.prompt, number): one.run for number, one in enumerate(load()) if _fits(one)}
    samples = [sample for sample in runset.load(runset.LAYERS) if sample.half == "fit"]
    for number, sample in enumerate(samples):
        if sample.prompt["class"] in kinds:
            runs["run set", sample.prompt["group"], number] = as_run(sample)
    prompts = {prompt: number for number, prompt in enumerate(dict.fromkeys(key[:2] for key in runs))}
    return fit_profile([*runs.values()], groups=[prompts[key[:2]] for key in runs])


def _fits(one: Planted) -> bool:
    return one.fault is None and one.half == "fit"


if __name__ == "__main__":
    profile = made()
    file = FOLDER / file_name(last_part(profile.model.name))  # found under the hub's name and under a folder's
    write_profile(profile, file)
    limit, _ = limit_of_profile(profile)
    print(file, file.stat().st_size, "bytes,", profile.made.runs, "runs,", profile.made.steps, "steps")
    print(limit and f"limit {limit.value:.3g}", profile.runs and false_alarms(profile.runs))
