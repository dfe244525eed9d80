"""Generate again where the first answer went wrong: by a policy, and with a loop of your own.

The model is a name, a folder or a hub id: the first argument, else the environment variable MODEL.
"""

import os
import sys
from typing import Any

from opentelemetry_instrumentation_corevital import CoreVitalMonitor
from opentelemetry_instrumentation_corevital.policies import Retry, Stop

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "smollm2")
LIMIT = int(os.environ.get("MAX_NEW_TOKENS", "400"))
QUESTION = [{"role": "user", "content": "Tell me everything about the history of the universe in great detail."}]
LIVELIER = {"do_sample": True, "temperature": 1.0, "top_p": 0.8, "repetition_penalty": 1.1}


def by_policy() -> dict[str, Any]:
    """Stop ends the run that loops, Retry makes the next one; its span links to the one before."""
    monitor = CoreVitalMonitor(
        policies=[Stop(on="repetition_loop"), Retry(on="repetition_loop", changes=LIVELIER, max=2)],
    )
    monitor.run(MODEL, QUESTION, max_new_tokens=LIMIT, do_sample=False)
    return monitor.get_summary()


def by_hand() -> dict[str, Any]:
    """The same without policies: `should_intervene()` only says so, `break` ends the run."""
    monitor = CoreVitalMonitor(intervene_on_risk_above=None, intervene_on_signals=("repetition_loop", "nan", "inf"))
    settings: dict[str, Any] = {"do_sample": False}
    for retries in range(3):
        stream = monitor.stream(MODEL, QUESTION, max_new_tokens=LIMIT, **settings)
        for _ in stream:
            if stream.should_intervene():
                break  # generation ends within a step
        if not stream.should_intervene():
            break
        print(f"attempt {retries + 1}: {stream.intervention()}")
        settings = LIVELIER
    return stream.get_summary() | {"retries": retries}


def main() -> None:
    for way in (by_policy, by_hand):
        summary = way()
        print(f"{way.__name__}: {summary['retries']} retries, {summary['stop_reason']}, risk {summary['risk_score']}")
        print(summary["output_text"])


if __name__ == "__main__":
    main()
