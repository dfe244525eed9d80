"""The runs: greedy answers of so many tokens, with what CoreVital measured of them, and how lm-polygraph gets them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from answers.asking import Asked
from numpy.typing import NDArray
from zoo.generation import Generator

COLUMNS: Final = ("entropy", "surprisal", "margin", "top1_prob")
PREVIOUS: Final = "attention_previous_heads"
_BATCH: Final = 15


@dataclass(frozen=True, slots=True)
class OwnRun:
    """An answer as CoreVital saw it.

    Attributes:
        number: of the question.
        prompt: its text.
        line_steps: tokens up to the end of the answer's line, which is counted with it.
        columns: signal -> [T], those of `COLUMNS`.
        previous: attention to the previous token [T, middle layers, heads].
    """

    number: int
    task: str
    prompt: str
    prompt_ids: list[int]
    tokens: list[int]
    line_steps: int
    right: bool
    columns: dict[str, NDArray[np.float64]]
    previous: NDArray[np.float64]


def own_runs(generator: Generator, asked: Sequence[Asked]) -> list[OwnRun]:
    """Return the answers to questions of one limit, in which an end token is one like others."""
    found: list[OwnRun] = []
    for begin in range(0, len(asked), _BATCH):
        some = asked[begin : begin + _BATCH]
        ids = [generator.ids(one.prompt, one.limit) for one in some]
        end = {"eos_token_id": generator.tokenizer.pad_token_id}
        runs = generator.watch(ids, some[0].limit, 0.0, 0, **end)
        found += [_own(generator, *each) for each in zip(some, ids, runs, strict=True)]
    return found


def _own(generator: Generator, asked: Asked, prompt_ids: list[int], run: Any) -> OwnRun:
    tokens, end = run.tokens.tolist(), generator.tokenizer.eos_token_id
    said = tokens[: tokens.index(end)] if end in tokens else tokens
    return OwnRun(
        asked.number,
        asked.task,
        asked.prompt.text,
        prompt_ids,
        tokens,
        line_steps(tokens, end, generator.text),
        asked.right(generator.text(said)),
        {name: np.asarray(run.columns[name], np.float64) for name in COLUMNS},
        np.asarray(run.columns[PREVIOUS], np.float64),
    )


def line_steps(tokens: Sequence[int], end: int, text: Callable[[Sequence[int]], str]) -> int:
    """Return the number of tokens up to the first line's end or the first end token, which is counted with it.

    Args:
        tokens: of an answer.
        end: token that ends a text.
        text: makes text of them.
    """
    for step in range(1, len(tokens) + 1):
        if tokens[step - 1] == end or "\n" in text(tokens[:step]).lstrip():
            return step
    return len(tokens)


def to_exchange(runs: Sequence[OwnRun], folder: str, end: int, middle: Sequence[int]) -> dict[str, Any]:
    """Return the runs as data; lm-polygraph's side reads prompts, tokens and attention.

    Args:
        runs: all of one number of tokens.
        folder: of the model.
        end: token at which it ends a run.
        middle: layers of which there is attention to the previous token.
    """
    rows = []
    for run in runs:
        columns = {name: values.tolist() for name, values in run.columns.items()}
        rows.append({**asdict(run), "columns": columns, "previous": np.nan_to_num(run.previous).tolist()})
    limit = max(len(run.tokens) for run in runs)
    return {"model": folder, "limit": limit, "end": end, "middle": list(middle), "runs": rows}


def from_exchange(given: Mapping[str, Any]) -> list[OwnRun]:
    """Return the runs of such data."""
    return [
        OwnRun(
            **{
                **row,
                "columns": {name: np.array(values) for name, values in row["columns"].items()},
                "previous": np.array(row["previous"]),
            }
        )
        for row in given["runs"]
    ]
