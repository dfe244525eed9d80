"""Tokenizers: byte-level BPE, trained on the text that the model is trained on."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import tokenizers
import transformers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers

from .plan import BEGIN, END, PAD

_LEARN_FROM: Final = 25_000_000
"""Characters."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenizer, and the text as rows of its tokens [rows, width]: to train on, and held out."""

    tokenizer: Any
    training: NDArray[np.int32]
    held_out: NDArray[np.int32]


def prepared(folder: Path, make: Callable[[], Tokens]) -> Tokens:
    """Return what a folder holds, or make it and keep it there: models of one vocabulary share it."""
    if not (folder / "whole.json").exists():
        made, aside = make(), folder.with_name(f"{folder.name}.{os.getpid()}")
        made.tokenizer.save_pretrained(aside)
        np.save(aside / "training.npy", made.training)
        np.save(aside / "held_out.npy", made.held_out)
        (aside / "whole.json").write_text(json.dumps({"rows": len(made.training)}), encoding="utf-8")
        try:
            aside.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(aside)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return Tokens(tokenizer, np.load(folder / "training.npy"), np.load(folder / "held_out.npy"))


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
