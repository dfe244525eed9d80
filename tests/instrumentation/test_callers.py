"""Everything that calls generate() for a user: what it knows of the prompt is found, and spans stay in their trace."""

import asyncio
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import get_current_span
from transformers import AsyncTextIteratorStreamer, AutoTokenizer, TextIteratorStreamer, TextStreamer, pipeline

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, disabled
from opentelemetry_instrumentation_corevital.instrumentation.call_context import PromptHint, prompt_hint
from opentelemetry_instrumentation_corevital.instrumentation.chats import last_user_text
from tests.support.in_memory import Telemetry, instrumented
from tests.support.tiny_models import tiny_model

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("real_model")]

QUESTION = "Name three primary colours."
SYSTEM = {"role": "system", "content": "Answer briefly."}
CHAT = [SYSTEM, {"role": "user", "content": QUESTION}]
OPTIONS = {"max_new_tokens": 3, "do_sample": False}


@pytest.fixture(scope="module")
def tokenizer(demo_folder: str) -> Any:
    found = AutoTokenizer.from_pretrained(demo_folder, padding_side="left")
    found.pad_token = found.eos_token
    return found


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    """A random model with the real tokenizer's vocabulary."""
    return tiny_model(vocab_size=len(tokenizer))


def told(span: ReadableSpan) -> tuple[Any, ...]:
    attributes = span.attributes or {}
    return (
        attributes["gen_ai.operation.name"],
        attributes.get("corevital.fingerprint.prompt_hash_source"),
        attributes.get("corevital.fingerprint.prompt_hash"),
    )


def hash_of(text: str) -> str:
    """The prompt hash of a text, by its definition."""
    import hashlib
    import unicodedata

    return hashlib.sha256(unicodedata.normalize("NFC", text).strip().encode()).hexdigest()


def chat_tokens(tokenizer: Any, chat: Any = CHAT, **options: Any) -> Any:
    return tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True, **options
    )


# --- pipelines and chat templates ---------------------------------------------------------------------------------


def test_a_pipelines_prompt_is_known(model: Any, tokenizer: Any) -> None:
    generate = pipeline("text-generation", model=model, tokenizer=tokenizer)
    with instrumented(capture_message_content="span_only") as telemetry:
        text = generate(QUESTION, **OPTIONS)[0]["generated_text"]
    assert told(telemetry.span) == ("text_completion", "text", hash_of(QUESTION))
    attributes = telemetry.span.attributes or {}
    assert QUESTION in str(attributes["gen_ai.input.messages"])
    assert text.removeprefix(QUESTION)[:10] in str(attributes["gen_ai.output.messages"])


def test_a_chat_pipelines_last_user_message_is_known(model: Any, tokenizer: Any) -> None:
    generate = pipeline("text-generation", model=model, tokenizer=tokenizer)
    with instrumented() as telemetry:
        answer = generate(CHAT, **OPTIONS)
    assert answer[0]["generated_text"][-1]["role"] == "assistant"
    assert telemetry.span.name.startswith("chat ")
    assert told(telemetry.span) == ("chat", "text", hash_of(QUESTION))
    assert QUESTION not in telemetry.span.to_json()


def test_every_prompt_of_a_pipelines_batch_is_known(model: Any, tokenizer: Any) -> None:
    generate = pipeline("text-generation", model=model, tokenizer=tokenizer)
    questions = ["One?", "And what is two, in so many words?", "Three is what?"]
    with instrumented() as telemetry:
        generate(questions, batch_size=3, num_return_sequences=2, max_new_tokens=3, do_sample=True)
        *sequences, call = telemetry.spans
        assert (call.attributes or {})["gen_ai.operation.name"] == "text_completion"
        hashes = [(span.attributes or {})["corevital.fingerprint.prompt_hash"] for span in sequences]
        assert hashes == [hash_of(question) for question in questions for _ in range(2)]
        telemetry.span_exporter.clear()
        generate([[{"role": "user", "content": question}] for question in questions], batch_size=3, **OPTIONS)
        *sequences, call = telemetry.spans
        assert (call.attributes or {})["gen_ai.operation.name"] == "chat"
        hashes = [(span.attributes or {})["corevital.fingerprint.prompt_hash"] for span in sequences]
        assert hashes == [hash_of(question) for question in questions]


@pytest.mark.parametrize("way", ["tokens", "text", "lists", "other thread"])
def test_a_chat_templates_prompt_is_known(model: Any, tokenizer: Any, way: str) -> None:
    with instrumented() as telemetry:
        if way == "text":
            text = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)
            inputs = tokenizer([text], return_tensors="pt", add_special_tokens=False)
        elif way == "lists":
            ids = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
            inputs = {"input_ids": torch.tensor([ids])}
        else:
            inputs = chat_tokens(tokenizer)
        moved = {name: tensor.clone() for name, tensor in dict(inputs).items()}  # as another device would have it
        if way == "other thread":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(model.generate, **moved, **OPTIONS).result()
        else:
            model.generate(**moved, **OPTIONS)
    assert [told(span) for span in telemetry.spans] == [("chat", "text", hash_of(QUESTION))]


