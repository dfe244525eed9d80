"""Prompts that a program makes tokens of itself: their text, and what there is where nobody knows it."""

import copy
import gc
import hashlib
import json
import os
import pickle
import sys
import unicodedata
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from opentelemetry.sdk.trace import ReadableSpan
from transformers import AutoTokenizer, PreTrainedTokenizerBase, ProcessorMixin

from opentelemetry_instrumentation_corevital import prompt_text
from opentelemetry_instrumentation_corevital.instrumentation.prompt_memory import (
    BYTES_KEPT,
    CHATS_KEPT,
    PROMPTS_KEPT,
    ROWS_OF_A_CALL,
    PromptMemory,
    recent_prompts,
)
from tests.support.in_memory import Telemetry, instrumented
from tests.support.saved_models import save_tiny, word_tokenizer
from tests.support.tiny_models import tiny_encoder_decoder, tiny_model
from tests.support.word_tokenizer import SlowWords

FIRST, SECOND = "w5 w6 w7 w8", "w9 w10"
OPTIONS: dict[str, Any] = {"max_new_tokens": 2, "do_sample": False}
WITH_CONTENT: dict[str, Any] = {"capture_message_content": "span_only"}


def hash_of(text: str) -> str:
    """The prompt hash of a text, by its definition."""
    return hashlib.sha256(unicodedata.normalize("NFC", text).strip().encode()).hexdigest()


def told(span: ReadableSpan) -> tuple[Any, Any]:
    attributes = span.attributes or {}
    return (
        attributes.get("corevital.fingerprint.prompt_hash_source"),
        attributes.get("corevital.fingerprint.prompt_hash"),
    )


def generated(telemetry: Telemetry, model: Any, **inputs: Any) -> list[tuple[Any, Any]]:
    """Return what is told of the prompt of each sequence that one call returns."""
    telemetry.span_exporter.clear()
    model.generate(**inputs, **OPTIONS)
    *sequences, call = telemetry.spans
    return [told(span) for span in sequences or [call]]


TEXT = ("text", hash_of(FIRST))
OTHER = ("text", hash_of(SECOND))


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model(scale=2.0)


@pytest.fixture(params=["fast", "slow"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return word_tokenizer() if request.param == "fast" else SlowWords()


# --- ways from a text to generate() -------------------------------------------------------------------------------


def ids(tokens: Any) -> dict[str, Any]:
    return {"input_ids": torch.tensor([tokens])}


ONE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "tensors": lambda tok: tok(FIRST, return_tensors="pt"),
    "keyword": lambda tok: tok(text=FIRST, return_tensors="pt"),
    "ids alone": lambda tok: {"input_ids": tok(FIRST, return_tensors="pt")["input_ids"]},
    "lists": lambda tok: ids(tok(FIRST)["input_ids"]),
    "numpy": lambda tok: {"input_ids": torch.from_numpy(tok(FIRST, return_tensors="np")["input_ids"])},
    "encode": lambda tok: ids(tok.encode(FIRST)),
    "encode, tensor": lambda tok: {"input_ids": tok.encode(FIRST, return_tensors="pt")},
    "a row of a batch": lambda tok: ids(tok([SECOND, FIRST])["input_ids"][1]),
    "not cut": lambda tok: tok(FIRST, truncation=True, max_length=8, return_tensors="pt"),
    "padded to a length": lambda tok: tok(FIRST, padding="max_length", max_length=4, return_tensors="pt"),
    "another type": lambda tok: {name: each.int() for name, each in tok(FIRST, return_tensors="pt").items()},
}


@pytest.mark.parametrize("way", ONE)
def test_the_text_of_a_prompt_is_known(model: Any, tokenizer: Any, way: str) -> None:
    with instrumented() as telemetry:
        assert generated(telemetry, model, **ONE[way](tokenizer)) == [TEXT]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("mask", [True, False], ids=["mask", "no mask"])
def test_the_text_of_every_row_of_a_padded_batch_is_known(model: Any, tokenizer: Any, side: str, mask: bool) -> None:
    tokenizer.padding_side = side
    with instrumented() as telemetry:
        inputs = tokenizer([FIRST, SECOND], padding=True, return_tensors="pt")
        given = dict(inputs) if mask else {"input_ids": inputs["input_ids"]}
        assert generated(telemetry, model, **given) == [TEXT, OTHER]


def test_texts_that_are_padded_later_are_known(model: Any, tokenizer: Any) -> None:
    tokenizer.padding_side = "left"
    with instrumented() as telemetry:
        rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in (FIRST, SECOND)]
        assert generated(telemetry, model, **tokenizer.pad(rows, return_tensors="pt")) == [TEXT, OTHER]


