"""One model's answers from its weights to its file."""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
import transformers
from zoo import container, corpus
from zoo.collect import Collector
from zoo.generation import Generator
from zoo.making import demo, ready, working_folder
from zoo.plan import MODELS, TOY_AMOUNTS, Amounts, toy
from zoo.store import SUFFIX, TEXTS
from zoo.watching import watched

from . import smollm2_questions, zoo_questions
from .collecting import ORDINARY, Answers, ordinary, ordinary_of_zoo, write_texts
from .shard import arrays_of

PILOT: Final = 8
"""Questions of each task and level that find out which levels fit."""


def collect(options: argparse.Namespace) -> None:
    """Ask a model all its questions, and write NAME.npz.xz and NAME-texts.json.xz."""
    began = time.monotonic()
    plan = toy(MODELS[options.name]) if options.toy else MODELS[options.name]
    options.out.mkdir(parents=True, exist_ok=True)
    text = None
    if plan.trained:
        amounts, text = TOY_AMOUNTS if options.toy else Amounts(), corpus.read(options.corpus)
        work = working_folder(options.work, plan, amounts, text)
        trained = ready(plan, text, options.device, work)
    else:
        work = (options.work or Path(tempfile.gettempdir(), "corevital-zoo")) / f"{plan.name}-answers"
        work.mkdir(parents=True, exist_ok=True)
        trained = demo(options.device, getattr(torch, plan.dtype))
    with watched() as keep:
        generator = Generator(plan, trained.model, trained.tokenizer, options.device, keep)
        if text is None:
            usual, asked = ordinary_of_zoo(plan.name), smollm2_questions.questions(options.questions, plan.seed)
        else:
            usual = ordinary(generator, text, work, (2, 20) if options.toy else ORDINARY)
            collector = Collector(generator, text, replace(amounts, pilot=min(amounts.pilot, PILOT)), work)
            asked = zoo_questions.questions(collector, options.questions, plan.seed, work)
        answers = Answers(generator, work).every(asked)
    place = {"device": options.device, "torch": torch.__version__, "transformers": transformers.__version__}
    about = {"model": plan.name, "dtype": plan.dtype, "layers": generator.layers, **place, "report": trained.report}
    container.write(options.out / f"{plan.name}{SUFFIX}", arrays_of(answers, usual, about), preset=3)
    write_texts(options.out / f"{plan.name}{TEXTS}", answers)
    print(f"{plan.name}: {len(answers)} answers, {time.monotonic() - began:.0f} s in all", flush=True)
