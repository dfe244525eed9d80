"""`corevital run`: generate with a model, watch it, judge it, store it, show it."""

import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import format_span_id, format_trace_id

from .. import semconv
from .._internal.file_io import read_any
from .._internal.user_error import UserError
from ..config import load_settings
from ..instrumentation.rag import RAGContext
from ..loading.models import LoadedModel, load_model
from ..presentation.panel import verdict_panel
from ..presentation.shapes import Dropped
from ..presentation.token_strip import coloured_text, legend, token_pieces
from ..run import Run
from ..store import StoreError
from .generation import generate, generation_options
from .options import MOST_INPUT_BYTES, checked_seed, database_file
from .output import print_json
from .own_telemetry import CommandTelemetry, Otlp
from .printing import error_console, run_console
from .sinks import DEFAULT_DATABASE, DEFAULT_FOLDER, SinkKind, sink_of

_MODEL: Final = "Model and prompt"
_DECODING: Final = "Decoding"
_SAMPLING: Final = "Sampling"
_RECORD: Final = "What is recorded, and where"

ABOVE_RISK: Final = 3
"""Exit code of a run whose risk is above `--fail-above`."""


def run(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A path, a hub id, or smollm2, the demo model.",
            rich_help_panel=_MODEL,
        ),
    ],
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="The prompt; - reads standard input.", rich_help_panel=_MODEL)
    ] = None,
    prompt_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A UTF-8 file that holds the prompt; - as above.", rich_help_panel=_MODEL),
    ] = None,
    chat: Annotated[
        bool | None,
        typer.Option(
            "--chat/--raw", help="Use the chat template or not; default: if there is one.", rich_help_panel=_MODEL
        ),
    ] = None,
    rag: Annotated[
        str | None,
        typer.Option(
            "--rag-context",
            metavar="FILE",
            help="JSON about what was retrieved for the prompt: context_token_count, retrieved_doc_ids, "
            "retrieved_doc_titles, retrieval_metadata.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Generate at most so many tokens.", rich_help_panel=_DECODING)
    ] = 128,
    sample: Annotated[
        bool | None,
        typer.Option(
            "--sample/--greedy",
            help="Sample; default: greedy unless a sampling option is set.",
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature, above 0.", rich_help_panel=_SAMPLING)
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Nucleus mass.", rich_help_panel=_SAMPLING)
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=0, help="Top-k cut-off.", rich_help_panel=_SAMPLING)] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1 discourages repetition.", rich_help_panel=_DECODING)
    ] = None,
    num_beams: Annotated[int, typer.Option(min=1, help="Beams of a beam search.", rich_help_panel=_DECODING)] = 1,
    num_return_sequences: Annotated[
        int, typer.Option(min=1, help="Answers to one prompt.", rich_help_panel=_DECODING)
    ] = 1,
    seed: Annotated[
        int | None, typer.Option(help="Seed of torch's generators.", rich_help_panel=_SAMPLING, callback=checked_seed)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the fastest there is.", rich_help_panel=_MODEL)
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16, float16; default: the checkpoint's.", rich_help_panel=_MODEL)
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Revision of the hub repository.", rich_help_panel=_MODEL)
    ] = None,
    capture: Annotated[
        str | None,
        typer.Option(metavar="MODE", help="summary, full (default) or on_risk.", rich_help_panel=_RECORD),
    ] = None,
    risk_threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="With --capture on_risk: report in full from this risk on; default: the setting, 0.7.",
        ),
    ] = None,
    sink: Annotated[
        SinkKind | None,
        typer.Option(
            help="sqlite (default): the store. local: a report, JSON of schema 0.4.0 and more, in --out.",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File that the run is stored in, or the URL of one that is there, sqlite:///FILE; default: "
            f"OTEL_COREVITAL_SQLITE_PATH, else {DEFAULT_DATABASE}.",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help=f"Folder of the reports, and of corevital.db where --db is not given; default: {DEFAULT_FOLDER}.",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    write_json: Annotated[
        bool, typer.Option("--write-json", help="Write the report, too, beside the store.", rich_help_panel=_RECORD)
    ] = False,
    json_pretty: Annotated[
        bool, typer.Option("--json-pretty", help="Indent the report.", rich_help_panel=_RECORD)
    ] = False,
    store: Annotated[
        bool, typer.Option("--store/--no-store", help="Whether to store the run.", rich_help_panel=_RECORD)
    ] = True,
    store_content: Annotated[
        bool,
        typer.Option(
            "--store-content",
            help="Store prompt and answer too, and write them into the report.",
            rich_help_panel=_RECORD,
        ),
    ] = False,
    export_otel: Annotated[
        bool,
        typer.Option(
            "--export-otel",
            help="Send the run by OTLP, too: to --otel-endpoint, else where OTEL_EXPORTER_OTLP_ENDPOINT says, "
            "else to this machine. A set variable is enough without it.",
            rich_help_panel=_RECORD,
        ),
    ] = False,
    otel_endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="OTLP receiver, e.g. http://localhost:4317 (gRPC) or :4318 (HTTP); is --export-otel.",
            rich_help_panel=_RECORD,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    fail_above: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Exit with code 3 if the risk is above this.")
    ] = None,
) -> None:
    """Generate with a model, watch the inside of the run, and judge it.

    Example: corevital run --model smollm2 --prompt "Name three primary colours."
    """
    text, retrieved = _prompt_text(prompt, prompt_file), _rag_context(rag)
    given = {"capture": capture, "risk_threshold": risk_threshold}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = load_settings(options)
    if risk_threshold is not None and settings.capture != "on_risk":
        raise UserError("--risk-threshold goes with --capture on_risk: other modes do not depend on the risk.")
    if capture is None and "capture" not in settings.model_fields_set:
        options["capture"] = "full"
    content_to_otlp = settings.content_on_span or not store_content
    if store_content:
        options["capture_message_content"] = "span_only"
    generation = generation_options(
        sample=sample,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        repetition_penalty=repetition_penalty,
        num_beams=num_beams,
        num_return_sequences=num_return_sequences,
        max_new_tokens=max_new_tokens,
    )
    place = sink_of(
        sink,
        store=store,
        db=None if db is None else database_file(db),
        setting=settings.sqlite_path,
        out=out,
        write_json=write_json,
        json_pretty=json_pretty,
        content=store_content,
    )
    otlp = Otlp.of(otel_endpoint, asked=export_otel)
    status = error_console(quiet=as_json or not sys.stderr.isatty())
    with place.ready(), place.recording() as recorded:
        with status.status(f"Loading {model} ..."):
            loaded = load_model(model, device=device, dtype=dtype, revision=revision)
        telemetry = CommandTelemetry(recorded, content_to_otlp=content_to_otlp, otlp=otlp)
        runs = generate(
            *(loaded, text, telemetry, status),
            chat=chat,
            seed=seed,
            generation=generation,
            options=options,
            rag=retrieved,
        )
        telemetry.close()
        spans = spans_of_runs(telemetry)
        problem: StoreError | UserError | None = telemetry.storing_failed()
        reports: list[Path] = []
        if problem is None:
            try:
                reports = place.write(recorded, trace_ids(spans))
            except (StoreError, UserError) as error:  # told beside the verdict
                problem = error
    if as_json:
        print_json(_as_json(loaded, runs, spans, place.database, reports))
    else:
        _print(loaded, runs, spans, [*_places(place.database, reports), *telemetry.otlp_outcome()])
    if problem is not None:
        raise problem
    worst = max((run.risk.score for run in runs if run.risk is not None), default=0.0)
    if fail_above is not None and worst > fail_above:
        raise typer.Exit(ABOVE_RISK)


