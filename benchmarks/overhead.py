"""What CoreVital costs: whole generate() calls, watched and not, interleaved in one process.

    python benchmarks/overhead.py --model smollm2 --prompt-tokens 64 --new-tokens 32 --rounds 12 --output FILE.json
    python benchmarks/overhead.py --model random:llama-8b-shape --device cuda --dtype bfloat16 --output FILE.json
    python benchmarks/overhead.py --render docs/performance.md FILE.json ...

Every round runs every variant once, in an order of its own, and each is compared with the untouched library of the
same round. docs/performance.md says what is measured and what is not. Needs torch, transformers, numpy and what
CoreVital itself imports; `smollm2` needs what `corevital run --model smollm2` does.
"""

import argparse
import contextlib
import copy
import gc
import json
import logging
import math
import os
import platform
import random
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from torch import Tensor
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.generation.utils import GenerationMixin
from transformers.modeling_utils import AttentionInterface

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, semconv
from opentelemetry_instrumentation_corevital.version import __version__

BEGIN, END = "<!-- overhead: begin -->", "<!-- overhead: end -->"
FORMAT: Final = "corevital overhead 1"
SETTLING_PROMPT, SETTLING_TOKENS = 8, 3
ENOUGH_ROUNDS = 6
"""Below it not even the range of all samples holds the median with 95 % confidence: 1 - 2 / 2**n."""

SHAPES: Final[dict[str, dict[str, Any]]] = {
    "tiny-shape": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1024,
    },
    "135m-shape": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
    "llama-1b-shape": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "llama-8b-shape": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}
"""Shapes of Llama models whose random weights stand in for a checkpoint: cost does not depend on the weights."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the same generate() call."""

    label: str
    options: Mapping[str, Any] | None = None
    """Of `instrument()`; None: CoreVital is not there."""
    sampled: bool = True
    naive: bool = False
    """Whether transformers' own outputs are asked for, under eager attention."""


PLAIN, CONTROL = "plain", "plain-again"
VARIANTS: Final = {
    PLAIN: Variant("plain"),
    CONTROL: Variant("plain again (control)"),
    "off": Variant("off (span not sampled)", {}, sampled=False),
    "summary": Variant("summary", {"capture": "summary"}),
    "full": Variant("full", {"capture": "full"}),
    "summary-no-attention": Variant("summary, attention off", {"capture": "summary", "attention_every": 0}),
    "naive": Variant("naive (eager, all outputs)", naive=True),
}
NAIVE_OUTPUTS: Final = dict.fromkeys(
    ("return_dict_in_generate", "output_hidden_states", "output_attentions", "output_scores"), True
)


class BenchmarkError(Exception):
    """What makes the figures worthless; the message says why."""


# --- telemetry that goes nowhere ------------------------------------------------------------------------------------


class Sink:
    """An exporter that counts, and keeps the last batch only."""

    def __init__(self) -> None:
        self.count = 0
        self.last: Sequence[Any] = ()

    def export(self, batch: Sequence[Any]) -> None:
        """Count a batch."""
        self.count += len(batch)
        self.last = batch

    def force_flush(self, _timeout_millis: int = 30000) -> bool:
        """Do nothing."""
        return True

    def shutdown(self) -> None:
        """Do nothing."""


class Telemetry:
    """Real providers and batch processors up to the exporters, which do nothing."""

    def __init__(self) -> None:
        self.spans, self.logs = Sink(), Sink()
        self.tracers = {True: TracerProvider(sampler=ALWAYS_ON), False: TracerProvider(sampler=ALWAYS_OFF)}
        for provider in self.tracers.values():
            provider.add_span_processor(BatchSpanProcessor(self.spans))
        # A reader, because without one the SDK drops measurements instead of aggregating them.
        self.meter = MeterProvider([InMemoryMetricReader()])
        self.logger = LoggerProvider()
        self.logger.add_log_record_processor(BatchLogRecordProcessor(self.logs))

    def providers(self, *, sampled: bool) -> dict[str, Any]:
        """Return what `instrument()` takes."""
        return {"tracer_provider": self.tracers[sampled], "meter_provider": self.meter, "logger_provider": self.logger}

    def flush(self) -> tuple[int, int]:
        """Empty the queues; return how many spans and log records have been exported so far."""
        for provider in (*self.tracers.values(), self.logger):
            provider.force_flush()
        return self.spans.count, self.logs.count

    def shutdown(self) -> None:
        """End the processors' threads."""
        for provider in (*self.tracers.values(), self.logger, self.meter):
            provider.shutdown()


