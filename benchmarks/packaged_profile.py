"""Makes the profile of SmolLM2-135M-Instruct that comes with the package.

    python benchmarks/packaged_profile.py

It is what `corevital calibrate` would make of the zoo's healthy runs of this model, of the side that teaches: chats,
code, structured text and beginnings of every kind, of 40 to 600 tokens, at the temperatures 0, 0.7 and 1. The other
side's runs are what the page of results judges it by, as `calibrated`.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [path for path in (str(HERE), str(HERE.parent)) if path not in sys.path]

from judged.lessons import Student, calibrated  # noqa: E402
from judged.zoo_model import ZooModel  # noqa: E402
from zoo import store  # noqa: E402

from opentelemetry_instrumentation_corevital import baselines  # noqa: E402
from opentelemetry_instrumentation_corevital.baselines.lookup import file_name  # noqa: E402
from opentelemetry_instrumentation_corevital.baselines.profile import last_part  # noqa: E402
from opentelemetry_instrumentation_corevital.baselines.profile_limits import limit_of_profile  # noqa: E402
from opentelemetry_instrumentation_corevital.calibration import Profile, fit_profile, write_profile  # noqa: E402
from opentelemetry_instrumentation_corevital.calibration.false_alarms import false_alarms  # noqa: E402

FOLDER = Path(baselines.__file__).with_name("profiles")
NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


def made(folder: Path = store.FOLDER) -> Profile:
    """Return the profile."""
    zoo = ZooModel("smollm2", folder)
    profile = calibrated(zoo.students).profile
    if profile is None:
        raise ValueError(f"{folder}: has no healthy runs of SmolLM2")
    # Of most runs the zoo keeps layers as windows. What they do step by step is known of the others.
    whole = fit_profile([student.run for student in zoo.students if _has_steps(zoo, student)])
    layers = {
        name: spreads.model_copy(update={"steps": whole.layers[name].steps}) for name, spreads in profile.layers.items()
    }
    identity = profile.model.model_copy(update={"name": NAME})
    return profile.model_copy(update={"model": identity, "layers": layers})


def _has_steps(zoo: ZooModel, student: Student) -> bool:
    one, _ = zoo.of("healthy", "baseline")[student.number]
    return bool(one.layers) and not student.raised and not student.looped


if __name__ == "__main__":
    profile = made()
    file = FOLDER / file_name(last_part(profile.model.name))  # found under the hub's name and under a folder's
    write_profile(profile, file)
    limit, _ = limit_of_profile(profile)
    print(file, file.stat().st_size, "bytes,", profile.made.runs, "runs,", profile.made.steps, "steps")
    print(limit and f"limit {limit.value:.3g}", profile.runs and false_alarms(profile.runs))
