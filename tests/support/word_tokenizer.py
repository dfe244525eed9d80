"""A tokenizer of the tiny models' vocabulary."""

import string
from typing import Any

from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from tests.support.tiny_models import VOCABULARY

WORDS = [*string.ascii_letters, *string.digits, *(a + b for a in "xyz" for b in string.ascii_lowercase)][:VOCABULARY]


def tokenizer() -> Any:
    """Return a tokenizer in which each token is a word of its own."""
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[])))
    made.backend_tokenizer.decoder = decoders.Fuse()
    return made


class SlowWords(PreTrainedTokenizer):
    """A tokenizer in Python, of the words `w0` to `w127` or of another letter.

    Args:
        letter: that the words begin with.
        first: token id of the word with the number 0.
        options: of `PreTrainedTokenizer`.
    """

    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, letter: str = "w", first: int = 0, **options: Any) -> None:
        self.letter, self.first = letter, first
        tokens = {"pad_token": f"{letter}0", "unk_token": f"{letter}127"}
        super().__init__(**{**tokens, "letter": letter, "first": first, **options})

    @property
    def vocab_size(self) -> int:
        return VOCABULARY

    def get_vocab(self) -> dict[str, int]:
        return {f"{self.letter}{number}": (number + self.first) % VOCABULARY for number in range(VOCABULARY)}

    def _tokenize(self, text: str, **_options: Any) -> list[str]:
        return text.split()

    def _convert_token_to_id(self, token: str) -> int:
        return self.get_vocab().get(token, VOCABULARY - 1)

    def _convert_id_to_token(self, index: int) -> str:
        return f"{self.letter}{(index - self.first) % VOCABULARY}"

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return " ".join(tokens)
