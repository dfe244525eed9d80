"""docs/model-compatibility.md, from the results of each version of transformers."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from common import HEADS, HIDDEN, LAYERS, NEW_TOKENS, PROMPT_TOKENS, RESULTS, SEQUENCES, TOLERANCE, Result

INTRODUCTION: Final = f"""# Model compatibility

Made by `python scripts/model_compatibility`; do not edit. `--only NAME` runs one model type, `--page` makes the
page again from docs/results/model-compatibility-*.json.

Every configuration of `AutoModelForCausalLM` and `AutoModelForSeq2SeqLM` of an installed transformers, and every one of
`AutoModelForImageTextToText` and `AutoModelForSpeechSeq2Seq` whose text part is an encoder-decoder or the decoder of
one, is made small by rule (at most {LAYERS} layers, width {HIDDEN}, {HEADS} heads), instantiated with random weights in
float32 on a CPU, and generates {NEW_TOKENS} tokens greedily for {SEQUENCES} prompts of {PROMPT_TOKENS} tokens, or of
random numbers as an image or a sound: without CoreVital, inside it, and once more on a model built anew that is asked
for `output_hidden_states` and `output_attentions`, as the truth. Models whose default attention is not eager are run
under eager attention too. This tests mechanics, not what real weights do; quantised weights, compiled models and GPUs
are not part of it. `--again NAME` runs kinds of model or model types again and keeps the other results.

What the columns mean, each as the layers of which it was measured at every step:

- *layers*: layers that CoreVital found; in parentheses what the config says, where that differs.
- *where*: the path of these layers in the model.
- *hidden*: layers with finite hidden-state signals. Norm and largest value are compared with the model's own hidden
  states, of all layers but the last: that one is returned after the final norm.
- *self*, *cross*: layers with finite attention signals, under the model's default attention. Entropy and largest
  weight are compared with the weights that the model returns under eager attention.
- *tokens*: whether the generated tokens are those without CoreVital.

`=` stands for equal to the model's own (relative error of hidden states and absolute error of attention below
{TOLERANCE:g}), `!` for different, `?` for not compared, because the model returns nothing to compare with. Where
versions differ, their values stand side by side, separated by ` / `, in the order of the summary; `x` is a version that
lacks the architecture or skipped it.
"""


def page() -> str:
    """Return the page, made from the results at hand."""
    files = sorted(RESULTS.glob("model-compatibility-*.json"), key=_version_of)
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    return "\n".join(
        [INTRODUCTION, *summary(contents), *exceptions(contents), *everything(contents), *skipped(contents)]
    )


def _version_of(path: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", path.stem)]


def _measured(content: Result) -> list[Result]:
    return [model for model in content["models"] if "skipped" not in model]


def _runs(model: Result) -> list[Result]:
    """Return what was measured under each attention implementation."""
    return [run for name in ("default", "eager") if (run := model.get(name)) and "unsupported" not in run]


def summary(contents: list[Result]) -> list[str]:
    """Return the summary, a column for each version."""
    lines = ["## Summary", "", "| transformers | " + " | ".join(content["transformers"] for content in contents) + " |"]
    lines.append("|---|" + "---:|" * len(contents))
    rows: tuple[tuple[str, Callable[[Result], Any]], ...] = (
        ("torch", lambda content: content["torch"]),
        ("architectures", lambda content: len(content["models"])),
        ("skipped: not instantiated, or no generation by themselves", lambda c: len(c["models"]) - len(_measured(c))),
        ("measured", lambda content: len(_measured(content))),
        ("hidden states of all layers", _count(lambda m: m["default"].get("hidden_layers") == m["layers_found"] > 0)),
        ("- compared with the model's own and equal", _count(lambda m: mark(m["default"], "hidden") == "=")),
        ("- different", _count(lambda m: mark(m["default"], "hidden") == "!")),
        ("self-attention of all layers", _count(lambda m: 0 < m["default"].get("self_layers", 0) == m["layers_found"])),
        ("self-attention of some layers", _count(lambda m: 0 < m["default"].get("self_layers", 0) < m["layers_found"])),
        ("self-attention of no layer", _count(lambda m: not m["default"].get("self_layers"))),
        ("- compared with the model's own and equal", _count(lambda m: mark(m["default"], "self") == "=")),
        ("- different", _count(lambda m: mark(m["default"], "self") == "!")),
        ("encoder-decoders", _count(lambda m: m["encoder_decoder"])),
        (
            "- cross-attention of all layers",
            _count(lambda m: m["encoder_decoder"] and 0 < m["default"].get("cross_layers", 0) == m["layers_found"]),
        ),
        ("other tokens with CoreVital than without", _count(lambda m: any(not r.get("same_tokens") for r in _runs(m)))),
        ("an error inside CoreVital", _count(lambda m: any(r.get("errors") for r in _runs(m)))),
        ("`generate()` raised because of CoreVital", _count(lambda m: any("raised" in r for r in _runs(m)))),
    )  # fmt: skip
    lines += [f"| {name} | " + " | ".join(str(value(content)) for content in contents) + " |" for name, value in rows]
    return [*lines, ""]


def _count(predicate: Callable[[Result], bool]) -> Callable[[Result], int]:
    return lambda content: sum(bool(predicate(model)) for model in _measured(content))


def mark(run: Result, kind: str) -> str:
    """Return whether what was measured equals the truth, differs, or was not compared."""
    if not run.get(f"{kind}_layers"):
        return ""
    error = run.get(f"{kind}_error")
    return "?" if error is None else "=" if error <= TOLERANCE else "!"


def exceptions(contents: list[Result]) -> list[str]:
    """Return the table of architectures of which something is missing or different."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for content in contents:
        for model in _measured(content):
            text = "; ".join(findings(model))
            if text:
                found.setdefault((model["model_type"], model["kind"], text), []).append(content["transformers"])
    lines = [
        "## Exceptions",
        "",
        "Architectures of which something is missing or different. A reason in quotation marks is the one that",
        "CoreVital reports with the run.",
        "",
        "| architecture | transformers | what |",
        "|---|---|---|",
    ]
    for (model_type, kind, text), versions in sorted(found.items()):
        lines.append(f"| {model_type}{_kind(kind)} | {', '.join(versions)} | {text} |")
    return [*lines, ""]