class Untouched:
    """The library and the model as they were before CoreVital was there."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.state = self._state()

    def check(self) -> None:
        """Raise if anything that a variant may have changed is not as it was: `plain` would not be plain."""
        if self._state() != self.state:
            raise BenchmarkError("something was left in transformers or in the model: `plain` is not plain")

    def _state(self) -> tuple[Any, ...]:
        methods = {name: id(value) for name, value in vars(GenerationMixin).items()}
        attention = {name: id(value) for name, value in AttentionInterface._global_mapping.items()}
        hooks = sum(
            len(module._forward_hooks) + len(module._forward_pre_hooks) + ("forward" in vars(module))
            for module in self.model.modules()
        )
        return methods, attention, hooks, self.model.config._attn_implementation


# --- one call -------------------------------------------------------------------------------------------------------


class Clock(StoppingCriteria):
    """Reads the time after the first and after the last token; the same in every variant."""

    def __init__(self, tokens: int, batch: int, device: torch.device) -> None:
        self.tokens = tokens
        self.device = device
        self.never = torch.zeros(batch, dtype=torch.bool, device=device)
        self.seen = 0
        self.first = self.last = math.nan

    def __call__(self, _input_ids: Tensor, _scores: Any, **_kwargs: Any) -> Tensor:
        """Read the time; stop nothing."""
        self.seen += 1
        if self.seen == 1:
            self.first = now(self.device)
        elif self.seen == self.tokens:
            self.last = now(self.device)
        return self.never


def now(device: torch.device) -> float:
    """Return the time at which the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True, slots=True)
class Sample:
    """What one generate() call took, in seconds."""

    wall: float
    cpu: float
    decode: float
    """From the first token to the last: without the prefill, and without what comes before and after the loop."""
    tokens: Tensor
    spans: int
    logs: int
    absent: dict[str, str]
    """What the call's span says was not watched, and why."""


class Bench:
    """A model and a prompt, and a way to run them in every variant."""

    def __init__(self, model: Any, prompt: Tensor, new_tokens: int, cache: str) -> None:
        self.model = model
        self.prompt = prompt
        self.new_tokens = new_tokens
        self.options = {"cache_implementation": "static"} if cache == "static" else {}
        self.telemetry = Telemetry()
        self.twin = eager_twin(model)
        self.untouched = Untouched(model)

    def run(self, variant: Variant) -> Sample:
        """Switch to a variant, let it settle, and time one call."""
        with self._switched(variant):
            # The first call after instrument() puts the hooks in, once per model: not a cost of a call.
            self._generate(variant, self.prompt[:, :SETTLING_PROMPT], SETTLING_TOKENS)
            return self._timed(variant)

    def _timed(self, variant: Variant) -> Sample:
        device, sent = self.prompt.device, self.telemetry.flush()
        gc.collect()  # so that nobody pays for what the call before has left
        begin, cpu = now(device), time.process_time()
        result, clock = self._generate(variant, self.prompt, self.new_tokens)
        end, cpu_end = now(device), time.process_time()
        sequences = result.sequences if variant.naive else result
        tokens = sequences[:, self.prompt.shape[1] :].cpu()
        if tokens.shape[1] != self.new_tokens:
            raise BenchmarkError(f"{variant.label}: {tokens.shape[1]} tokens instead of {self.new_tokens}")
        spans, logs = (after - before for after, before in zip(self.telemetry.flush(), sent, strict=True))
        if bool(spans) != (variant.options is not None and variant.sampled):
            # An instrumentation that has given up, or one that was not to run: another thing was measured.
            raise BenchmarkError(f"{variant.label}: {spans} spans were exported")
        absent = absences(self.telemetry.spans.last) if spans else {}
        return Sample(end - begin, cpu_end - cpu, clock.last - clock.first, tokens, spans, logs, absent)

    def _generate(self, variant: Variant, prompt: Tensor, tokens: int) -> tuple[Any, Clock]:
        clock = Clock(tokens, prompt.shape[0], prompt.device)
        model = self.twin if variant.naive else self.model
        result = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            stopping_criteria=StoppingCriteriaList([clock]),
            **self.options,
            **(NAIVE_OUTPUTS if variant.naive else {}),
        )
        return result, clock

    @contextlib.contextmanager
    def _switched(self, variant: Variant) -> Iterator[None]:
        self.untouched.check()
        if variant.options is None:
            yield
            return
        CoreVitalInstrumentor().instrument(**self.telemetry.providers(sampled=variant.sampled), **variant.options)
        try:
            yield
        finally:
            CoreVitalInstrumentor().uninstrument()