def test_padding_that_is_also_the_end_token_is_taken_off(model: Any) -> None:
    tokenizer = word_tokenizer()
    tokenizer.pad_token, tokenizer.padding_side = "w2", "left"  # the model's end token
    with instrumented() as telemetry:
        inputs = tokenizer([FIRST, SECOND], padding=True, return_tensors="pt")["input_ids"]
        assert generated(telemetry, model, input_ids=inputs, pad_token_id=2) == [TEXT, OTHER]


@pytest.mark.skipif(
    not hasattr(PreTrainedTokenizerBase, "batch_encode_plus"), reason="transformers 5 has no such method"
)
def test_the_methods_of_transformers_4_are_known(model: Any, tokenizer: Any) -> None:
    with instrumented() as telemetry:
        assert generated(telemetry, model, **tokenizer.encode_plus(FIRST, return_tensors="pt")) == [TEXT]
        rows = tokenizer.batch_encode_plus([FIRST, SECOND])["input_ids"]
        assert generated(telemetry, model, **ids(rows[1])) == [OTHER]


def test_a_row_that_nobody_knows_is_decoded_as_its_neighbours_are(model: Any, tokenizer: Any) -> None:
    with instrumented() as telemetry:
        known = tokenizer(FIRST)["input_ids"]
        found = generated(telemetry, model, input_ids=torch.tensor([known, [90, 91, 92, 93]]))
        assert found == [TEXT, ("decoded", hash_of("w90 w91 w92 w93"))]


def test_another_thread_finds_the_text(model: Any, tokenizer: Any) -> None:
    with instrumented() as telemetry, ThreadPoolExecutor(1) as pool:
        inputs = pool.submit(tokenizer, FIRST, return_tensors="pt").result()
        assert generated(telemetry, model, **inputs) == [TEXT]


def test_the_encoders_text_is_the_prompt(tokenizer: Any) -> None:
    with instrumented() as telemetry:
        inputs = tokenizer(FIRST, return_tensors="pt")
        assert generated(telemetry, tiny_encoder_decoder("t5"), input_ids=inputs["input_ids"]) == [TEXT]


def test_a_processor_asks_its_tokenizer(model: Any) -> None:
    class Reader(ProcessorMixin):
        attributes = ["tokenizer"]  # noqa: RUF012
        tokenizer_class = "PreTrainedTokenizerFast"

        def __init__(self, tokenizer: Any) -> None:
            super().__init__(tokenizer)

        def __call__(self, text: str) -> Any:
            return self.tokenizer([text], return_tensors="pt")

    with instrumented() as telemetry:
        assert generated(telemetry, model, **Reader(word_tokenizer())(FIRST)) == [TEXT]


# --- what is not the text of one prompt ---------------------------------------------------------------------------

