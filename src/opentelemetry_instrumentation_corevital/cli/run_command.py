"""`corevital run`: generate with a model, watch it, judge it, store it, show it."""

import sys
from dataclasses import dataclass
from typing import Any, Final, Self

import typer

from .._internal.user_error import UserError
from ..config import load_settings
from ..loading.models import load_model
from ..store import StoreError
from .generation import DecodingOptions, GenerationRequest, generate, generation_options
from .live_run import LiveRun
from .output import print_json
from .own_telemetry import Otlp
from .printing import error_console
from .prompt_input import prompt_text, read_rag_context
from .prompt_set_options import PromptSet, prompt_set_of
from .prompt_set_results import SetResults
from .prompt_set_run import answer_set
from .run_options import (
    AskAgain,
    CaptureOption,
    Chat,
    Device,
    DtypeOption,
    ExperimentName,
    ExportOtel,
    FailAbove,
    GraderName,
    JsonPretty,
    Live,
    MaxNewTokens,
    ModelName,
    NumBeams,
    NumReturnSequences,
    OtelEndpoint,
    OutFolder,
    PromptAnalysisOption,
    PromptFile,
    PromptOption,
    PromptSetFile,
    RagContextFile,
    RepetitionPenalty,
    Revision,
    RiskThreshold,
    RunAsJson,
    SampleOption,
    Seed,
    SinkName,
    StopOn,
    StoreContent,
    StoreFile,
    StoreRun,
    Temperature,
    TopK,
    TopP,
    WriteJson,
)
from .run_places import Destination, ModelSource
from .run_results import RunResults, spans_of_runs, trace_ids
from .sinks import SinkKind, SinkOptions, sink_of

ABOVE_RISK: Final = 3
"""Exit code of a run whose risk is above `--fail-above`."""


def run(
    model: ModelName,
    prompt: PromptOption = None,
    prompt_file: PromptFile = None,
    prompts: PromptSetFile = None,
    again: AskAgain = False,
    grader: GraderName = None,
    chat: Chat = None,
    rag: RagContextFile = None,
    max_new_tokens: MaxNewTokens = 128,
    sample: SampleOption = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    repetition_penalty: RepetitionPenalty = None,
    num_beams: NumBeams = 1,
    num_return_sequences: NumReturnSequences = 1,
    seed: Seed = None,
    stop_on: StopOn = None,
    live: Live = False,
    device: Device = None,
    dtype: DtypeOption = None,
    revision: Revision = None,
    capture: CaptureOption = None,
    prompt_analysis: PromptAnalysisOption = None,
    risk_threshold: RiskThreshold = None,
    sink: SinkName = None,
    db: StoreFile = None,
    out: OutFolder = None,
    write_json: WriteJson = False,
    json_pretty: JsonPretty = False,
    store: StoreRun = True,
    store_content: StoreContent = False,
    experiment: ExperimentName = None,
    export_otel: ExportOtel = False,
    otel_endpoint: OtelEndpoint = None,
    as_json: RunAsJson = False,
    fail_above: FailAbove = None,
) -> None:
    """Generate with a model, watch the inside of the run, and judge it.

    Example: corevital run --model smollm2 --prompt "Name three primary colours."
    """
    only_one = {"--prompt": prompt, "--prompt-file": prompt_file, "--rag-context": rag, "--live": live}
    elsewhere = {"--sink": sink is SinkKind.LOCAL, "--write-json": write_json, "--no-store": not store}
    asked = prompt_set_of(prompts, experiment, {**only_one, **elsewhere}, again=again, grader=grader)
    text, retrieved = prompt_text(prompt, prompt_file) if asked is None else None, read_rag_context(rag)
    modes = {"capture": capture, "prompt_analysis": prompt_analysis}
    capturing = _Capturing.of(modes | {"risk_threshold": risk_threshold, "stop_on": stop_on}, content=store_content)
    decoding = DecodingOptions(
        max_new_tokens, sample, temperature, top_p, top_k, repetition_penalty, num_beams, num_return_sequences
    )
    request = GenerationRequest(text, generation_options(decoding), capturing.options, chat, seed, retrieved)
    wanted = SinkOptions(
        kind=sink, store=store, db=db, out=out, write_json=write_json, json_pretty=json_pretty, content=store_content
    )
    place, otlp = sink_of(wanted, capturing.sqlite_path), Otlp.of(otel_endpoint, asked=export_otel)
    destination = Destination(place, otlp, capturing.content_to_otlp, experiment)
    source = ModelSource(model, device=device, dtype=dtype, revision=revision)
    _end(_answers(source, request, destination, asked, quiet=as_json, live=live), as_json, fail_above)