# --- all rounds -----------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """What the calls of one variant took and sent."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)
    spans: int = 0
    logs: int = 0
    same_tokens: int = 0
    """Rounds in which the tokens were those of `plain`."""
    absent: dict[str, str] = field(default_factory=dict)
    """What the last span says was not watched, and why."""

    def add(self, sample: Sample, plain: Sample) -> None:
        """Add a call, and the one of `plain` in the same round."""
        self.wall_s.append(sample.wall)
        self.cpu_s.append(sample.cpu)
        self.decode_s.append(sample.decode)
        self.spans += sample.spans
        self.logs += sample.logs
        self.same_tokens += bool(torch.equal(sample.tokens, plain.tokens))
        self.absent = sample.absent


def measure(bench: Bench, names: Sequence[str], *, warmup: int, rounds: int, seed: int) -> dict[str, Record]:
    """Run all variants in every round, each round in an order of its own."""
    chooser, records = random.Random(seed), {name: Record() for name in names}
    for number in range(-warmup, rounds):
        order = chooser.sample(list(names), len(names))
        samples = {name: bench.run(VARIANTS[name]) for name in order}
        for name in names if number >= 0 else ():
            records[name].add(samples[name], samples[PLAIN])
        shown = f"round {number + 1} of {rounds}" if number >= 0 else "warm-up"
        print(f"{shown}: {', '.join(order)}", file=sys.stderr)
    return records


def absences(spans: Sequence[Any]) -> dict[str, str]:
    """Return what a call's spans say was not watched: in a batch every sequence has its own."""
    found: dict[str, str] = {}
    for span in spans:
        found |= json.loads(span.attributes.get(semconv.CAPTURE_ABSENT, "{}"))
    return {name: reason for name, reason in found.items() if name in ("hidden_states", "attention", "entropy")}


