"""The options of `corevital calibrate`: their names, their help, and where the help lists them."""

from pathlib import Path
from typing import Annotated, Final

import typer

from ..store.labels import LabelSource
from .labelled_runs import MOST_LABELLED
from .options import checked_seed, complete_experiments

TOKENS: Final = 200
TEMPERATURES: Final = "0,0.7,1.0"
MOST_SERVED: Final = 1000

_GENERATED: Final = "Runs that are generated"
_SERVED: Final = "Runs that were served"
_LABELLED: Final = "Runs that are labelled"

CalibratedModel = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="MODEL", help="A path, a hub id, or smollm2; or whose served runs."),
]
PromptsFile = Annotated[
    Path | None,
    typer.Option(
        "--prompts", help="A UTF-8 file with a prompt a line that the model answers well.", rich_help_panel=_GENERATED
    ),
]
TokensOfAnAnswer = Annotated[
    int | None,
    typer.Option("--max-new-tokens", min=17, help=f"Of each answer; default: {TOKENS}.", rich_help_panel=_GENERATED),
]
Temperatures = Annotated[
    str | None,
    typer.Option(
        metavar="T,T,...",
        help=f"Each prompt is answered at each of these; 0 is greedy; default: {TEMPERATURES}.",
        rich_help_panel=_GENERATED,
    ),
]
ChatTemplate = Annotated[
    bool | None,
    typer.Option(
        "--chat/--raw", help="Use the chat template or not; default: if there is one.", rich_help_panel=_GENERATED
    ),
]
GeneratorSeed = Annotated[
    int | None,
    typer.Option(
        "--seed", help="Of torch's generators; default: 0.", callback=checked_seed, rich_help_panel=_GENERATED
    ),
]
ModelDevice = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda, cuda:1, mps; default: the fastest there is.", rich_help_panel=_GENERATED),
]
WeightsDtype = Annotated[
    str | None,
    typer.Option("--dtype", help="float32, bfloat16, float16; default: the checkpoint's.", rich_help_panel=_GENERATED),
]
FromStore = Annotated[
    bool,
    typer.Option(
        "--from-store",
        help="Take runs whose layer arrays are stored; nothing is generated.",
        rich_help_panel=_SERVED,
    ),
]
StorePlace = Annotated[
    str | None,
    typer.Argument(
        metavar="STORE", help="With --from-store or --labels: the store's file or its URL; default: that of --db."
    ),
]
MostServed = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        help=f"How many runs at most, the newest; default: {MOST_SERVED}, with --labels {MOST_LABELLED}.",
        rich_help_panel=_SERVED,
    ),
]
FromLabels = Annotated[
    bool,
    typer.Option(
        "--labels",
        help="Fit the model's own answer risk to stored runs that are labelled; nothing is generated.",
        rich_help_panel=_LABELLED,
    ),
]
LabelsFrom = Annotated[
    LabelSource | None,
    typer.Option(
        "--label-source",
        help="given: labels; expected: whether the answer has what its prompt set expects; default: any.",
        rich_help_panel=_LABELLED,
    ),
]
LabelledExperiment = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="NAME",
        help="Only runs of this experiment.",
        autocompletion=complete_experiments,
        rich_help_panel=_LABELLED,
    ),
]
WriteAnyway = Annotated[
    bool, typer.Option("--force", help="Write it even where it gained nothing.", rich_help_panel=_LABELLED)
]
ProfileFile = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The profile's file; default: the model's in the profiles folder."),
]
