"""What the models are asked to go on with: text that they were not trained on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from random import Random
from typing import Any, Final

from runset.store import HERE as RUNSET
from runset.store import PROMPTS

from . import structured
from .corpus import Corpus
from .plan import BEGIN, Model

_SHARES: Final = {
    "dictionary": 18,
    "thesaurus": 4,
    "computing": 12,
    "jargon": 6,
    "fortune": 10,
    "kernel": 14,
    "database": 8,
    "code": 10,
    "chat": 6,
    "structured": 12,
}
"""Kind of text -> its share of the healthy runs, per cent. SmolLM2 is asked more than half of the time instead."""
_ASKED: Final = 130
_SHORTEST_PIECE: Final = 200


@dataclass(frozen=True, slots=True)
class Prompt:
    """A beginning, or messages for a chat template."""

    kind: str
    text: str
    messages: tuple[dict[str, str], ...] = field(default=())

    def ids(self, tokenizer: Any) -> list[int]:
        """Return its tokens, with the token that every text of training begins with."""
        if self.messages:
            text = tokenizer.apply_chat_template(list(self.messages), add_generation_prompt=True, tokenize=False)
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])
        ids = list(tokenizer(self.text, add_special_tokens=False)["input_ids"])
        return [tokenizer.bos_token_id, *ids] if tokenizer.bos_token == BEGIN else ids


def pieces(text: str) -> list[str]:
    """Return the parts of a document from which a prompt can be taken: it and its long paragraphs."""
    paragraphs = [part for part in text.split("\n\n") if len(part) >= _SHORTEST_PIECE]
    return [text, *paragraphs[1:12]]


def beginning(text: str, draw: Random) -> str:
    """Return the first 20 to 250 characters, cut behind a word; at most half of a short text."""
    size = min(draw.randint(20, 250), max(20, len(text) // 2))
    return text[:size].rsplit(" ", 1)[0].rstrip()


def healthy(plan: Model, corpus: Corpus, seed: int) -> Iterator[Prompt]:
    """Yield prompts without end, of all kinds by their shares; each text is used again only after all others."""
    draw = Random(seed)
    by_kind: dict[str, list[str]] = {}
    for kind, text in corpus.held_out:
        by_kind.setdefault(kind, []).extend(pieces(text))
    by_kind["structured"] = [text for _, text in structured.beginnings(60, draw)]
    sources = {kind: _endless(texts, draw) for kind, texts in by_kind.items()}
    weights = {kind: share for kind, share in _SHARES.items() if kind in sources}
    asked = None
    if not plan.trained:
        asked = cycle(_questions(draw))
        weights["asked"] = _ASKED
    while True:
        kind = draw.choices(list(weights), list(weights.values()))[0]
        if kind == "asked" and asked is not None:
            yield next(asked)
        else:
            text = next(sources[kind])
            yield Prompt(kind, text if kind == "structured" else beginning(text, draw))


def _endless(texts: Sequence[str], draw: Random) -> Iterator[str]:
    order = list(texts)
    draw.shuffle(order)
    return cycle(order)


def _questions(draw: Random) -> list[Prompt]:
    prompts = json.loads((RUNSET / PROMPTS).read_text(encoding="utf-8"))
    found = [
        Prompt(f"asked: {prompt['class']}", "", tuple(prompt["messages"]))
        for prompt in prompts
        if "messages" in prompt and prompt["class"] in ("long", "repeat")
    ]
    draw.shuffle(found)
    return found


def some(prompts: Iterator[Prompt], count: int) -> list[Prompt]:
    """Return the next prompts."""
    return list(islice(prompts, count))