def compiled_graphs() -> int:
    """Return how many graphs torch.compile has made in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


# --- figures --------------------------------------------------------------------------------------------------------


def spread(values: Sequence[float], seed: int = 0, resamples: int = 10_000) -> dict[str, Any]:
    """Return the median, the 10th and 90th percentile, and a bootstrap 95 % confidence interval of the median."""
    array = np.asarray(values)
    chosen = np.random.default_rng(seed).integers(0, len(array), (resamples, len(array)))
    low, high = np.percentile(np.median(array[chosen], axis=1), (2.5, 97.5))
    return {
        "median": round(float(np.median(array)), 5),
        "p10": round(float(np.percentile(array, 10)), 5),
        "p90": round(float(np.percentile(array, 90)), 5),
        "ci95": [round(float(low), 5), round(float(high), 5)],
    }


def ratios(values: Sequence[float], plain: Sequence[float]) -> dict[str, Any]:
    """Return the spread of the ratio to `plain`, round by round."""
    return spread([value / reference for value, reference in zip(values, plain, strict=True)])


def differences(values: Sequence[float], references: Sequence[float]) -> list[float]:
    """Return the differences to references, round by round."""
    return [value - reference for value, reference in zip(values, references, strict=True)]


def figures(record: Record, plain: Record, new_tokens: int) -> dict[str, Any]:
    """Return a variant's figures."""
    added = differences(record.wall_s, plain.wall_s)
    outside = differences(added, differences(record.decode_s, plain.decode_s))
    rounds = len(record.wall_s)
    return {
        "ms per token": round(1e3 * statistics.median(record.wall_s) / new_tokens, 4),
        "added ms per token": round(1e3 * statistics.median(added) / new_tokens, 4),
        "added ms per call outside the decode loop": round(1e3 * statistics.median(outside), 3),
        "decode ms per step": round(1e3 * statistics.median(record.decode_s) / (new_tokens - 1), 4),
        "wall ratio": ratios(record.wall_s, plain.wall_s),
        "cpu ratio": ratios(record.cpu_s, plain.cpu_s),
        "decode ratio": ratios(record.decode_s, plain.decode_s),
        "spans per call": record.spans / rounds,
        "log records per call": record.logs / rounds,
        "rounds with the tokens of plain": record.same_tokens,
        "not watched": record.absent,
    }


def environment(device: torch.device) -> dict[str, Any]:
    """Say where the figures come from."""
    return {
        "corevital": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "opentelemetry-sdk": metadata.version("opentelemetry-sdk"),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "load average": [round(load, 2) for load in os.getloadavg()],
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", *sys.argv]),
    }


def cpu_name() -> str:
    """Return the processor's name and machine type."""
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return f"{found[1].strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the checkout's commit, with `-dirty` after it if files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


# --- models ---------------------------------------------------------------------------------------------------------


def load(name: str, device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    """Return a model: random weights of a shape, the demo model, or a saved one."""
    if name.startswith("random:"):
        return random_model(SHAPES[name.removeprefix("random:")], device, dtype, seed)
    if name == "smollm2":
        from opentelemetry_instrumentation_corevital.cli.models import demo_model_path

        name = str(demo_model_path())
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype, local_files_only=True)
    return model.to(device).eval()


def shown_model(name: str) -> str:
    """Return a model's name for the report: of a folder the last part, the rest tells about the machine."""
    return name if name.startswith("random:") else Path(name).name