NOT_ONE_TEXT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "cut": (lambda tok: tok(FIRST, truncation=True, max_length=2, return_tensors="pt"), "w5 w6"),
    "cut to a length alone": (lambda tok: tok(FIRST, max_length=3, return_tensors="pt"), "w5 w6 w7"),
    "pair": (lambda tok: tok(FIRST, SECOND, return_tensors="pt"), f"{FIRST} {SECOND}"),
    "pair by name": (lambda tok: tok(FIRST, text_pair=SECOND, return_tensors="pt"), f"{FIRST} {SECOND}"),
    "pairs": (lambda tok: tok([(FIRST, SECOND)], return_tensors="pt"), f"{FIRST} {SECOND}"),
    "words": (lambda tok: tok(["w5", "w6"], is_split_into_words=True, return_tensors="pt"), "w5 w6"),
}


@pytest.mark.parametrize("what", NOT_ONE_TEXT)
def test_a_prompt_that_is_not_one_text_is_decoded(model: Any, tokenizer: Any, what: str) -> None:
    tokens, text = NOT_ONE_TEXT[what]
    with instrumented() as telemetry:
        assert generated(telemetry, model, **tokens(tokenizer)) == [("decoded", hash_of(text))]


def test_several_rows_of_a_long_text_are_none_of_them_the_text(model: Any) -> None:
    tokenizer = word_tokenizer()
    with instrumented() as telemetry:
        rows = tokenizer(FIRST, truncation=True, max_length=2, return_overflowing_tokens=True)["input_ids"]
        assert len(rows) == 2
        assert generated(telemetry, model, **ids(rows[1])) == [("decoded", hash_of("w7 w8"))]


# --- what nobody remembers ----------------------------------------------------------------------------------------