# --- before the run ----------------------------------------------------------------------------------------------


def _prompt_text(prompt: str | None, prompt_file: str | None) -> str:
    if (prompt is None) == (prompt_file is None):
        raise UserError("Give the prompt with --prompt or with --prompt-file, one of them.")
    if "-" in (prompt, prompt_file):
        text = _standard_input()
    elif prompt_file is not None:
        text = _read("--prompt-file", prompt_file)
    else:
        text = prompt or ""
    if not text.strip():
        raise UserError("The prompt is empty.")
    return text


def _standard_input() -> str:
    """Return standard input, which is UTF-8 as prompt files are, whatever the terminal's encoding."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    try:
        return sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"standard input: cannot be read: {_reason(error)}.") from None


def _rag_context(path: str | None) -> RAGContext | None:
    if path is None:
        return None
    try:
        return RAGContext.from_json(_read("--rag-context", path))
    except ValueError as error:
        raise UserError(f"--rag-context {path}: {error}.") from None


def _read(option: str, path: str) -> str:
    try:
        return read_any(path, MOST_INPUT_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{option} {path}: cannot be read: {_reason(error)}.") from None


def _reason(error: OSError | UnicodeDecodeError) -> str | None:
    return error.strerror if isinstance(error, OSError) else f"it is not UTF-8 at byte {error.start}"


# --- after it ----------------------------------------------------------------------------------------------------


def spans_of_runs(telemetry: CommandTelemetry) -> list[ReadableSpan]:
    """Return the span of each sequence, in order."""
    spans = [
        span for span in telemetry.memory.get_finished_spans() if semconv.STEPS_RECORDED in (span.attributes or {})
    ]
    return sorted(spans, key=lambda span: _sequence(span.attributes or {}))


def trace_ids(spans: Sequence[ReadableSpan]) -> list[str]:
    """Return the traces of spans."""
    return [format_trace_id(span.context.trace_id) for span in spans if span.context is not None]


def _sequence(attributes: Mapping[str, Any]) -> int:
    return int(attributes.get(semconv.SEQUENCE_INDEX, 0))


def _places(database: str | None, reports: Sequence[Path]) -> list[str]:
    stored = [] if database is None else [f"stored in {database}"]
    return [*stored, *(f"report in {path}" for path in reports)]


def _print(loaded: LoadedModel, runs: Sequence[Run], spans: Sequence[ReadableSpan], places: Sequence[str]) -> None:
    console = run_console()
    for run, span in zip(runs, spans, strict=True):
        if len(runs) > 1:
            console.rule(f"sequence {run.sequence_index}")
        console.print(verdict_panel(dict(span.attributes or {}), Dropped(span.dropped_attributes, span.dropped_events)))
        console.print(coloured_text(loaded.tokenizer, run), soft_wrap=True)
        if console.color_system is not None and run.column("surprisal") is not None:
            console.print(legend())
    named = [f"run {trace_id}" for trace_id in trace_ids(spans)[:1]]
    console.print(", ".join([*named, *places]), style="dim", soft_wrap=True)


def _as_json(
    loaded: LoadedModel,
    runs: Sequence[Run],
    spans: Sequence[ReadableSpan],
    database: str | None,
    reports: Sequence[Path],
) -> dict[str, Any]:
    return {
        "database": database,
        "reports": [str(path) for path in reports],
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