def random_model(shape: Mapping[str, Any], device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    """Return a Llama model with seeded random weights, made on the device."""
    config = transformers.LlamaConfig(
        **shape, max_position_embeddings=131072, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    torch.manual_seed(seed)
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).to(device).eval()


def eager_twin(model: Any) -> Any:
    """Return a model of the same weights, with eager attention, for the variant that asks for transformers' outputs.

    A model that has been asked for them once keeps transformers' own hooks for good, so `plain` could not share it.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    twin.set_attn_implementation("eager")
    return twin


def random_prompt(vocabulary: int, batch: int, length: int, device: torch.device, seed: int) -> Tensor:
    """Return prompts of random tokens [batch, length] without the first ids, which are often special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(16, vocabulary, (batch, length), generator=generator).to(device)


# --- the page -------------------------------------------------------------------------------------------------------

COLUMNS: Final = (
    "variant",
    "ms per token",
    "wall time: ratio to plain [95 % interval]",
    "10th to 90th percentile",
    "CPU time: ratio [95 % interval]",
    "decode loop: ms per step",
    "ratio [95 % interval]",
    "added outside the loop, ms per call",
    "apart from the control?",
)


def section(report: Mapping[str, Any]) -> str:
    """Return a report as Markdown: its workload, its table, where it comes from."""
    work, method, place = report["workload"], report["method"], report["environment"]
    rows = [row(name, report) for name in report["variants"]]
    machine = place["gpu"] or f"{place['cpu']}, {place['threads']} of {place['cores']} threads"
    lines = [
        f"### {work['model']}, {work['dtype']}, {work['device']}: prompt of {work['prompt tokens']} tokens",
        "",
        f"Batch {work['batch']}, {work['new tokens']} new tokens, {work['cache']} cache, {method['rounds']} rounds. "
        f"{machine}; "
        f"torch {place['torch']}, transformers {place['transformers']}, CoreVital {place['corevital']} "
        f"({place['commit'] or 'no commit'}), {place['date']}.",
        "",
        table(rows),
        *remarks(report),
        "",
        f"`{place['command']}`",
    ]
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first and the last hold numbers."""
    rule = ["---", *["---:"] * (len(COLUMNS) - 2), "---"]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (COLUMNS, rule, *rows))


def row(name: str, report: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a variant's row."""
    found = report["variants"][name]
    times = f"{found['ms per token']:.2f}", f"{found['decode ms per step']:.2f}"
    label = VARIANTS[name].label
    if name == PLAIN:
        return label, times[0], "1", "", "1", times[1], "1", "", ""
    wall = found["wall ratio"]
    return (
        label,
        times[0],
        with_interval(wall),
        f"{wall['p10']:.3f} to {wall['p90']:.3f}",
        with_interval(found["cpu ratio"]),
        times[1],
        with_interval(found["decode ratio"]),
        f"{found['added ms per call outside the decode loop']:.1f}",
        apart(name, report),
    )


def with_interval(ratio: Mapping[str, Any]) -> str:
    """Return a median with its confidence interval."""
    low, high = ratio["ci95"]
    return f"{ratio['median']:.3f} [{low:.3f}, {high:.3f}]"


def apart(name: str, report: Mapping[str, Any]) -> str:
    """Say whether a variant's wall time can be told from the control's, and from 1 where the control is off."""
    if name == CONTROL:
        return "is the control"
    if report["method"]["rounds"] < ENOUGH_ROUNDS:
        return "too few rounds"
    found, control = (report["variants"][of]["wall ratio"] for of in (name, CONTROL))
    if found["ci95"][0] <= max(1, control["ci95"][1]) and min(1, control["ci95"][0]) <= found["ci95"][1]:
        return "no"
    noise = max(abs(control["p10"] - 1), abs(control["p90"] - 1))
    return "yes" if abs(found["median"] - 1) > noise else "in the median only"


def remarks(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader has to know beside the table."""
    notes = []
    for name, found in report["variants"].items():
        missing = [f"{what} ({why})" for what, why in found["not watched"].items()]
        if missing and "attention_every" not in (VARIANTS[name].options or {}):
            notes.append(f"Not watched in `{VARIANTS[name].label}`: {', '.join(missing)}.")
    if report["graphs compiled in the rounds"]:
        notes.append("Graphs were compiled during the timed rounds: the figures hold compile time.")
    return ["", *notes] if notes else []


def render(page: Path, files: Sequence[Path]) -> None:
    """Put the tables of reports between the page's markers."""
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise BenchmarkError(f"{page} needs the lines {BEGIN} and {END}, once each")
    sections = [section(read_report(file)) for file in files]
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(sections) + f"\n\n{END}{after}", encoding="utf-8")


def read_report(file: Path) -> dict[str, Any]:
    """Return a report of this script."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{file}: cannot be read: {error}") from None
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise BenchmarkError(f"{file}: is no report of this script")
    return report


def as_json(report: Mapping[str, Any]) -> str:
    """Return JSON with each list of numbers on a line of its own."""
    text = json.dumps(report, indent=2)
    return re.sub(r"\[[\s\d.,e+-]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


# --- the command line -----------------------------------------------------------------------------------------------


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


def variant_names(text: str) -> list[str]:
    """Check `--variants`; the reference and the control are always among them."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: variants are {', '.join(VARIANTS)}")
    return [name for name in VARIANTS if name in (PLAIN, CONTROL, *names)]


