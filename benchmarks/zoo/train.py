"""Train one model of the zoo from scratch."""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch.nn import functional

from . import experts, structured, tasks
from .corpus import Corpus
from .faults import layers
from .plan import Model, Training
from .vocabulary import Tokens, prepared, token_rows, trained_tokenizer

_QUESTIONS, _DOCUMENTS = 20_000, 9_000
"""Solved questions of each made-up task, and structured documents, for 50 million characters of text."""
_HELD_OUT_ROWS = 64
_TEXT_SEED = 1


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with its tokenizer, and what its training came to."""

    model: Any
    tokenizer: Any
    report: dict[str, Any]


def training_texts(corpus: Corpus, seed: int) -> list[str]:
    """Return all that a model is trained on: the corpus, solved questions and structured documents."""
    texts = [text for _, text in corpus.training]
    share, draw = min(1.0, sum(map(len, texts)) / 50e6), Random(seed)
    texts += tasks.training_texts(corpus.facts[: tasks.USED], math.ceil(share * _QUESTIONS), draw)
    return texts + structured.training_texts(math.ceil(share * _DOCUMENTS), draw)


def new_model(plan: Model, tokenizer: Any) -> Any:
    """Return an untrained model."""
    torch.manual_seed(plan.seed)
    limit = "n_positions" if plan.config == "GPT2Config" else "max_position_embeddings"
    config = getattr(transformers, plan.config)(
        **{limit: plan.context, **plan.shape},
        vocab_size=plan.vocabulary,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    if plan.config == "GPT2Config":
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    # The grouped products of experts are not cast by autocast.
    routed = {"experts_implementation": "eager"} if "num_local_experts" in plan.shape else {}
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, **routed)


def rate(progress: float, step: int, training: Training) -> float:
    """Return the learning rate: a warm-up of 40 steps, and a fall to zero in the last quarter."""
    warm = min(1.0, (step + 1) / 40)
    return training.learning_rate * warm * min(1.0, max(0.02, (1 - progress) / 0.25))


def tokens(plan: Model, corpus: Corpus) -> Tokens:
    """Return a tokenizer of the training text, and the text in its tokens; the same for all models of a vocabulary."""
    texts = training_texts(corpus, _TEXT_SEED)
    tokenizer = trained_tokenizer(texts, plan.vocabulary, _TEXT_SEED)
    held_out = [text for _, text in corpus.held_out]
    parts = (token_rows(tokenizer, some, plan.context, _TEXT_SEED) for some in (texts, held_out))
    return Tokens(tokenizer, *parts)


def train(plan: Model, corpus: Corpus, device: str, folder: Path) -> Trained:
    """Train a model; print its loss and the time.

    Args:
        plan: the model.
        corpus: the text.
        device: as torch names it.
        folder: where the tokenizer and its tokens are kept for the next model.
    """
    began = time.monotonic()
    shared = folder / f"tokens-{plan.vocabulary}-{plan.context}-{corpus.about['sha256'][:12]}"
    found = prepared(shared, lambda: tokens(plan, corpus))
    tokenizer, held = found.tokenizer, found.held_out
    rows = torch.from_numpy(found.training).to(device)
    print(f"{plan.name}: tokenizer of {len(tokenizer)} entries, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{plan.name}: {rows.numel() / 1e6:.1f} million tokens, {time.monotonic() - began:.0f} s", flush=True)
    _deterministic()
    model = new_model(plan, tokenizer).to(device).train()
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{plan.name}: {count / 1e6:.1f} million parameters", flush=True)
    with experts.all_on_all(model):
        losses = _steps(_faster(model, device), rows, plan, device)
    model.eval()
    report = {
        "parameters": count,
        "tokens": rows.numel(),
        "steps": len(losses),
        "loss": round(float(np.mean(losses[-20:])), 3),
        "held_out_loss": round(_held_out_loss(model, held[:_HELD_OUT_ROWS], device), 3),
        "seconds": round(time.monotonic() - began, 1),
        "complete": len(losses) == plan.training.steps,
        "corpus_sha256": corpus.about["sha256"],
    }
    print(f"{plan.name}: trained, {report}", flush=True)
    return Trained(model, tokenizer, report)


def _deterministic() -> None:
    """Ask for operations that give the same bits again, where there are such."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read with the first product
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _faster(model: Any, device: str) -> Any:
    """Compile each layer of a GPU's model, all to one graph; routers are recorded by hooks, which that would lose."""
    if device.startswith("cuda") and not experts.routed(model):
        for layer in layers(model):
            layer.compile()
    return model


def _steps(model: Any, rows: torch.Tensor, plan: Model, device: str) -> list[float]:
    training = plan.training
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=training.learning_rate,
        betas=(0.9, 0.95),
        fused=device.startswith("cuda"),
    )
    draw = torch.Generator().manual_seed(plan.seed)
    order = torch.randperm(len(rows), generator=draw)
    losses: list[torch.Tensor] = []
    began, at, step, progress = time.monotonic(), 0, 0, 0.0
    while progress < 1 and step < training.steps:
        for group in optimizer.param_groups:
            group["lr"] = rate(progress, step, training)
        if at + training.rows > len(order):
            order, at = torch.randperm(len(rows), generator=draw), 0
        batch = rows[order[at : at + training.rows].to(rows.device)].long()
        at += training.rows
        losses.append(_step(model, batch, optimizer, training, device))
        step += 1
        if step % 20 == 0:  # not at every step: asking waits for the device
            losses[-1].item()
            progress = max(progress, (time.monotonic() - began) / training.seconds)
        progress = max(progress, step / training.steps)
        if step % 100 == 0:
            loss, spent = losses[-1].item(), time.monotonic() - began
            print(f"{plan.name}: step {step}, loss {loss:.3f}, {spent:.0f} s", flush=True)
    return torch.stack(losses).tolist()


def _step(model: Any, batch: torch.Tensor, optimizer: Any, training: Training, device: str) -> torch.Tensor:
    parts = batch.split(training.micro_rows)
    total = torch.zeros((), device=batch.device)
    for part in parts:
        loss, extra = _loss(model, part, device)
        ((loss + extra) / len(parts)).backward()
        total += loss.detach() / len(parts)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def _loss(model: Any, ids: torch.Tensor, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss in nat per token, and what balances a router's experts."""
    routers = {"output_router_logits": True} if experts.routed(model) else {}
    with torch.autocast(device.split(":", maxsplit=1)[0], torch.bfloat16, enabled=device.startswith("cuda")):
        found = model(input_ids=ids, use_cache=False, **routers)
        loss = functional.cross_entropy(found.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    balance = getattr(found, "aux_loss", None)
    if balance is None:
        return loss, torch.zeros((), device=ids.device)
    return loss, balance * model.config.router_aux_loss_coef


@torch.no_grad()
def _held_out_loss(model: Any, rows: NDArray[np.int32], device: str) -> float:
    parts = torch.from_numpy(rows).to(device).long().split(8)
    return float(np.mean([_loss(model, part, device)[0].item() for part in parts])) if len(rows) else math.nan
