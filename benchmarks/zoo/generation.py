"""Batched generation with one model, watched by CoreVital's own capture."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LogitsProcessor, LogitsProcessorList

from opentelemetry_instrumentation_corevital import disabled

from . import faults
from .plan import Model
from .prompts import Prompt
from .watching import Keep

Prompts = Sequence[list[int]]
"""Token ids."""

MOMENT: Final = 64
"""Side of the second moment of projected states."""
_FORWARD_ROWS: Final = 32


class Generator:
    """A model that goes on with prompts; every `watch`ed run is what CoreVital recorded of it."""

    def __init__(self, plan: Model, model: Any, tokenizer: Any, device: str, keep: Keep) -> None:
        self.plan, self.model, self.tokenizer, self.device = plan, model, tokenizer, device
        self._keep = keep

    @property
    def layers(self) -> int:
        """Return the number of layers."""
        return len(faults.layers(self.model))

    def ids(self, prompt: Prompt, limit: int) -> list[int]:
        """Return a prompt's tokens, the last ones of those that leave no room for so many more."""
        begin, room = prompt.ids(self.tokenizer), self.plan.context - limit
        return begin if len(begin) <= room else [begin[0], *begin[1 - room :]]

    def watch(self, prompts: Prompts, limit: int, temperature: float, seed: int, **options: Any) -> list[Any]:
        """Return the run of each prompt.

        Raises:
            SystemExit: where CoreVital did not see all of them.
        """
        self._keep.clear()
        self.generate(prompts, limit, temperature, seed, **options)
        runs = sorted(self._keep.runs, key=lambda run: run.sequence_index)
        self._keep.clear()
        if len(runs) != len(prompts):
            raise SystemExit(f"{self.plan.name}: CoreVital saw {len(runs)} of {len(prompts)} runs")
        return runs

    def generate(self, prompts: Prompts, limit: int, temperature: float, seed: int, **options: Any) -> Tensor:
        """Return what follows the prompts [N, T], padded on the right; temperature 0 is greedy search."""
        inputs = padded(prompts, self.tokenizer.pad_token_id, self.device)
        torch.manual_seed(seed)
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if temperature:
            top_p = 1.0 if temperature >= 1 else 0.95
            sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
        with torch.inference_mode():
            ids = self.model.generate(
                **inputs, **sampling, **options, max_new_tokens=limit, pad_token_id=self.tokenizer.pad_token_id
            )
        return ids[:, inputs["input_ids"].shape[1] :]

    def until_line_end(self) -> dict[str, Any]:
        """Return the options that end an answer with its first line."""
        return {"stop_strings": ["\n"], "tokenizer": self.tokenizer}

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def unwatched(self, prompts: Prompts, limit: int, temperature: float, seed: int) -> list[list[int]]:
        """Return first lines that follow the prompts, faster and without their numbers; an end token stays."""
        with disabled():
            found = self.generate(prompts, limit, temperature, seed, **self.until_line_end())
        ends, rows = (self.tokenizer.eos_token_id, self.tokenizer.pad_token_id), []
        for row in found.tolist():
            stop = next((i for i, token in enumerate(row) if token in ends), len(row))
            rows.append(row[: stop + 1] if row[stop : stop + 1] == [ends[0]] else row[:stop])
        return rows

    def log_probabilities(self, prompts: Prompts, answers: Prompts) -> Iterator[Tensor]:
        """Yield, for each answer, what the model as it is would have said at each of its tokens: [T, V] nat."""
        for begin in range(0, len(prompts), _FORWARD_ROWS):
            part = slice(begin, begin + _FORWARD_ROWS)
            whole = [prompt + answer for prompt, answer in zip(prompts[part], answers[part], strict=True)]
            inputs = padded(whole, self.tokenizer.pad_token_id, self.device)
            with torch.inference_mode():
                position = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
                keep = max(map(len, answers[part])) + 1
                found = self.model(**inputs, position_ids=position, use_cache=False, logits_to_keep=keep)
                logits = found.logits
                for row, answer in zip(logits, answers[part], strict=True):
                    yield functional.log_softmax(row[keep - 1 - len(answer) : keep - 1].float(), -1)

    def surprisals(self, prompts: Prompts, answers: Prompts) -> list[float]:
        """Return the surprisal of each answer, summed over its tokens, bit."""
        pairs = zip(self.log_probabilities(prompts, answers), answers, strict=True)
        return [-float(said[range(len(answer)), answer].sum()) / math.log(2) for said, answer in pairs]


def padded(prompts: Sequence[list[int]], pad: int, device: str) -> dict[str, Tensor]:
    """Return prompts padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return {"input_ids": ids, "attention_mask": mask}


class Distributions(LogitsProcessor):  # type: ignore[misc]
    """Keeps the log-probabilities of every step; a logits processor of the caller sees the raw logits first."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        """Keep one step's, and hand on what sampling can do with."""
        self.steps.append(functional.log_softmax(scores.float(), -1))
        return torch.nan_to_num(scores, nan=0.0, posinf=1e4, neginf=-1e4)

    def option(self) -> dict[str, Any]:
        """Return the option of `generate()`."""
        return {"logits_processor": LogitsProcessorList([self])}


class Moments:
    """The second moment of projected last-position states, by layer."""

    def __init__(self, model: Any) -> None:
        self._model, self._states = model, []  # type: ignore[var-annotated]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the projected states of every step of the block."""
        layers = faults.layers(self._model)
        self._states = [[] for _ in layers]
        handles = [layer.register_forward_hook(self._hook(number)) for number, layer in enumerate(layers)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, number: int) -> Any:
        projection: Tensor | None = None

        def hook(_module: Any, _args: Any, output: Any) -> None:
            nonlocal projection
            state = (output if isinstance(output, Tensor) else output[0])[:, -1].float()
            if projection is None:
                draw = torch.Generator().manual_seed(number)
                projection = torch.randn(state.shape[-1], MOMENT, generator=draw).to(state.device) / MOMENT**0.5
            self._states[number].append(state @ projection)

        return hook

    def entropies(self, steps: Sequence[int]) -> Tensor:
        """Return the Renyi-2 entropy of the first `steps` states of each row, [N, layers] nat."""
        found = []
        for states in self._states:
            every = torch.stack(states, 1)
            ends = torch.tensor(steps, device=every.device)[:, None]
            inside = torch.arange(every.shape[1], device=every.device) < ends
            found.append(renyi_entropy(every * inside[..., None]))
        return torch.stack(found, -1).cpu()


def renyi_entropy(states: Tensor) -> Tensor:
    """Return the Renyi-2 entropy in nat of the states' spectrum, from projections of them.

    Args:
        states: [..., T, m] projected by a random normal matrix of m columns; rows of zeros count nothing.

    Returns:
        -ln(sum of the squared eigenvalues of the second moment of trace 1), corrected for what the projection to m
        numbers adds to it on average; NaN where the correction leaves nothing.
    """
    size = states.shape[-1]
    moment = states.transpose(-1, -2) @ states
    ratio = moment.square().sum((-1, -2)) / moment.diagonal(dim1=-2, dim2=-1).sum(-1).square()
    pure = (ratio - 1 / size) / (1 + 1 / size - 2 * ratio / size)
    return torch.where(pure > 0, -pure.clamp(min=1e-12).log(), torch.nan)
