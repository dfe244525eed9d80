"""Ask two models the same at once, in one event loop, and see the two answers side by side.

The models are names, folders or hub ids: the arguments, else both are `smollm2`.
"""

import asyncio
import os
import sys
from typing import Any

from opentelemetry_instrumentation_corevital import CoreVitalMonitor
from opentelemetry_instrumentation_corevital.policies import Stop

MODELS = sys.argv[1:3] if len(sys.argv) > 2 else ["smollm2", "smollm2"]
LIMIT = int(os.environ.get("MAX_NEW_TOKENS", "100"))
QUESTION = [{"role": "user", "content": "Write one sentence about the sea."}]

monitor = CoreVitalMonitor(policies=[Stop(on="repetition_loop")])


async def ask(name: str, model: str) -> dict[str, Any]:
    # What the stream is asked is of its own run; the monitor answers for the run that finished last.
    async with monitor.stream(model, QUESTION, max_new_tokens=LIMIT, do_sample=False) as stream:
        async for step in stream:
            print(f"{name} {step.step_index:3} risk {step.risk_so_far:.2f} {step.token_text!r}")
        return stream.get_summary()


async def main() -> None:
    # Cancelling a task, as this timeout and a task group that fails do, ends its run within a step.
    async with asyncio.timeout(600), asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(name, model)) for name, model in zip("AB", MODELS, strict=True)]
    for name, task in zip("AB", tasks, strict=True):
        answer = task.result()
        print(f"\n{name}, {answer['model_id']}: risk {answer['risk_score']}, {answer['stop_reason']}")
        print(answer["output_text"])


if __name__ == "__main__":
    asyncio.run(main())