@dataclass(frozen=True, slots=True)
class _Capturing:
    """How much is captured of a run."""

    options: dict[str, Any]
    """Of `CoreVitalInstrumentor.instrument`."""
    content_to_otlp: bool
    """Whether message text may leave for an OTLP endpoint."""
    sqlite_path: str | None
    """The store that the environment names."""

    @classmethod
    def of(cls, given: dict[str, Any], *, content: bool) -> Self:
        """Return what the options and the environment ask for.

        Args:
            given: settings by name, None where the command's user gave none.
            content: whether content is stored.

        Raises:
            UserError: for options that do not go together.
        """
        options = {name: value for name, value in given.items() if value is not None}
        settings = load_settings(options)
        if "risk_threshold" in options and settings.capture != "on_risk":
            raise UserError("--risk-threshold goes with --capture on_risk: other modes do not depend on the risk.")
        defaults = {"capture": "full", "prompt_analysis": "summary"}
        options |= {name: value for name, value in defaults.items() if name not in settings.model_fields_set}
        if content:
            options["capture_message_content"] = "span_only"
        return cls(options, settings.content_on_span or not content, settings.sqlite_path)


def _answers(
    source: ModelSource,
    request: GenerationRequest,
    destination: Destination,
    asked: PromptSet | None,
    *,
    quiet: bool,
    live: bool,
) -> RunResults | SetResults:
    """Return what comes of one prompt, or of a prompt set; errors are those of either."""
    if asked is not None:
        return answer_set(source, request, destination, asked, quiet=quiet)
    return _answer(source, request, destination, quiet=quiet, live=live)


def _answer(
    source: ModelSource, request: GenerationRequest, destination: Destination, *, quiet: bool, live: bool
) -> RunResults:
    """Load the model, let it answer, and store or write what was recorded.

    Raises:
        UserError: if the model cannot be loaded, cannot answer so, or there is no place for what is recorded; for
            options that do not go together.
        StoreError: if the store cannot be written to, which is known before the model is loaded.
    """
    if live and quiet:
        raise UserError("--json prints one object and nothing else, so --live does not go with it.")
    status = error_console(quiet=quiet or not sys.stderr.isatty())
    with destination.sink.ready(), destination.sink.recording() as recorded:
        with status.status(f"Loading {source.name} ..."):
            loaded = load_model(source.name, device=source.device, dtype=source.dtype, revision=source.revision)
        telemetry = destination.telemetry(recorded)
        view = LiveRun(loaded.tokenizer, request.generation) if live else None
        runs = generate(loaded, request, telemetry, status, view)
        telemetry.close()
        spans = spans_of_runs(telemetry)
        problem: StoreError | UserError | None = telemetry.storing_failed()
        reports = []
        if problem is None:
            try:
                reports = destination.sink.write(recorded, trace_ids(spans))
            except (StoreError, UserError) as error:  # told beside the verdict
                problem = error
    return RunResults(
        loaded,
        runs,
        spans,
        destination.sink.database,
        reports,
        telemetry.otlp_outcome(),
        problem,
        text_shown=view is not None and view.steps == sum(run.steps for run in runs) and len(runs) == 1,
    )


def _end(results: RunResults | SetResults, as_json: bool, fail_above: float | None) -> None:
    """Show what came of it, and end as the outcome asks for.

    Raises:
        UserError: if a report could not be written.
        StoreError: if a run could not be stored.
        typer.Exit: if the risk is above the limit.
    """
    if as_json:
        print_json(results.as_json())
    else:
        results.print()
    if results.problem is not None:
        raise results.problem
    if fail_above is not None and results.risk > fail_above:
        raise typer.Exit(ABOVE_RISK)