def _kind(kind: str) -> str:
    return "" if kind == "causal" else f" ({kind})"


def findings(model: Result) -> list[str]:
    """Return what is missing or different in a model's results, with the reason where there is one."""
    found = []
    if model["layers_config"] not in (None, model["layers_found"]):
        path = f" at `{model['layers_path']}`" if model["layers_path"] else ""
        found.append(f"the config says {model['layers_config']} layers, {model['layers_found']} were found{path}")
    default = _run_findings(model, model["default"])
    found += default
    if "eager" in model and "unsupported" not in model["eager"]:
        found += [
            f"under eager attention: {text}" for text in _run_findings(model, model["eager"]) if text not in default
        ]
    return found


def _run_findings(model: Result, run: Result) -> list[str]:
    if "raised" in run:
        return [f"**`generate()` raised {run['raised']}**"]
    found = [] if run["same_tokens"] else ["**other tokens than without CoreVital**"]
    if not run["runs"]:
        return [*found, "no run was recorded: the model has a `generate()` of its own"]
    internal = [text for text in run["errors"] if not text.startswith("CoreVital:")]
    found += [f"**error inside CoreVital: {text}**" for text in internal]
    found += _missing(model, run, "hidden", "hidden states", run["absent"].get("hidden_states"))
    absent = run["absent"].get("attention")
    found += _missing(model, run, "self", "self-attention", absent, _attending(model))
    if model["encoder_decoder"]:
        found += _missing(model, run, "cross", "cross-attention", absent)
    return found


def _missing(model: Result, run: Result, kind: str, name: str, absent: str | None, why: str = "") -> list[str]:
    layers, count = run[f"{kind}_layers"], model["layers_found"]
    found = []
    if absent is not None:
        found.append(f'no {name}: "{absent}"')
    elif layers < count:
        found.append(f"{name} of {layers} of {count} layers{why}")
    if mark(run, kind) == "!":
        found.append(f"**{name}: not the model's own** (by {run[f'{kind}_error']:.1g})")
    return found


def _attending(model: Result) -> str:
    """Return what tells how many layers attend at all."""
    truth = (model.get("attention_truth") or {}).get("self_layers")
    types = model.get("layer_types")
    said = [] if not types else [", ".join(f"{count} {name}" for name, count in types.items())]
    said += [f"the model itself returns weights of {truth}"] if truth else []
    return f" ({'; '.join(said)})" if said else ""


def everything(contents: list[Result]) -> list[str]:
    """Return the table of all architectures that were measured."""
    by_name: dict[tuple[str, str], dict[str, Result]] = {}
    for content in contents:
        for model in _measured(content):
            by_name.setdefault((model["model_type"], model["kind"]), {})[content["transformers"]] = model
    versions = [content["transformers"] for content in contents]
    lines = [
        "## All architectures",
        "",
        "| architecture | class | layers | where | hidden | self | cross | tokens |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (model_type, kind), models in sorted(by_name.items()):
        cells = [
            _side_by_side([cell(models[version]) if version in models else "x" for version in versions])
            for cell in (_layers_cell, _path_cell, _cell("hidden"), _cell("self"), _cell("cross"), _tokens_cell)
        ]
        name = next(reversed(models.values()))["class"]
        lines.append(f"| {model_type}{_kind(kind)} | {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _side_by_side(cells: list[str]) -> str:
    return cells[0] if len(set(cells)) == 1 else " / ".join(cell or "-" for cell in cells)


def _layers_cell(model: Result) -> str:
    said, found = model["layers_config"], model["layers_found"]
    return str(found) if said in (None, found) else f"{found} ({said})"


def _path_cell(model: Result) -> str:
    path = model["layers_path"]
    return "" if path is None else f"`{path}`"


def _cell(kind: str) -> Callable[[Result], str]:
    def cell(model: Result) -> str:
        run = model["default"]
        if kind == "cross" and not model["encoder_decoder"] and not run.get("cross_layers"):
            return ""
        return f"{run.get(f'{kind}_layers', 0)} {mark(run, kind)}".strip()

    return cell


def _tokens_cell(model: Result) -> str:
    return "same" if all(run.get("same_tokens") for run in _runs(model)) else "**other**"


def skipped(contents: list[Result]) -> list[str]:
    """Return the table of architectures that were not measured, each with its own error."""
    lines = ["## Skipped", "", "Without CoreVital, by the error that ended them.", ""]
    lines += ["| architecture | transformers | error |", "|---|---|---|"]
    found: dict[tuple[str, str, str], list[str]] = {}
    for content in contents:
        for model in content["models"]:
            if "skipped" in model:
                error = model["skipped"].replace("|", "\\|").replace("`", "")
                found.setdefault((model["model_type"], model["kind"], error), []).append(content["transformers"])
    for (model_type, kind, error), versions in sorted(found.items()):
        lines.append(f"| {model_type}{_kind(kind)} | {', '.join(versions)} | {error} |")
    return [*lines, ""]