def output_file(text: str) -> Path:
    """Check `--output`, before minutes are spent."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: is a folder, or lies in one that does not exist")
    return path


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", type=model_name, default="smollm2", help="smollm2, a folder, or random:SHAPE")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=at_least(1), default=1, metavar="N", help="prompts per call")
    parser.add_argument("--prompt-tokens", type=at_least(1), default=64, metavar="N")
    parser.add_argument("--new-tokens", type=at_least(SETTLING_TOKENS), default=32, metavar="N")
    parser.add_argument("--cache", choices=("dynamic", "static"), default="dynamic", help="static compiles on CUDA")
    parser.add_argument("--rounds", type=at_least(2), default=12, metavar="N", help="timed rounds")
    parser.add_argument("--warmup", type=at_least(0), default=1, metavar="N", help="rounds before them")
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="torch's threads; default torch's own choice")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="of weights, prompt and order")
    parser.add_argument(
        "--variants",
        type=variant_names,
        default=list(VARIANTS),
        metavar="A,B",
        help=f"of {', '.join(VARIANTS)}; default all; the first two always run",
    )
    parser.add_argument("--output", type=output_file, metavar="FILE", help="where the report goes, as JSON")
    parser.add_argument("--render", nargs="+", type=Path, metavar="PATH", help="a page and the reports to put into it")
    given = parser.parse_args()
    if given.render:
        if len(given.render) < 2 or not given.render[0].is_file():
            parser.error("--render: needs a page that exists, then at least one report")
        return parser, given
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device")
    if found := sorted(name for name in os.environ if name.startswith("OTEL_")):
        parser.error(f"unset {', '.join(found)}: the figures are of the defaults")
    return parser, given


def benchmark(given: argparse.Namespace) -> dict[str, Any]:
    """Measure what the command line asks for; return the report."""
    device = torch.device(given.device)
    if given.threads:
        torch.set_num_threads(given.threads)
    place = environment(device)
    model = load(given.model, device, getattr(torch, given.dtype), given.seed)
    text = model.config.get_text_config(decoder=True)
    room = getattr(text, "max_position_embeddings", None)
    if room is not None and given.prompt_tokens + given.new_tokens > room:
        raise BenchmarkError(f"the model has {room} positions: fewer than --prompt-tokens and --new-tokens together")
    prompt = random_prompt(text.vocab_size, given.batch, given.prompt_tokens, device, given.seed)
    bench = Bench(model, prompt, given.new_tokens, given.cache)
    try:
        # All in one go, so that the count of graphs tells whether a timed call had to wait for the compiler.
        measure(bench, given.variants, warmup=given.warmup, rounds=0, seed=given.seed)
        graphs = compiled_graphs()
        records = measure(bench, given.variants, warmup=0, rounds=given.rounds, seed=given.seed + 1)
    finally:
        bench.telemetry.shutdown()
    return {
        "format": FORMAT,
        "workload": {
            "model": shown_model(given.model),
            "device": given.device,
            "dtype": given.dtype,
            "batch": given.batch,
            "prompt tokens": given.prompt_tokens,
            "new tokens": given.new_tokens,
            "cache": given.cache,
            "attention of plain": model.config._attn_implementation,
        },
        "method": {"warm-up rounds": given.warmup, "rounds": given.rounds, "seed": given.seed},
        "environment": place,
        "graphs compiled in the rounds": compiled_graphs() - graphs,
        "variants": {
            name: {"label": VARIANTS[name].label, **figures(record, records[PLAIN], given.new_tokens)}
            for name, record in records.items()
        },
        "samples": {
            name: {
                key: [round(value, 6) for value in values]
                for key, values in (
                    ("wall_s", record.wall_s),
                    ("cpu_s", record.cpu_s),
                    ("decode_s", record.decode_s),
                )
            }
            for name, record in records.items()
        },
    }


def main() -> None:
    """Measure, or render."""
    parser, given = arguments()
    logging.basicConfig()  # a warning of CoreVital's own must not go unseen
    try:
        if given.render:
            render(given.render[0], given.render[1:])
            return
        report = benchmark(given)
    except BenchmarkError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    if given.output:
        given.output.write_text(as_json(report), encoding="utf-8")
    print(section(report))


if __name__ == "__main__":
    main()
