"""A service with a small random model: `application` for WSGI servers, `app` for ASGI servers; a request is a run."""

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.set_num_threads(1)
torch.manual_seed(0)
_SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_MODEL = LlamaForCausalLM(LlamaConfig(**_SHAPE, pad_token_id=0, eos_token_id=1)).eval()


def generate() -> bytes:
    """Generate eight tokens and return the number of the process."""
    _MODEL.generate(torch.tensor([[2, 3, 4]]), max_new_tokens=8, min_new_tokens=8, do_sample=False)
    return str(os.getpid()).encode()


def answer(path: str) -> bytes:
    """Return the number of the process, after a run; without one for `/ready`."""
    return b"ready" if path == "/ready" else generate()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request, for WSGI."""
    body = answer(environ["PATH_INFO"])
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer a request, for ASGI."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
        return
    body = answer(scope["path"])
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
    )
    await send({"type": "http.response.body", "body": body})