def test_a_padded_batch_of_chats_is_known(model: Any, tokenizer: Any) -> None:
    with instrumented() as telemetry:
        inputs = chat_tokens(tokenizer, [CHAT, [{"role": "user", "content": "Two?"}]], padding=True)
        model.generate(**inputs, **OPTIONS)
    *sequences, call = telemetry.spans
    assert call.name.startswith("chat ")
    hashes = [(span.attributes or {})["corevital.fingerprint.prompt_hash"] for span in sequences]
    assert hashes == [hash_of(QUESTION), hash_of("Two?")]


def test_what_no_template_made_is_no_chat(model: Any, tokenizer: Any) -> None:
    with instrumented() as telemetry:
        chat_tokens(tokenizer)
        model.generate(**tokenizer(QUESTION, return_tensors="pt"), **OPTIONS)
        with prompt_hint(PromptHint(text="told")):
            model.generate(**chat_tokens(tokenizer), **OPTIONS)
    assert [told(span) for span in telemetry.spans] == [
        ("text_completion", "text", hash_of(QUESTION)),
        ("text_completion", "text", hash_of("told")),
    ]


def test_the_last_user_message_is_told_apart() -> None:
    parts = [{"type": "image", "url": "x"}, {"type": "text", "text": "What"}, {"type": "text", "text": "is it?"}]
    chat = [SYSTEM, {"role": "user", "content": parts}, {"role": "assistant", "content": "It"}]
    assert last_user_text(chat) == "What\nis it?"
    assert last_user_text([SYSTEM]) is None
    assert last_user_text([{"role": "user", "content": None}]) is None
    assert last_user_text([{"role": "user", "content": parts[:1]}]) is None


def test_callers_get_what_they_got_before(model: Any, tokenizer: Any) -> None:
    def everything() -> list[Any]:
        generate = pipeline("text-generation", model=model, tokenizer=tokenizer)
        return [
            tokenizer(QUESTION),
            tokenizer([QUESTION, "b"], padding=True),
            tokenizer(QUESTION, "pair"),
            tokenizer.apply_chat_template(CHAT, tokenize=False),
            tokenizer.apply_chat_template(CHAT, return_dict=False),
            tokenizer.apply_chat_template(conversation=[CHAT, CHAT], tokenize=False),
            generate(QUESTION, **OPTIONS),
            generate(CHAT, return_full_text=False, **OPTIONS),
        ]

    plain = everything()
    with instrumented():
        found = everything()
        copied = pickle.loads(pickle.dumps(tokenizer))
        assert copied(QUESTION) == plain[0]
        with pytest.raises(ValueError, match="empty"):
            tokenizer.apply_chat_template([])
    assert repr(found) == repr(plain)


# --- threads ------------------------------------------------------------------------------------------------------


def spans_by_name(telemetry: Telemetry) -> dict[str, ReadableSpan]:
    return {span.name: span for span in telemetry.span_exporter.get_finished_spans()}


def test_a_streamer_takes_the_parent_into_its_thread(model: Any, tokenizer: Any) -> None:
    with instrumented() as telemetry:
        tracer = telemetry.tracer_provider.get_tracer("app")
        inputs = tokenizer(QUESTION, return_tensors="pt")
        with tracer.start_as_current_span("request"):
            streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
            thread = threading.Thread(target=model.generate, kwargs={**inputs, **OPTIONS, "streamer": streamer})
            thread.start()
            streamed = "".join(streamer)
            thread.join()
        assert streamed
        spans = spans_by_name(telemetry)
        run = telemetry.span
        assert run.parent is not None
        assert run.parent.span_id == spans["request"].context.span_id  # type: ignore[union-attr]


def test_a_threads_own_span_comes_first_and_disabled_goes_along(model: Any, tokenizer: Any) -> None:
    with instrumented() as telemetry:
        tracer = telemetry.tracer_provider.get_tracer("app")
        inputs = dict(tokenizer(QUESTION, return_tensors="pt"))
        with tracer.start_as_current_span("made"):
            streamer = TextIteratorStreamer(tokenizer)

        def own() -> None:
            with tracer.start_as_current_span("own"):
                model.generate(**inputs, **OPTIONS, streamer=streamer)
                assert get_current_span().get_span_context().is_valid

        thread = threading.Thread(target=own)
        thread.start()
        thread.join()
        run = telemetry.span
        assert run.parent is not None
        assert run.parent.span_id == spans_by_name(telemetry)["own"].context.span_id  # type: ignore[union-attr]
        with disabled():
            streamer = TextIteratorStreamer(tokenizer)
        thread = threading.Thread(target=model.generate, kwargs={**inputs, **OPTIONS, "streamer": streamer})
        thread.start()
        thread.join()
        assert len(telemetry.spans) == 1
        with prompt_hint(PromptHint(text="of the streamer's maker")):
            streamer = TextIteratorStreamer(tokenizer)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(model.generate, **inputs, **OPTIONS, streamer=streamer).result()
        assert told(telemetry.spans[-1])[2] == hash_of("of the streamer's maker")
        assert telemetry.spans[-1].parent is None


