"""The options of `corevital run`: their names, their help, and where the help lists them."""

from pathlib import Path
from typing import Annotated, Final

import typer

from .graders import Grader
from .options import checked_seed
from .sinks import DEFAULT_DATABASE, DEFAULT_FOLDER, SinkKind

_MODEL: Final = "Model and prompt"
_DECODING: Final = "Decoding"
_SAMPLING: Final = "Sampling"
_RECORD: Final = "What is recorded, and where"

ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A path, a hub id, or smollm2, the demo model.",
        rich_help_panel=_MODEL,
    ),
]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", "-p", help="The prompt; - reads standard input.", rich_help_panel=_MODEL)
]
PromptFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="A UTF-8 file that holds the prompt; - as above.", rich_help_panel=_MODEL),
]
PromptSetFile = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="A prompt set: .txt, a prompt a line; .jsonl with id, prompt or messages, expected, grader, metadata. "
        "What is stored already is not asked again.",
        rich_help_panel=_MODEL,
    ),
]
ExperimentName = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="NAME",
        help="What these runs belong to, to find and compare them by.",
        rich_help_panel=_RECORD,
    ),
]
AskAgain = Annotated[
    bool, typer.Option("--again", help="With --prompts: ask again what is already stored.", rich_help_panel=_MODEL)
]
GraderName = Annotated[
    Grader | None,
    typer.Option(
        "--grader",
        help="With --prompts: how answers are compared with what is expected, where a line does not say; "
        "default: contains.",
        rich_help_panel=_MODEL,
    ),
]
Chat = Annotated[
    bool | None,
    typer.Option(
        "--chat/--raw", help="Use the chat template or not; default: if there is one.", rich_help_panel=_MODEL
    ),
]
RagContextFile = Annotated[
    str | None,
    typer.Option(
        "--rag-context",
        metavar="FILE",
        help="JSON about what was retrieved for the prompt: context_token_count, retrieved_doc_ids, "
        "retrieved_doc_titles, retrieval_metadata.",
        rich_help_panel=_MODEL,
    ),
]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Generate at most this many tokens.", rich_help_panel=_DECODING)]
SampleOption = Annotated[
    bool | None,
    typer.Option(
        "--sample/--greedy",
        help="Sample; default: greedy unless a sampling option is set.",
        rich_help_panel=_SAMPLING,
    ),
]
Temperature = Annotated[float | None, typer.Option(help="Sampling temperature, above 0.", rich_help_panel=_SAMPLING)]
TopP = Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Nucleus mass.", rich_help_panel=_SAMPLING)]
TopK = Annotated[int | None, typer.Option(min=0, help="Top-k cut-off.", rich_help_panel=_SAMPLING)]
RepetitionPenalty = Annotated[
    float | None, typer.Option(help="Above 1 discourages repetition.", rich_help_panel=_DECODING)
]
NumBeams = Annotated[int, typer.Option(min=1, help="Beams of a beam search.", rich_help_panel=_DECODING)]
NumReturnSequences = Annotated[int, typer.Option(min=1, help="Answers to one prompt.", rich_help_panel=_DECODING)]
Seed = Annotated[
    int | None, typer.Option(help="Seed of torch's generators.", rich_help_panel=_SAMPLING, callback=checked_seed)
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the fastest there is.", rich_help_panel=_MODEL)
]
DtypeOption = Annotated[
    str | None, typer.Option(help="float32, bfloat16, float16; default: the checkpoint's.", rich_help_panel=_MODEL)
]
Revision = Annotated[str | None, typer.Option(help="Revision of the hub repository.", rich_help_panel=_MODEL)]
CaptureOption = Annotated[
    str | None,
    typer.Option(metavar="MODE", help="summary, full (default) or on_risk.", rich_help_panel=_RECORD),
]
PromptAnalysisOption = Annotated[
    str | None,
    typer.Option(
        "--prompt-analysis",
        metavar="MODE",
        help="What is told of the prompt: off, summary (default) or full, which keeps what each head attends to most.",
    ),
]
RiskThreshold = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="With --capture on_risk: report in full from this risk on; default: the setting, 0.7.",
    ),
]
SinkName = Annotated[
    SinkKind | None,
    typer.Option(
        help="sqlite (default): the store. local: a report, JSON of schema 0.4.0 and more, in --out.",
        rich_help_panel=_RECORD,
    ),
]
StoreFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="File that the run is stored in, or the URL of one that is there, sqlite:///FILE; default: "
        f"OTEL_COREVITAL_SQLITE_PATH, else {DEFAULT_DATABASE}.",
        rich_help_panel=_RECORD,
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help=f"Folder of the reports, and of corevital.db where --db is not given; default: {DEFAULT_FOLDER}.",
        rich_help_panel=_RECORD,
    ),
]
WriteJson = Annotated[
    bool, typer.Option("--write-json", help="Write the report, too, beside the store.", rich_help_panel=_RECORD)
]
JsonPretty = Annotated[bool, typer.Option("--json-pretty", help="Indent the report.", rich_help_panel=_RECORD)]
StoreRun = Annotated[
    bool, typer.Option("--store/--no-store", help="Whether to store the run.", rich_help_panel=_RECORD)
]
StoreContent = Annotated[
    bool,
    typer.Option(
        "--store-content",
        help="Store prompt and answer too, and write them into the report.",
        rich_help_panel=_RECORD,
    ),
]
ExportOtel = Annotated[
    bool,
    typer.Option(
        "--export-otel",
        help="Send the run by OTLP, too: to --otel-endpoint, else where OTEL_EXPORTER_OTLP_ENDPOINT says, "
        "else to this machine. A set variable is enough without it.",
        rich_help_panel=_RECORD,
    ),
]
OtelEndpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="OTLP receiver, e.g. http://localhost:4317 (gRPC) or :4318 (HTTP); implies --export-otel.",
        rich_help_panel=_RECORD,
    ),
]
Live = Annotated[
    bool,
    typer.Option(
        "--live",
        help="Show the text as it is generated, coloured by surprisal, with risk so far, entropy and warnings.",
    ),
]
StopOn = Annotated[
    str | None,
    typer.Option(
        metavar="CONDITIONS",
        help="End the run where one of these begins: flags, early warnings, risk>0.9; commas stand between them.",
        rich_help_panel=_DECODING,
    ),
]
RunAsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
FailAbove = Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Exit with code 3 if the risk is above this.")]
