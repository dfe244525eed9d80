"""An ordinary FastAPI service that streams its answers. It knows nothing of CoreVital or OpenTelemetry.

MODEL (a folder or a hub id), MAX_NEW_TOKENS and PORT are environment variables.
"""

import os
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria, TextIteratorStreamer

MODEL = os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
LIMIT = int(os.environ.get("MAX_NEW_TOKENS", "200"))

app = FastAPI()
model = AutoModelForCausalLM.from_pretrained(MODEL)
tokenizer = AutoTokenizer.from_pretrained(MODEL)


class ClientGone(StoppingCriteria):
    """Ends generation once nobody reads the answer any more."""

    def __init__(self) -> None:
        self.event = Event()

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


@app.get("/answers")
def answers(question: str) -> StreamingResponse:
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    # Made here, where the request's span is active: the run's span becomes its child.
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    gone = ClientGone()
    options = {"max_new_tokens": LIMIT, "do_sample": False, "streamer": streamer, "stopping_criteria": [gone]}
    generating = Thread(target=model.generate, kwargs={**inputs, **options})
    generating.start()
    return StreamingResponse(words(streamer, gone, generating), media_type="text/plain")


def words(streamer: TextIteratorStreamer, gone: ClientGone, generating: Thread) -> Iterator[str]:
    try:
        yield from streamer
    finally:
        gone.event.set()
        generating.join()


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
