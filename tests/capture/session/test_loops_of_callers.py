"""Loops of callers that transformers allows: what their steps say is measured right, or absent with the reason."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital._internal import safety
from tests.support.in_memory import Keep, instrumented
from tests.support.tiny_models import prompt, tiny_model

Body = Callable[[Any, torch.Tensor, Any, Any], torch.Tensor]


def logits_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(ids).logits[:, -1].float()
    return logits


def chosen(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    return torch.cat([ids, scores.argmax(-1)[:, None]], -1)


def plain(model: Any, ids: torch.Tensor, process: Any, stop: Any) -> torch.Tensor:
    ids = chosen(ids, process(ids, logits_of(model, ids)))
    stop(ids, None)
    return ids


def guided(model: Any, ids: torch.Tensor, process: Any, stop: Any) -> torch.Tensor:
    """Classifier-free guidance by hand: the processors are called for both distributions."""
    conditional, free = logits_of(model, ids), logits_of(model, ids[:, -1:])
    ids = chosen(ids, 1.5 * process(ids, conditional) - 0.5 * process(ids, free))
    stop(ids, None)
    return ids


def guided_before(model: Any, ids: torch.Tensor, process: Any, stop: Any) -> torch.Tensor:
    """The same with one call, of what is no distribution of the model's any more."""
    ids = chosen(ids, process(ids, 1.5 * logits_of(model, ids) - 0.5 * logits_of(model, ids[:, -1:])))
    stop(ids, None)
    return ids


def guided_in_a_batch(model: Any, ids: torch.Tensor, process: Any, stop: Any) -> torch.Tensor:
    conditional, free = logits_of(model, ids.repeat(2, 1))
    ids = chosen(ids, process(ids, (1.5 * conditional - 0.5 * free)[None]))
    stop(ids, None)
    return ids


def two_tokens(model: Any, ids: torch.Tensor, process: Any, stop: Any) -> torch.Tensor:
    ids = chosen(ids, process(ids, logits_of(model, ids)))
    ids = torch.cat([ids, ids[:, -1:]], -1)
    stop(ids, None)
    return ids


def without_criteria(model: Any, ids: torch.Tensor, process: Any, stop: Any) -> torch.Tensor:
    return chosen(ids, process(ids, logits_of(model, ids)))


def one_dimension(model: Any, ids: torch.Tensor, process: Any, stop: Any) -> torch.Tensor:
    ids = chosen(ids, process(ids, logits_of(model, ids)[0])[None])
    stop(ids, None)
    return ids


def run_of(body: Body, **options: Any) -> Run:
    def loop(model: Any, input_ids: torch.Tensor, logits_processor: Any, stopping_criteria: Any, **_: Any) -> Any:
        for _step in range(4):
            input_ids = body(model, input_ids, logits_processor, stopping_criteria)
        return input_ids

    keep = Keep()
    with instrumented(judgements=[keep], capture="full"):
        for _ in range(safety.BREAKER_LIMIT + 1):
            tiny_model(eos_token_id=None).generate(prompt(8), max_new_tokens=8, custom_generate=loop, **options)
    assert len(keep.runs) == safety.BREAKER_LIMIT + 1, "none of it is a fault of ours"
    return keep.runs[-1]


def test_a_loop_like_transformers_own_is_measured() -> None:
    run = run_of(plain)
    assert len(run.columns["entropy"]) == len(run.columns["attention_entropy"]) == 4


ODD: dict[str, tuple[Body, str]] = {
    "guided": (guided, "calls the logits processors several times"),
    "guided before": (guided_before, "whose logits a custom loop hands over"),
    "guided in a batch": (guided_in_a_batch, "whose logits a custom loop hands over"),
    "two tokens": (two_tokens, "a layer's output has 10 positions at step 1"),
    "without criteria": (without_criteria, "before a token is shown to the stopping criteria"),
    "one dimension": (one_dimension, "not [sequences, vocabulary]"),
}


@pytest.mark.parametrize(("body", "reason"), ODD.values(), ids=ODD)
def test_what_is_no_distribution_of_the_models_is_absent_with_the_reason(body: Body, reason: str) -> None:
    run = run_of(body)
    assert run.columns == {}
    for name in ("entropy", "nonfinite", "hidden_states", "attention"):
        assert reason in run.absent[name], name
    assert run.output_tokens in (4, 8), "its tokens are known all the same"
    assert run.risk is None
