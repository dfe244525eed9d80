"""The text of tokens, one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.monitor.token_text import TokenDecoder, text_of


class Bytes:
    """A tokenizer whose tokens are bytes; 256 is a special one."""

    def decode(self, tokens: list[int], skip_special_tokens: bool, **_: Any) -> str:
        assert skip_special_tokens
        return bytes(token for token in tokens if token < 256).decode(errors="replace")


def told(decoder: TokenDecoder, tokens: list[int], sequence: int = 0) -> str:
    return "".join(decoder(sequence, token) for token in tokens)


@given(st.text(st.characters(exclude_characters="\N{REPLACEMENT CHARACTER}", codec="utf-8")), st.integers(0, 20))
def test_joined_it_is_the_whole_text(text: str, special: int) -> None:
    tokens = list(text.encode())
    tokens.insert(min(special, len(tokens)), 256)
    whole = Bytes().decode(tokens, True)
    if "\N{REPLACEMENT CHARACTER}" not in whole:  # the special token stands inside of a character
        assert told(TokenDecoder(Bytes()), tokens) == whole


def test_a_part_of_a_character_is_kept_back() -> None:
    decoder = TokenDecoder(Bytes())
    assert [decoder(0, token) for token in "aé日".encode()] == ["a", "", "é", "", "", "日"]


def test_bytes_that_are_no_character_are_not_kept_back_for_ever() -> None:
    assert len(told(TokenDecoder(Bytes()), [0xFF] * 50)) > 40


def test_sequences_do_not_mix_and_a_rollback_takes_text_back() -> None:
    decoder = TokenDecoder(Bytes())
    assert told(decoder, list("aé".encode()[:2])) == "a"
    assert told(decoder, list(b"xyz"), sequence=1) == "xyz"
    assert decoder(0, "é".encode()[1]) == "é"
    decoder.go_back(0, 2)
    assert decoder(0, "ü".encode()[1]) == "ü"
    decoder.go_back(1, 0)
    assert told(decoder, list(b"new"), sequence=1) == "new"


@pytest.mark.real_model
def test_of_a_real_tokenizer_it_is_the_whole_text_too(smollm2: LoadedModel) -> None:
    tokenizer = smollm2.tokenizer
    for text in ("Hello , world !  It 's 日本語 naïve\n\n  def f(x):\n\treturn x  # ok", " leading", "<|im_end|>x"):
        tokens = tokenizer(text)["input_ids"]
        assert told(TokenDecoder(tokenizer), tokens) == text_of(tokenizer, tokens)
