"""What CoreVital costs: whole generate() calls, watched and not, in adjacent pairs in one process.

    python benchmarks/overhead --list
    python benchmarks/overhead --case 8b-p512 --case 8b-first-token --profile --output FOLDER
    python benchmarks/overhead --model random:llama-1b-shape --device cuda --dtype bfloat16 --output FOLDER
    python benchmarks/overhead --render docs/performance.md FOLDER/overhead-*.json

docs/performance.md says what is measured and what is not. Needs torch, transformers, numpy and what CoreVital itself
imports, and sends over OTLP/HTTP where its exporter is installed; `smollm2` needs what `corevital run --model smollm2`
does.
"""

import argparse
import dataclasses
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cases import CASES, Case
from models import SHAPES, load
from page import goals_table, render, section
from report import as_json, run_case

from opentelemetry_instrumentation_corevital.overhead.arms import ARMS, CONTROL, PLAIN
from opentelemetry_instrumentation_corevital.overhead.overhead_error import OverheadError

OVERRIDES = ("model", "device", "dtype", "batch", "prompt_tokens", "new_tokens", "cache", "arms", "rounds", "threads")


def at_least(minimum: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number that is not below `minimum`."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {minimum}")
        return int(text)

    return number


def model_name(text: str) -> str:
    """Check `--model`."""
    if text.startswith("random:"):
        if text.removeprefix("random:") not in SHAPES:
            raise argparse.ArgumentTypeError(f"{text!r}: shapes are {', '.join('random:' + name for name in SHAPES)}")
    elif text != "smollm2" and not Path(text, "config.json").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is neither smollm2, nor random:SHAPE, nor a saved model's folder")
    return text


def arm_names(text: str) -> tuple[str, ...]:
    """Check `--arms`; plain and its control are there without being named."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in ARMS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: arms are {', '.join(ARMS)}")
    chosen = tuple(name for name in ARMS if name in names and name not in (PLAIN, CONTROL))
    if not chosen:
        raise argparse.ArgumentTypeError("name an arm beside plain and its control")
    return chosen


def folder(text: str) -> Path:
    """Check `--output`, before minutes are spent."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: is no folder")
    return path


def parser_of_arguments() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(prog="overhead", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--list", action="store_true", help="name the cases")
    add("--case", action="append", choices=CASES, metavar="NAME", help="run a named case; may be given several times")
    add("--output", type=folder, metavar="FOLDER", help="where overhead-NAME.json goes, written after each case")
    add("--profile", action="store_true", help="after the rounds, count one decode step's launches")
    add("--time-budget", type=at_least(1), metavar="SECONDS", help="of a case: the round that exceeds it is the last")
    add("--warmup", type=at_least(0), default=1, metavar="N", help="rounds before the timed ones")
    add("--seed", type=at_least(0), default=0, metavar="N", help="of weights, prompt and order")
    add("--commit", metavar="TEXT", help="what the report calls the commit; default: what git says")
    add("--render", nargs="+", type=Path, metavar="PATH", help="a page and the reports to put into it")
    workload = parser.add_argument_group("the workload", "in place of the case's own; without a case, of a free one")
    add = workload.add_argument
    add("--model", type=model_name, help="smollm2, a folder, or random:SHAPE")
    add("--device", choices=("cpu", "cuda"))
    add("--dtype", choices=("float32", "bfloat16"))
    add("--batch", type=at_least(1), metavar="N", help="prompts per call")
    add("--prompt-tokens", type=at_least(1), metavar="N")
    add("--new-tokens", type=at_least(1), metavar="N")
    add("--cache", choices=("dynamic", "static"), help="static compiles on CUDA")
    add("--arms", type=arm_names, metavar="A,B", help=f"of {', '.join(ARMS)}; the first two always run")
    add("--rounds", type=at_least(1), metavar="N", help="timed rounds")
    add("--threads", type=at_least(1), metavar="N", help="torch's threads; default torch's own choice")
    return parser


def chosen_cases(given: argparse.Namespace) -> list[Case]:
    """Return the cases that the command line asks for, or the free one."""
    changes: dict[str, Any] = {name: value for name in OVERRIDES if (value := getattr(given, name)) is not None}
    bases = [CASES[name] for name in dict.fromkeys(given.case or ())] or [Case("free", "a workload of its own")]
    return [dataclasses.replace(base, changed=changed(base, changes), **changes) for base in bases]


def changed(base: Case, changes: dict[str, Any]) -> str:
    """Return what is changed of a named case's workload."""
    if base.name not in CASES:
        return ""
    real = {name: value for name, value in changes.items() if name != "rounds" and getattr(base, name) != value}
    return ", ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in real.items())


def shown(value: Any) -> str:
    """Return an option's value as it is given."""
    return "+".join(value) if isinstance(value, tuple) else str(value)


def check(parser: argparse.ArgumentParser, cases: list[Case]) -> None:
    """End the program where nothing sensible can be measured."""
    if any(case.device == "cuda" for case in cases) and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device")
    if any(case.memory and case.device != "cuda" for case in cases):
        parser.error("memory is measured on CUDA only")
    if found := sorted(name for name in os.environ if name.startswith("OTEL_")):
        parser.error(f"unset {', '.join(found)}: the figures are of the defaults")


def run(given: argparse.Namespace, cases: list[Case]) -> None:
    """Run cases, those of one model after another; write and print each as it is done."""
    loaded: tuple[Any, ...] | None = None
    model, reports = None, []
    for case in cases:
        if loaded != (case.model, case.device, case.dtype):
            model, loaded = None, (case.model, case.device, case.dtype)  # the old one goes before the new one comes
            model = load(case.model, torch.device(case.device), getattr(torch, case.dtype), given.seed)
        report = run_case(
            case,
            model,
            warmup=given.warmup,
            seed=given.seed,
            budget=given.time_budget,
            profile=given.profile,
            label=given.commit,
        )
        if given.output:
            (given.output / f"overhead-{case.name}.json").write_text(as_json(report), encoding="utf-8")
        print(section(report), flush=True)
        reports.append(report)
    print(f"\n{goals_table(reports)}")


def main() -> None:
    """Measure, list, or render."""
    parser = parser_of_arguments()
    given = parser.parse_args()
    logging.basicConfig()  # a warning of CoreVital's own must not go unseen
    if given.list:
        print("\n".join(f"{case.name:16}{case.what}" for case in CASES.values()))
        return
    try:
        if given.render:
            if len(given.render) < 2 or not given.render[0].is_file():
                parser.error("--render: needs a page that exists, then at least one report")
            render(given.render[0], given.render[1:])
            return
        cases = chosen_cases(given)
        check(parser, cases)
        os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # the defaults learn a baseline: not the user's
        run(given, cases)
    except OverheadError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
