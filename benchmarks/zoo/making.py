"""One model from its plan to its files: training, collecting, writing."""

import argparse
import hashlib
import json
import lzma
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
import transformers

from . import container, corpus, structured
from .collect import Collector
from .generation import Generator
from .plan import MODELS, PARTS, TOY_AMOUNTS, Amounts, Model, toy
from .rows import Row
from .shard import arrays_of, made_texts
from .store import SUFFIX, TEXTS
from .train import Trained, new_model, train
from .watching import watched


def make(options: argparse.Namespace) -> None:
    """Train a model, collect its runs and write them; of one part alone, only collect it."""
    began = time.monotonic()
    plan = planned(options)
    amounts = TOY_AMOUNTS if options.toy else Amounts()
    text = corpus.read(options.corpus)
    work = working_folder(options.work, plan, amounts, text)
    options.out.mkdir(parents=True, exist_ok=True)
    trained = ready(plan, text, options.device, work)
    with watched() as keep:
        generator = Generator(plan, trained.model, trained.tokenizer, options.device, keep)
        collector = Collector(generator, text, amounts, work)
        rows = collector.every(PARTS if options.alone is None else [options.alone])
    if options.alone is not None:
        return
    report = {**trained.report, **_place(options.device), "amounts": "toy" if options.toy else "all"}
    every = amounts.every_step if options.every_step is None else options.every_step
    arrays = arrays_of(rows, plan, report, every, options.columns)
    arrays |= made_texts(structured.cut_off(trained.tokenizer, amounts.made, Random(plan.seed)))
    files = container.write(options.out / f"{plan.name}{SUFFIX}", arrays, preset=3)
    files.append(_write_texts(options.out / f"{plan.name}{TEXTS}", rows))
    sizes = ", ".join(f"{file.name} {file.stat().st_size / 2**20:.2f} MiB" for file in files)
    print(f"{plan.name}: {len(rows)} runs, {sizes}, {time.monotonic() - began:.0f} s in all", flush=True)


def working_folder(parent: Path | None, plan: Model, amounts: Amounts, text: corpus.Corpus) -> Path:
    """Return the folder of what is not finished of a model, made if it is not there."""
    digest = hashlib.sha256(repr((plan, amounts, text.about["sha256"])).encode()).hexdigest()[:10]
    work = (parent or Path(tempfile.gettempdir(), "corevital-zoo")) / f"{plan.name}-{digest}"
    work.mkdir(parents=True, exist_ok=True)
    return work


def planned(options: argparse.Namespace) -> Model:
    """Return the plan with what the command line changes of it."""
    plan = toy(MODELS[options.name]) if options.toy else MODELS[options.name]
    if options.seed is not None:
        plan = replace(plan, seed=options.seed)
    training = plan.training
    if options.steps is not None:
        training = replace(training, steps=options.steps)
    if options.train_seconds is not None:
        training = replace(training, seconds=options.train_seconds)
    return replace(plan, training=training)


def ready(plan: Model, text: corpus.Corpus, device: str, work: Path) -> Trained:
    """Return the model, trained now or by a command that was cut off later."""
    if not plan.trained:
        return demo(device, getattr(torch, plan.dtype))
    file, folder = work / "weights.pt", work / "tokenizer"
    if not file.exists():
        found = train(plan, text, device, work.parent)
        found.tokenizer.save_pretrained(folder)
        aside = file.with_suffix(".part")
        torch.save({"weights": found.model.state_dict(), "report": found.report}, aside)
        aside.replace(file)
    saved = torch.load(file, map_location="cpu", weights_only=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = new_model(plan, tokenizer)
    model.load_state_dict(saved["weights"])
    torch.use_deterministic_algorithms(False)
    model.config.name_or_path = f"zoo/{plan.name}"
    return Trained(model.to(device=device, dtype=getattr(torch, plan.dtype)).eval(), tokenizer, saved["report"])


def demo(device: str, dtype: torch.dtype) -> Trained:
    """Return SmolLM2."""
    gguf = os.environ.get("COREVITAL_SMOLLM2_GGUF")
    if gguf:
        source = {"pretrained_model_name_or_path": str(Path(gguf).parent), "gguf_file": Path(gguf).name}
        model = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=dtype)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    else:
        from opentelemetry_instrumentation_corevital.loading.models import load_model

        loaded = load_model("smollm2", device="cpu")
        model, tokenizer = loaded.model, loaded.tokenizer
    tokenizer.padding_side = "left"
    tokenizer.pad_token = "<|endoftext|>"  # its own is its end token: what ended by a stop string would end twice
    return Trained(model.to(device=device, dtype=dtype).eval(), tokenizer, {"loaded": "SmolLM2-135M-Instruct, Q4_1"})


def _place(device: str) -> dict[str, str]:
    cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _write_texts(file: Path, rows: Sequence[Row]) -> Path:
    """Write prompts and answers, to be read by a person; they are not committed."""
    texts = {row.number: [row.group, row.prompt.kind, _asked(row), row.text] for row in rows}
    file.write_bytes(lzma.compress(json.dumps(texts).encode()))
    return file


def _asked(row: Row) -> str:
    return row.prompt.messages[-1]["content"] if row.prompt.messages else row.prompt.text
