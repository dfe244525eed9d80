"""Generating with a loaded model while CoreVital watches: shared by `corevital run` and `compare --prompt`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from opentelemetry.trace import Span
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .._internal.user_error import UserError
from ..emission.judgements import RunJudgement
from ..instrumentation.call_context import PromptHint, prompt_hint, rag_context
from ..instrumentation.instrumentor import CoreVitalInstrumentor
from ..instrumentation.rag import RAGContext
from ..loading.models import LoadedModel
from ..run import Run
from .live_run import LiveRun
from .own_telemetry import CommandTelemetry


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """What a command line says of decoding, as `generate()` names it; None: nothing."""

    max_new_tokens: int
    sample: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    num_beams: int | None = None
    num_return_sequences: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What a model is asked, and how it answers and is watched."""

    text: str | None
    """The prompt; of messages the last one by a user."""
    generation: dict[str, Any]
    """What `generation_options` returned."""
    options: dict[str, Any]
    """Of `CoreVitalInstrumentor.instrument`."""
    chat: bool | None = None
    """As `use_chat` takes it."""
    seed: int | None = None
    """Of torch's generators; None leaves them."""
    rag: RAGContext | None = None
    """What was retrieved for the prompt."""
    messages: Sequence[Mapping[str, str]] | None = None
    """The chat in place of the prompt, each message with `role` and `content`."""
    judgements: Sequence[RunJudgement] = ()
    """Of `CoreVitalInstrumentor.instrument`, beside its own."""


def generation_options(decoding: DecodingOptions) -> dict[str, Any]:
    """Return the keywords of `generate()`; those that are None get the value that changes nothing.

    Raises:
        UserError: for options that do not go together.
    """
    if decoding.temperature is not None and decoding.temperature <= 0:
        raise UserError("--temperature has to be above 0; use --greedy for the most probable token at every step.")
    sampling = any(value is not None for value in (decoding.temperature, decoding.top_p, decoding.top_k))
    if decoding.sample is False and sampling:
        raise UserError("--greedy does not go with --temperature, --top-p or --top-k.")
    sample = sampling if decoding.sample is None else decoding.sample
    if (decoding.num_return_sequences or 1) > (decoding.num_beams or 1) and not sample:
        raise UserError("--num-return-sequences above --num-beams needs --sample: greedy answers are all the same.")
    # None would let the checkpoint's generation config decide, which may sample or penalise.
    plain: dict[str, Any] = {"repetition_penalty": 1.0, "num_beams": 1}
    if sample:
        plain |= {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
    else:
        plain |= {"temperature": None, "top_p": None, "top_k": None}
    given = {name: value for name, value in asdict(decoding).items() if name != "sample" and value is not None}
    return {**plain, **given, "do_sample": sample}


def use_chat(loaded: LoadedModel, chat: bool | None) -> bool:
    """Return whether the chat template makes the prompt; None: where there is one.

    Raises:
        UserError: if it was asked for and there is none.
    """
    has_template = getattr(loaded.tokenizer, "chat_template", None) is not None
    if chat and not has_template:
        raise UserError(f"--chat: the tokenizer of {loaded.name} has no chat template; use --raw.")
    return has_template if chat is None else chat


class Kept:
    """A judgement that keeps the runs, to print from."""

    role = "command"

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def on_run_ending(self, _span: Span, run: Run) -> None:
        """Keep a run."""
        self.runs.append(run)


def generate(
    loaded: LoadedModel,
    request: GenerationRequest,
    telemetry: CommandTelemetry,
    status: Console,
    view: LiveRun | None = None,
) -> list[Run]:
    """Answer a prompt, watched and judged; return a run per sequence.

    Args:
        loaded: the model.
        request: the prompt, and how it is answered.
        telemetry: where spans, metrics and logs go.
        status: where progress is shown.
        view: shows the run while it goes on, in place of the progress; None: nothing does.

    Raises:
        UserError: if the model cannot answer so.
    """
    import torch

    chat = use_chat(loaded, request.chat)
    inputs = encode(loaded, request.text if request.messages is None else request.messages, chat=chat)
    kept = Kept()
    instrumentor = CoreVitalInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:  # opentelemetry-instrument corevital run
        instrumentor.uninstrument()
    instrumentor.instrument(**telemetry.providers, judgements=[kept, *request.judgements], **request.options)
    if request.seed is not None:
        torch.manual_seed(request.seed)
    hint = PromptHint(text=request.text, chat=chat, tokenizer=loaded.tokenizer, seed=request.seed)
    try:
        retrieved = nullcontext() if request.rag is None else rag_context(request.rag)
        shown = _progress(status, request.generation) if view is None else view.showing()
        with prompt_hint(hint), retrieved, shown as streamer:
            loaded.model.generate(**inputs, **request.generation, streamer=streamer)
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"{loaded.name} cannot generate with these options: {error}") from error
    except torch.OutOfMemoryError as error:
        raise UserError(f"{loaded.name} does not fit into the memory of {loaded.model.device}: {error}") from error
    finally:
        instrumentor.uninstrument()
    return kept.runs


def encode(loaded: LoadedModel, prompt: str | Sequence[Mapping[str, str]] | None, *, chat: bool) -> dict[str, Any]:
    """Return a prompt, or the messages of a chat, as `generate()` takes it.

    Raises:
        UserError: for a prompt without tokens.
    """
    if chat:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str | None) else list(prompt)
        encoded = loaded.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    else:
        encoded = loaded.tokenizer(prompt, return_tensors="pt")
    if encoded["input_ids"].shape[1] == 0:
        raise UserError("The prompt has no tokens.")
    names = ("input_ids", "attention_mask")
    return {name: encoded[name].to(loaded.model.device) for name in names if name in encoded}


class _Count:
    """A streamer that shows how far the run is."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("Generating", total=total)
        self._prompt_seen = False

    def put(self, _value: Any) -> None:
        if self._prompt_seen:
            self._progress.advance(self._task)
        self._prompt_seen = True

    def end(self) -> None:
        self._progress.update(self._task, visible=False)


@contextmanager
def _progress(status: Console, generation: Mapping[str, Any]) -> Iterator[_Count | None]:
    if status.quiet or generation["num_beams"] > 1:  # transformers refuses streamers in a beam search
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=status, transient=True) as progress:
        yield _Count(progress, generation["max_new_tokens"])
