"""Runs to be read: ten chosen at random of those that are flagged, blamed, of medium and of high risk, with their text.

The zoo keeps token ids. A tokenizer of a trained model is made anew from the corpus, as the model's was; SmolLM2 brings
its own. Prompts are not kept.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from zoo import store
from zoo.store import ZooRun

from opentelemetry_instrumentation_corevital.run import Run

from .lessons import learned
from .verdicts import Judge, flags_of_layers, loops
from .zoo_model import ZooModel

KINDS: Final[dict[str, Callable[[Run], bool]]] = {
    "flagged": lambda run: bool(flags_of_layers(run)) or loops(run),
    "blamed": lambda run: bool(run.blame),
    "medium": lambda run: run.risk is not None and run.risk.level == "medium",
    "high": lambda run: run.risk is not None and run.risk.level == "high",
}
_LONGEST: Final = 1200
"""Characters of a text that are printed: of a longer one both halves' ends."""


def tokenizer_of(name: str, corpus: Path | None, folder: Path = store.FOLDER) -> Any:
    """Return a model's tokenizer.

    Raises:
        SystemExit: if it has to be made of a corpus, and that is not there or another one.
    """
    from zoo.corpus import read
    from zoo.making import demo
    from zoo.plan import DEMO
    from zoo.train import _TEXT_SEED, training_texts
    from zoo.vocabulary import trained_tokenizer

    if name == DEMO:
        import torch

        return demo("cpu", torch.float32).tokenizer
    if corpus is None:
        raise SystemExit(f"{name}: its tokenizer is made of the zoo's corpus: give --corpus FILE")
    text, known = read(corpus), store.about(name, folder)
    made_of, is_of = known["report"].get("corpus_sha256"), text.about["sha256"]
    if made_of != is_of:
        raise SystemExit(f"{corpus}: {name} was trained on another text ({made_of}, this is {is_of})")
    return trained_tokenizer(training_texts(text, _TEXT_SEED), known["model"]["vocabulary"], _TEXT_SEED)


def chosen(zoo: ZooModel, count: int, runs: int = 200, seed: int = 0) -> dict[str, list[tuple[ZooRun, Run]]]:
    """Return runs of each kind, at random, judged with a learned baseline; those that taught it are left out."""
    judge, draw = Judge(learned(zoo.students, runs, seed).baseline), Random(seed)
    judged = [
        (one, judge.all(run))
        for one, run in zip(zoo.zoo, zoo.runs, strict=True)
        if one.side != "baseline" and one.steps
    ]
    found = {}
    for kind, is_one in KINDS.items():
        some = [pair for pair in judged if is_one(pair[1])]
        found[kind] = draw.sample(some, min(count, len(some)))
    return found


def texts(names: Sequence[str], folder: Path, corpus: Path | None, count: int = 10) -> str:
    """Return a page of `count` runs of each kind, of the models in turn."""
    lines = ["# Runs to be read", "", "Would a careful reader sign each verdict? Write yes or no behind each.", ""]
    each = [count // len(names) + (place < count % len(names)) for place in range(len(names))]
    for name, some in zip(names, each, strict=True):
        zoo, tokenizer = ZooModel(name, folder), tokenizer_of(name, corpus, folder)
        for kind, runs in chosen(zoo, some).items():
            for one, run in runs:
                lines += _printed(kind, one, run, tokenizer.decode(one.tokens.tolist(), skip_special_tokens=True))
    return "\n".join(lines)


def _printed(kind: str, one: ZooRun, run: Run, text: str) -> list[str]:
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}\n[...]\n{text[-_LONGEST // 2 :]}"
    risk = "none" if run.risk is None else f"{run.risk.level}, {run.risk.score}"
    known = f"{one.group}, {one.kind}, temperature {one.temperature:g}, {one.steps} tokens, ended by {one.end}"
    planted = ""
    if one.fault:
        planted = f"; planted: {one.fault} in layer {one.layer} from step {one.step}, {one.kl or 0:.2g} bit off"
    return [
        f"## {kind}: {one.model} {one.number}",
        "",
        f"- narrative: {run.narrative}",
        f"- risk: {risk}; flags: {', '.join(run.health.raised() if run.health else ()) or 'none'}",
        f"- blame: {'; '.join(f'layer {each.layer}, {each.text()}' for each in run.blame or ()) or 'none'}",
        f"- warnings: {', '.join(run.warnings) or 'none'}",
        f"- known: {known}; loop by its label: {'yes' if one.loop else 'no'}{planted}",
        "",
        *("    " + line for line in text.splitlines()),
        "",
        "signed:",
        "",
    ]
