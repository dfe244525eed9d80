"""Tokenizers: byte-level BPE, trained on the text that the model is trained on."""

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import tokenizers
import transformers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers

from .plan import BEGIN, END, PAD

_LEARN_FROM = 60_000_000
"""Characters."""


def trained_tokenizer(texts: Sequence[str], size: int, seed: int) -> Any:
    """Return a tokenizer of so many entries, the begin, end and padding tokens first among them."""
    bare = tokenizers.Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[BEGIN, END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator(_some(texts, seed), trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token=BEGIN, eos_token=END, pad_token=PAD, padding_side="left"
    )


def _some(texts: Sequence[str], seed: int) -> list[str]:
    """Return texts in a random order, as many as a tokenizer learns from."""
    order = list(texts)
    Random(seed).shuffle(order)
    found, characters = [], 0
    for text in order:
        found.append(text)
        characters += len(text)
        if characters > _LEARN_FROM:
            break
    return found


def token_rows(tokenizer: Any, texts: Sequence[str], width: int, seed: int) -> NDArray[np.int32]:
    """Return rows of tokens [rows, width]: texts in a random order, each with its end token, cut into rows.

    Every row begins with the begin token, as every prompt will.
    """
    order = np.random.default_rng(seed).permutation(len(texts))
    parts: list[NDArray[np.int32]] = []
    end = np.array([tokenizer.eos_token_id], np.int32)
    for begin in range(0, len(order), 4096):
        some = [texts[number] for number in order[begin : begin + 4096]]
        for ids in tokenizer(some, add_special_tokens=False, return_attention_mask=False)["input_ids"]:
            parts += [np.array(ids, np.int32), end]
    stream = np.concatenate(parts)
    rows = stream[: len(stream) // (width - 1) * (width - 1)].reshape(-1, width - 1)
    return np.concatenate([np.full((len(rows), 1), tokenizer.bos_token_id, np.int32), rows], 1)