def test_a_streamer_stays_what_it_was(tokenizer: Any) -> None:
    plain = vars(TextStreamer(tokenizer))

    class Odd(TextStreamer):
        __hash__ = None  # type: ignore[assignment]

    with instrumented() as telemetry, telemetry.tracer_provider.get_tracer("app").start_as_current_span("request"):
        streamer = TextStreamer(tokenizer)
        assert vars(streamer).keys() == plain.keys()
        assert vars(copy.copy(streamer)).keys() == plain.keys()
        pickle.loads(pickle.dumps(streamer))
        Odd(tokenizer)


def test_asyncio_keeps_every_parent(model: Any, tokenizer: Any) -> None:
    inputs = dict(tokenizer(QUESTION, return_tensors="pt"))

    async def request(tracer: Any, name: str) -> str:
        with tracer.start_as_current_span(name):
            if name == "streamed":
                streamer = AsyncTextIteratorStreamer(tokenizer, skip_prompt=True)
                loop = asyncio.get_running_loop()
                running = loop.run_in_executor(None, lambda: model.generate(**inputs, **OPTIONS, streamer=streamer))
                text = "".join([piece async for piece in streamer])
                await running
                return text
            await asyncio.to_thread(model.generate, **inputs, **OPTIONS)
        return ""

    async def requests(tracer: Any) -> list[str]:
        return await asyncio.gather(*(request(tracer, name) for name in ("first", "second", "streamed")))

    with instrumented() as telemetry:
        texts = asyncio.run(requests(telemetry.tracer_provider.get_tracer("app")))
        assert texts[-1]
        spans = spans_by_name(telemetry)
        parents = {span.parent.span_id for span in telemetry.spans if span.parent}
        assert parents == {spans[name].context.span_id for name in ("first", "second", "streamed")}  # type: ignore[union-attr]


def test_a_thread_pool_keeps_runs_apart(model: Any, tokenizer: Any) -> None:
    prompts = [tokenizer("word " * length, return_tensors="pt") for length in range(2, 10)]
    plain = [model.generate(**prompt, **OPTIONS) for prompt in prompts]
    with instrumented() as telemetry, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda prompt: model.generate(**prompt, **OPTIONS), prompts))
    assert all(torch.equal(one, other) for one, other in zip(found, plain, strict=True))
    lengths = sorted((span.attributes or {})["gen_ai.usage.input_tokens"] for span in telemetry.spans)
    assert lengths == sorted(prompt["input_ids"].shape[1] for prompt in prompts)
    assert len({span.context.trace_id for span in telemetry.spans}) == len(prompts)  # type: ignore[union-attr]


@pytest.mark.parametrize("way", ["def", "async def", "stream"])
def test_a_fastapi_requests_span_is_the_parent(model: Any, tokenizer: Any, way: str) -> None:
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse
    from fastapi.testclient import TestClient
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    app, inputs = FastAPI(), dict(tokenizer(QUESTION, return_tensors="pt"))
    threads: list[threading.Thread] = []

    def answer() -> str:
        return str(tokenizer.decode(model.generate(**inputs, **OPTIONS)[0]))

    async def answer_async() -> str:
        return answer()

    def stream() -> StreamingResponse:
        streamer = TextIteratorStreamer(tokenizer)
        threads.append(threading.Thread(target=model.generate, kwargs={**inputs, **OPTIONS, "streamer": streamer}))
        threads[-1].start()
        return StreamingResponse(iter(streamer))

    app.get("/answer", response_model=None)({"def": answer, "async def": answer_async, "stream": stream}[way])
    with instrumented() as telemetry:
        FastAPIInstrumentor.instrument_app(app, tracer_provider=telemetry.tracer_provider)
        with TestClient(app) as client:
            assert client.get("/answer").status_code == 200
        for thread in threads:  # the stream ends before generate() returns
            thread.join()
        run = telemetry.span
        request = spans_by_name(telemetry)["GET /answer"]
        assert run.parent is not None
        assert run.parent.span_id == request.context.span_id  # type: ignore[union-attr]


def test_everything_is_taken_back() -> None:
    from transformers import Pipeline, PreTrainedTokenizerBase, ProcessorMixin

    places = [
        (TextStreamer, "__init__"),
        (Pipeline, "forward"),
        (PreTrainedTokenizerBase, "apply_chat_template"),
        (PreTrainedTokenizerBase, "__call__"),
        (PreTrainedTokenizerBase, "encode"),
        (ProcessorMixin, "apply_chat_template"),
    ]
    before = [vars(owner)[name] for owner, name in places]
    with instrumented():
        assert all(vars(owner)[name] is not method for (owner, name), method in zip(places, before, strict=True))
    assert all(vars(owner)[name] is method for (owner, name), method in zip(places, before, strict=True))
    assert not CoreVitalInstrumentor().is_instrumented_by_opentelemetry
