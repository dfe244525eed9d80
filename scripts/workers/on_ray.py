"""Two actors of Ray that generate; prints the numbers of their processes. `flush`: they hand over what they hold."""

import sys

import ray
from opentelemetry import trace


@ray.remote
class Worker:
    """An actor with a model of its own."""

    def generate(self) -> int:
        """Generate once."""
        from service import generate

        return int(generate())

    def flush(self) -> bool:
        """Export what this process holds."""
        return bool(trace.get_tracer_provider().force_flush())  # type: ignore[attr-defined]


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
workers = [Worker.remote() for _ in range(2)]  # type: ignore[attr-defined]
for _ in range(int(sys.argv[1]) // 2):
    print(*ray.get([worker.generate.remote() for worker in workers]), flush=True)
if "flush" in sys.argv:
    ray.get([worker.flush.remote() for worker in workers])
ray.shutdown()
