"""`corevital run`: generate with a model, watch it, judge it, store it, show it."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span, format_span_id, format_trace_id
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .. import semconv
from ..call_context import PromptHint, prompt_hint
from ..config import load_settings
from ..instrumentor import CoreVitalInstrumentor
from ..run import Run
from .errors import UserError
from .models import LoadedModel, load_model
from .render import verdict_panel
from .telemetry import CommandTelemetry
from .text import coloured_text, legend, token_pieces

DEFAULT_DATABASE: Final = "runs/corevital.db"
ABOVE_RISK: Final = 3
"""Exit code of a run whose risk is above `--fail-above`."""


def run(
    model: Annotated[str, typer.Option("--model", "-m", help="A path, a hub id, or smollm2, the demo model.")],
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="The prompt; - reads standard input.")] = None,
    prompt_file: Annotated[str | None, typer.Option(help="A UTF-8 file that holds the prompt; - as above.")] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--raw", help="Use the chat template or not; default: if there is one.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", "--max_new_tokens", min=1)] = 128,
    sample: Annotated[
        bool | None, typer.Option("--sample/--greedy", help="Sample; default: greedy unless a sampling option is set.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature, above 0.")] = None,
    top_p: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Nucleus mass.")] = None,
    top_k: Annotated[int | None, typer.Option(min=0, help="Top-k cut-off.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1 discourages repetition.")] = None,
    num_beams: Annotated[int, typer.Option(min=1, help="Beams of a beam search.")] = 1,
    num_return_sequences: Annotated[int, typer.Option(min=1, help="Answers to one prompt.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Seed of torch's generators.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the fastest there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16; default: the checkpoint's.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the hub repository.")] = None,
    capture: Annotated[str | None, typer.Option(help="summary, full (default) or on_risk.")] = None,
    db: Annotated[
        str | None,
        typer.Option(
            help=f"File that the run is stored in; default: OTEL_COREVITAL_SQLITE_PATH, else {DEFAULT_DATABASE}."
        ),
    ] = None,
    store: Annotated[bool, typer.Option("--store/--no-store", help="Whether to store the run.")] = True,
    store_content: Annotated[bool, typer.Option("--store-content", help="Store prompt and answer too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    fail_above: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Exit with code 3 if the risk is above this.")
    ] = None,
) -> None:
    """Generate with a model, watch the inside of the run, and judge it.

    Example: corevital run --model smollm2 --prompt "Name three primary colours."
    """
    text = _prompt_text(prompt, prompt_file)
    options = {} if capture is None else {"capture": capture}
    settings = load_settings(options)
    if capture is None and "capture" not in settings.model_fields_set:
        options["capture"] = "full"
    content_to_otlp = settings.content_on_span or not store_content
    if store_content:
        options["capture_message_content"] = "span_only"
    generation = _generation_options(
        sample=sample,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        repetition_penalty=repetition_penalty,
        num_beams=num_beams,
        num_return_sequences=num_return_sequences,
        max_new_tokens=max_new_tokens,
    )
    database = (db or settings.sqlite_path or DEFAULT_DATABASE) if store else None
    if database is not None:
        _check_store(database)
    status = Console(stderr=True, quiet=as_json or not sys.stderr.isatty())
    with status.status(f"Loading {model} ..."):
        loaded = load_model(model, device=device, dtype=dtype, revision=revision)
    chat = _use_chat(loaded, chat)
    telemetry = CommandTelemetry(database, content_to_otlp=content_to_otlp)
    runs = _generate(loaded, text, telemetry, status, chat=chat, seed=seed, generation=generation, options=options)
    spans = _spans_of_runs(telemetry)
    telemetry.close()
    if as_json:
        print(json.dumps(_as_json(loaded, runs, spans, database), ensure_ascii=False, indent=2))
    else:
        _print(loaded, runs, spans, database, telemetry.otlp_outcome())
    if telemetry.store is not None and telemetry.store.last_error is not None:
        raise telemetry.store.last_error
    worst = max((run.risk.score for run in runs if run.risk is not None), default=0.0)
    if fail_above is not None and worst > fail_above:
        raise typer.Exit(ABOVE_RISK)


# --- before the run ----------------------------------------------------------------------------------------------


def _prompt_text(prompt: str | None, prompt_file: str | None) -> str:
    if (prompt is None) == (prompt_file is None):
        raise UserError("Give the prompt with --prompt or with --prompt-file, one of them.")
    if "-" in (prompt, prompt_file):
        text = sys.stdin.read()
    elif prompt_file is not None:
        try:
            text = Path(prompt_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 at byte {error.start}"
            raise UserError(f"--prompt-file {prompt_file}: cannot be read: {reason}.") from None
    else:
        text = prompt or ""
    if not text.strip():
        raise UserError("The prompt is empty.")
    return text


def _generation_options(*, sample: bool | None, **options: Any) -> dict[str, Any]:
    temperature = options["temperature"]
    if temperature is not None and temperature <= 0:
        raise UserError("--temperature has to be above 0; use --greedy for the most probable token at every step.")
    sampling = any(options[name] is not None for name in ("temperature", "top_p", "top_k"))
    if sample is False and sampling:
        raise UserError("--greedy does not go with --temperature, --top-p or --top-k.")
    sample = sampling if sample is None else sample
    if options["num_return_sequences"] > max(1, options["num_beams"]) and not sample:
        raise UserError("--num-return-sequences above --num-beams needs --sample: greedy answers are all the same.")
    # None would let the checkpoint's generation config decide, which may sample or penalise.
    plain: dict[str, Any] = {"repetition_penalty": 1.0}
    if sample:
        plain |= {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
    else:
        plain |= {"temperature": None, "top_p": None, "top_k": None}
    given = {name: value for name, value in options.items() if value is not None}
    return {**plain, **given, "do_sample": sample}


def _check_store(database: str) -> None:
    """Fail before the model is loaded if the run could not be stored."""
    from ..store.database import open_database

    open_database(database).close()


def _use_chat(loaded: LoadedModel, chat: bool | None) -> bool:
    has_template = getattr(loaded.tokenizer, "chat_template", None) is not None
    if chat and not has_template:
        raise UserError(f"--chat: the tokenizer of {loaded.name} has no chat template; use --raw.")
    return has_template if chat is None else chat


# --- the run -----------------------------------------------------------------------------------------------------


class _Kept:
    """A judgement that keeps the runs, to print from."""

    role = "command"

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def on_run_ending(self, _span: Span, run: Run) -> None:
        self.runs.append(run)


def _generate(
    loaded: LoadedModel,
    text: str,
    telemetry: CommandTelemetry,
    status: Console,
    *,
    chat: bool,
    seed: int | None,
    generation: dict[str, Any],
    options: dict[str, Any],
) -> list[Run]:
    import torch

    inputs = _encode(loaded, text, chat=chat)
    kept = _Kept()
    instrumentor = CoreVitalInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:  # opentelemetry-instrument corevital run
        instrumentor.uninstrument()
    instrumentor.instrument(**telemetry.providers, judgements=[kept], **options)
    if seed is not None:
        torch.manual_seed(seed)
    hint = PromptHint(text=text, chat=chat, tokenizer=loaded.tokenizer, seed=seed)
    try:
        with prompt_hint(hint), _progress(status, generation) as streamer:
            loaded.model.generate(**inputs, **generation, streamer=streamer)
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"{loaded.name} cannot generate with these options: {error}") from error
    except torch.OutOfMemoryError as error:
        raise UserError(f"{loaded.name} does not fit into the memory of {loaded.model.device}: {error}") from error
    finally:
        instrumentor.uninstrument()
    return kept.runs


def _encode(loaded: LoadedModel, text: str, *, chat: bool) -> dict[str, Any]:
    if chat:
        encoded = loaded.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    else:
        encoded = loaded.tokenizer(text, return_tensors="pt")
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


# --- after it ----------------------------------------------------------------------------------------------------


def _spans_of_runs(telemetry: CommandTelemetry) -> list[ReadableSpan]:
    """Return the span of each sequence, in order."""
    spans = [span for span in telemetry.memory.get_finished_spans() if semconv.STEPS_TOTAL in (span.attributes or {})]
    return sorted(spans, key=lambda span: _sequence(span.attributes or {}))


def _sequence(attributes: Mapping[str, Any]) -> int:
    return int(attributes.get(semconv.SEQUENCE_INDEX, 0))


def _print(
    loaded: LoadedModel, runs: Sequence[Run], spans: Sequence[ReadableSpan], database: str | None, otlp: str | None
) -> None:
    console = Console(highlight=False)
    for run, span in zip(runs, spans, strict=True):
        if len(runs) > 1:
            console.rule(f"sequence {run.sequence_index}")
        console.print(verdict_panel(dict(span.attributes or {})))
        console.print(coloured_text(loaded.tokenizer, run), soft_wrap=True)
        if run.column("surprisal") is not None:
            console.print(legend())
    places = []
    if spans and spans[0].context is not None:
        places.append(f"run {format_trace_id(spans[0].context.trace_id)}")
    if database is not None:
        places.append(f"stored in {database}")
    if otlp is not None:
        places.append(otlp)
    console.print(", ".join(places), style="dim", soft_wrap=True)


def _as_json(
    loaded: LoadedModel, runs: Sequence[Run], spans: Sequence[ReadableSpan], database: str | None
) -> dict[str, Any]:
    return {
        "database": database,
        "runs": [
            {
                "trace_id": None if span.context is None else format_trace_id(span.context.trace_id),
                "span_id": None if span.context is None else format_span_id(span.context.span_id),
                "text": loaded.tokenizer.decode(run.tokens.tolist(), skip_special_tokens=True),
                "tokens": _json_tokens(loaded, run),
                "attributes": dict(span.attributes or {}),
            }
            for run, span in zip(runs, spans, strict=True)
        ],
    }


def _json_tokens(loaded: LoadedModel, run: Run) -> list[dict[str, Any]]:
    pieces = token_pieces(loaded.tokenizer, run.tokens.tolist())
    names = [name for name in ("entropy", "surprisal", "margin") if name in run.columns]
    return [
        {"text": piece}
        | {name: float(run.columns[name][step]) for name in names if run.columns[name][step] < float("inf")}
        for step, piece in enumerate(pieces)
    ]
