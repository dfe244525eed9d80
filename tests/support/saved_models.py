"""Tiny models with a tokenizer, in a folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.tiny_models import tiny_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def word_tokenizer() -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"w{index}": index for index in range(128)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="w127"))
    tokenizer.pre_tokenizer = Whitespace()
    names = ["input_ids", "attention_mask"]  # of transformers 4 there would be types of tokens, too
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="w127", pad_token="w0", model_input_names=names
    )


def save_tiny(folder: Path, *, seed: int = 0) -> str:
    tiny_model(scale=2.0, seed=seed).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return str(folder)
