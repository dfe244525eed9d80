"""A service that sends its answers as server-sent events, and stops generating when its client has gone.

    pip install fastapi uvicorn
    python serve.py                     # MODEL, MAX_NEW_TOKENS, PORT: environment variables
    curl -N 'http://127.0.0.1:8000/answers?question=Name+three+primary+colours.'

Each answer is generated in a thread of its own, so several clients can be answered at the same time. CoreVital itself
does not need FastAPI: any framework that ends the generator `events()` ends the run with it.
"""

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from opentelemetry_instrumentation_corevital import CoreVitalMonitor
from opentelemetry_instrumentation_corevital.policies import Stop

MODEL = os.environ.get("MODEL", "smollm2")  # a name is loaded once, by the first answer
LIMIT = int(os.environ.get("MAX_NEW_TOKENS", "400"))

app = FastAPI()
monitor = CoreVitalMonitor(policies=[Stop(on=["repetition_loop", "nan", "inf"])])


@app.get("/answers")
async def answers(question: str) -> StreamingResponse:
    return StreamingResponse(events(question), media_type="text/event-stream")


async def events(question: str) -> AsyncIterator[str]:
    messages = [{"role": "user", "content": question}]
    # Leaving the block ends generation: by its last token, or because the client has gone.
    async with monitor.stream(MODEL, messages, max_new_tokens=LIMIT, do_sample=False) as stream:
        async for step in stream:
            yield event("token", text=step.token_text, risk=step.risk_so_far, warnings=step.warning_signals)
        summary = stream.get_summary()
    yield event("end", **{name: summary[name] for name in ("stop_reason", "risk_score", "narrative", "trace_id")})


def event(kind: str, **data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


if __name__ == "__main__":
    # Answers that are still going on when the service is stopped end after 2 seconds.
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=2)
