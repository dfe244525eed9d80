"""What learning a baseline costs: the thread that generates, the one that learns, and the file.

    python benchmarks/learning.py

Runs of 128 tokens and 32 layers with every signal, made of noise, one at a time: handing over is timed on the caller's
thread, learning by the processor time of the learning thread alone. Made anew, what runs are compared with, is part of
it: it happens when the baseline has grown by a quarter. Goals: 0.05 ms, 0.5 ms, 8 KB a layer.
"""

import os
import statistics
import tempfile
import time

from tests.support import healthy_runs

STEPS, LAYERS, RUNS = 128, 32, 400


def main() -> None:
    """Measure and print."""
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()
    healthy_runs.LAYERS = LAYERS
    from opentelemetry_instrumentation_corevital.baselines.learned_files import files
    from opentelemetry_instrumentation_corevital.baselines.learner import Learner
    from opentelemetry_instrumentation_corevital.baselines.profiled_signals import LAYER_SIGNALS
    from opentelemetry_instrumentation_corevital.baselines.sketches import ROW_BYTES
    from opentelemetry_instrumentation_corevital.baselines.windowed import VIEWS

    learner = Learner()
    spent: list[float] = []
    learn = learner._learn

    def timed(*args: object, **options: object) -> None:
        begun = time.thread_time()
        learn(*args, **options)  # type: ignore[arg-type]
        spent.append(time.thread_time() - begun)

    learner._learn = timed  # type: ignore[method-assign]
    handed = []
    runs = [healthy_runs.healthy(seed, STEPS) for seed in range(50)]
    for number in range(RUNS):
        run = runs[number % len(runs)]
        pupil = learner.pupil(run.model)
        begun = time.perf_counter()
        learner.hand_over(pupil, run, teaches=True)
        handed.append(time.perf_counter() - begun)
        while len(spent) <= number:
            time.sleep(0.001)
    begun = time.thread_time()
    learner.force_flush()
    written = time.thread_time() - begun
    late = sorted(spent[100:])
    print(f"handing a run over       median {statistics.median(handed) * 1e3:.4f} ms")
    print(f"learning from a run      median {statistics.median(late) * 1e3:.3f} ms, least {late[0] * 1e3:.3f} ms")
    print(f"... of the first {RUNS}     mean {statistics.mean(spent) * 1e3:.3f} ms")
    print(f"writing, once a minute   {written * 1e3:.1f} ms")
    print(f"sketches of a layer      {ROW_BYTES * len(VIEWS) * len(LAYER_SIGNALS)} bytes")
    print(f"the file                 {files()[0].stat().st_size / 1024:.0f} KiB for {LAYERS} layers")


if __name__ == "__main__":
    main()