def test_tokens_without_a_text_are_hashed_with_their_tokenizers_identity(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    paths = [save_tiny(tmp_path / name) for name in ("one", "two")]
    one, again, other = (AutoModelForCausalLM.from_pretrained(path) for path in (paths[0], paths[0], paths[1]))
    prompt = torch.tensor([[5, 6, 7]])
    with instrumented() as telemetry:
        hashes = [generated(telemetry, each, input_ids=prompt)[0] for each in (one, again, other)]
        different = generated(telemetry, one, input_ids=prompt + 1)[0]
        assert "corevital.fingerprint.run_hash" in (telemetry.spans[-1].attributes or {})
        assert {source for source, _ in (*hashes, different)} == {"tokens"}
        assert hashes[0] == hashes[1] != hashes[2]
        assert different not in hashes
    with instrumented(prompt_hash="hmac", hash_key="secret") as telemetry:
        keyed = generated(telemetry, one, input_ids=prompt)[0]
        assert keyed[0] == "tokens"
        assert keyed[1] not in {digest for _, digest in hashes}
    with instrumented(prompt_hash="off") as telemetry:
        word_tokenizer()(FIRST)
        assert generated(telemetry, one, input_ids=prompt) == [(None, None)]


def test_models_that_were_loaded_from_nowhere_have_no_tokenizer_in_common(model: Any) -> None:
    twin, prompt = tiny_model(scale=2.0), torch.tensor([[5, 6, 7]])
    with instrumented() as telemetry:
        first, again, other = (generated(telemetry, each, input_ids=prompt)[0] for each in (model, model, twin))
    assert first == again != other


def test_a_chat_that_is_cut_is_decoded(model: Any) -> None:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "w1 {{ messages[0].content }} w2"
    chat = [{"role": "user", "content": FIRST}]
    options = {"return_dict": True, "return_tensors": "pt"}
    with instrumented() as telemetry:
        whole = tokenizer.apply_chat_template(chat, **options)
        assert generated(telemetry, model, **whole) == [TEXT]
        cut = tokenizer.apply_chat_template(chat, truncation=True, max_length=3, **options)
        assert generated(telemetry, model, **cut) == [("decoded", hash_of("w1 w5 w6"))]
        assert telemetry.spans[-1].name.startswith("chat ")
        wide = tokenizer.apply_chat_template(chat, padding="max_length", max_length=6, **options)
        assert generated(telemetry, model, **wide) == [TEXT]


def test_a_tokenizer_of_the_models_name_decodes_what_nobody_remembers(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    path = save_tiny(tmp_path / "model")
    loaded, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    with instrumented(**WITH_CONTENT) as telemetry:
        tokenizer("w1")
        assert generated(telemetry, loaded, input_ids=torch.tensor([[5, 6]])) == [("decoded", hash_of("w5 w6"))]
        assert "gen_ai.output.messages" in (telemetry.spans[-1].attributes or {})


def test_the_same_tokens_of_two_tokenizers_are_told_apart(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    path = save_tiny(tmp_path / "model")
    loaded, own = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    other = SlowWords("z")
    with instrumented() as telemetry:
        inputs = own(FIRST, return_tensors="pt")
        other(FIRST.replace("w", "z"))
        assert generated(telemetry, loaded, **inputs) == [TEXT], "the model's own tokenizer is known by its name"
        found = generated(telemetry, loaded, **inputs, tokenizer=other)
        assert found == [("text", hash_of(FIRST.replace("w", "z")))], "the caller knows better"
        SlowWords("y")(FIRST.replace("w", "y"))
        ((source, _),) = generated(telemetry, tiny_model(scale=2.0), **inputs)
        assert source == "tokens", "nothing tells which of the three it was"


def test_texts_of_the_same_tokens_are_not_taken_for_each_other(model: Any, tokenizer: Any) -> None:
    with instrumented(**WITH_CONTENT) as telemetry:
        alice, *_ = (tokenizer(f"w5 {name}", return_tensors="pt") for name in ("alice", "bob", "bob"))
        (found,) = generated(telemetry, model, **alice)
        text = json.dumps([dict(span.attributes or {}) for span in telemetry.spans])
    assert found[0] == "decoded"
    assert "bob" not in text
    assert "alice" not in text


def test_a_prompt_without_tokens_can_be_told(model: Any) -> None:
    embeds = model.get_input_embeddings()(torch.tensor([[5, 6, 7], [8, 9, 10]])).detach()
    with instrumented(**WITH_CONTENT) as telemetry:
        assert generated(telemetry, model, inputs_embeds=embeds[:1]) == [(None, None)]
        absent = json.loads(str((telemetry.spans[-1].attributes or {})["corevital.capture.absent"]))
        assert "prompt_text(...)" in absent["prompt_hash"]
        assert "generate(tokenizer=...)" in absent["gen_ai.output.messages"]
        with prompt_text([FIRST, SECOND]):
            assert generated(telemetry, model, inputs_embeds=embeds) == [TEXT, OTHER]
        with prompt_text(FIRST):
            assert generated(telemetry, model, inputs_embeds=embeds[:1]) == [TEXT]
        with pytest.raises(TypeError, match="prompt_text"), prompt_text([5]):  # type: ignore[list-item]
            pass


# --- content ------------------------------------------------------------------------------------------------------


def test_with_content_on_prompt_and_answer_are_there(model: Any, tokenizer: Any) -> None:
    with instrumented(**WITH_CONTENT) as telemetry:
        inputs = tokenizer(FIRST, return_tensors="pt")
        result = model.generate(**inputs, **OPTIONS)
        attributes = telemetry.span.attributes or {}
        asked, answered = (json.loads(str(attributes[f"gen_ai.{way}.messages"])) for way in ("input", "output"))
        assert asked[0]["parts"][0]["content"] == FIRST
        assert answered[0]["parts"][0]["content"] == tokenizer.decode(result[0, 4:])


def test_without_content_neither_text_nor_tokens_leave(model: Any, tokenizer: Any) -> None:
    with instrumented() as telemetry:
        generated(telemetry, model, **tokenizer(FIRST, return_tensors="pt"))
        generated(telemetry, model, input_ids=torch.tensor([[5, 6, 7, 8]]))
        for span in telemetry.spans:
            assert "w5" not in span.to_json()
            for value in (span.attributes or {}).values():
                assert not (isinstance(value, tuple) and value[:4] == (5, 6, 7, 8))


# --- bounds -------------------------------------------------------------------------------------------------------


def test_memory_of_prompts_has_an_end() -> None:
    memory, tokenizer = PromptMemory(), word_tokenizer()
    for number in range(PROMPTS_KEPT + 50):
        memory.tokenized(tokenizer, [str(number)], [1, 2, number])
    assert len(memory) == PROMPTS_KEPT
    assert memory.find([[1, 2, 0]], model="").text is None
    assert memory.find([[1, 2, PROMPTS_KEPT]], model="").text == (str(PROMPTS_KEPT),)
    long = "x" * (BYTES_KEPT // 4)
    for number in range(8):
        memory.tokenized(tokenizer, [f"{long}{number}"], [9, number])
    assert memory._prompts.bytes <= BYTES_KEPT
    assert memory.find([[9, 7]], model="").text == (f"{long}7",)
    assert memory.find([[9, 0]], model="").text is None
    memory.tokenized(tokenizer, ["y" * BYTES_KEPT], [8])
    assert memory.find([[8]], model="").text is None
    for number in range(CHATS_KEPT + 50):
        memory.rendered(tokenizer, [{"role": "user", "content": str(number)}], f"<{number}>")
    assert len(memory._chats) == CHATS_KEPT


def test_of_a_data_set_nothing_is_remembered() -> None:
    texts = [f"w{number % 128} w{number // 128}" for number in range(ROWS_OF_A_CALL + 1)]
    with instrumented():
        word_tokenizer()(texts)
        assert len(recent_prompts) == 0
        word_tokenizer()(texts[:-1])
        assert len(recent_prompts) == ROWS_OF_A_CALL
    assert len(recent_prompts) == 0, "uninstrumented, everything is forgotten"
    word_tokenizer()(FIRST)
    assert len(recent_prompts) == 0


def test_a_tokenizer_is_not_kept_alive_and_its_texts_are_known(model: Any) -> None:
    with instrumented() as telemetry:
        tokenizer = word_tokenizer()
        inputs = dict(tokenizer(FIRST, return_tensors="pt"))
        generated(telemetry, model, **inputs)
        gone = weakref.ref(tokenizer)
        del tokenizer
        gc.collect()
        assert gone() is None
        assert generated(telemetry, model, **inputs) == [TEXT]


def test_tokenizers_stay_what_they_were(tokenizer: Any) -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda tok: tok(FIRST),
        lambda tok: tok(FIRST, SECOND, return_tensors="pt"),
        lambda tok: tok([FIRST, SECOND], padding=True, return_tensors="np"),
        lambda tok: tok(text_target=FIRST),
        lambda tok: tok(FIRST, text_target=SECOND),
        lambda tok: tok.encode(FIRST),
        lambda tok: tok.encode([5, 6]) if not tok.is_fast else None,
        lambda tok: tok(""),
        lambda tok: tok([""]),
    ]
    plain, attributes = [repr(call(tokenizer)) for call in calls], vars(tokenizer).keys()
    with instrumented():
        assert [repr(call(tokenizer)) for call in calls] == plain
        for clone in (copy.copy(tokenizer), copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
            assert repr(clone(FIRST)) == plain[0]
        assert vars(tokenizer).keys() == attributes
        with pytest.raises((ValueError, TypeError)):
            tokenizer(None)
        with pytest.raises((ValueError, TypeError)):
            tokenizer(5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_forked_child_tokenizes_on() -> None:
    tokenizer = SlowWords()  # the library of fast ones warns of forks
    with instrumented():
        tokenizer(FIRST)
        child = os.fork()
        if not child:
            tokenizer(SECOND)
            os._exit(0 if len(recent_prompts) == 2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_texts_take_no_copy() -> None:
    text = "w5 " * 1000
    memory, before = PromptMemory(), sys.getrefcount(text)
    memory.tokenized(word_tokenizer(), [text], [1, 2])
    assert sys.getrefcount(text) == before + 1
