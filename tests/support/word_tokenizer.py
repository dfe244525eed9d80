"""A tokenizer of the tiny models' vocabulary."""

import string
from typing import Any

from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from tests.support.tiny_models import VOCABULARY

WORDS = [*string.ascii_letters, *string.digits, *(a + b for a in "xyz" for b in string.ascii_lowercase)][:VOCABULARY]


def tokenizer() -> Any:
    """Return a tokenizer in which each token is a word of its own."""
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[])))
    made.backend_tokenizer.decoder = decoders.Fuse()
    return made
