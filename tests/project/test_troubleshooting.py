"""docs/troubleshooting.md: every message of the page is the one that its reader sees."""

import ast
import io
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor
from tests.support.command_line import Cli
from tests.support.markdown import anchors
from tests.support.otlp_receivers import grpc_receiver
from tests.support.processes import free_port
from tests.support.spans import make_spans
from tests.support.subprocesses import ROOT, script
from tests.support.tiers import heavy

PAGE = ROOT / "docs" / "troubleshooting.md"
TEXT = PAGE.read_text(encoding="utf-8")
RECEIVER = "opentelemetry_instrumentation_corevital.receiver"
FIGURE = "opentelemetry_instrumentation_corevital.presentation.run_figure"
"""Modules that import what extras bring: where they were imported before, nothing would be missing."""
BLOCKS = [
    (section.split("\n")[0], number, *block.rstrip().split("\n", 1))
    for section in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]
    for number, block in enumerate(re.findall(r"^```text\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
]
"""Heading, number of the block below it, first line, message."""


def of_kind(beginning: str, without: str = "\n") -> list[Any]:
    chosen = [block for block in BLOCKS if block[2].startswith(beginning) and without not in block[2]]
    make = {
        "Compiled": heavy,
        "gRPC message too large": heavy,
        "Nobody at the endpoint": heavy,
    }  # seconds: tracing a model; retries
    return [make.get(block[0], pytest.param)(*block, id=f"{block[0]} {block[1]}") for block in chosen]


def compared(message: str, seen: str) -> None:
    """Compare but for white space, frames of panels, and what the page leaves open."""
    wanted, found = (" ".join(re.sub("[│╭╮╰╯─]", " ", text).split()) for text in (message, seen))
    pattern = r"\s*.*\s*".join(re.escape(part.strip()) for part in wanted.split("…"))
    assert re.search(pattern, found, re.DOTALL), seen


# --- what has to be wrong -------------------------------------------------------------------------------------------


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Let modules be absent."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [
            each for each in sys.modules if each.startswith((RECEIVER, FIGURE)) or each.split(".")[0] in names
        ]:
            patch.delitem(sys.modules, name)
        for name in names:
            patch.setitem(sys.modules, name, None)
        yield


@contextmanager
def not_root() -> Iterator[None]:
    """Let the process be somebody who may write what belongs to nobody else: `os.access` asks for the real user."""
    root = os.getuid() == 0
    if root:
        os.setreuid(65534, -1)
    try:
        yield
    finally:
        if root:
            os.setreuid(0, -1)


@contextmanager
def locked_folder() -> Iterator[None]:
    Path("locked").mkdir(mode=0o500)
    with not_root():
        yield


@contextmanager
def old_transformers() -> Iterator[None]:
    metadata = Path("old", "transformers-4.40.0.dist-info", "METADATA")
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.40.0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(metadata.parents[1].resolve()))
        yield


UNFLUSHED = """\
import os, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(SQLiteSpanExporter("quick.db")))
provider.get_tracer("program").start_span("run").end()
if "flush" in sys.argv:
    provider.force_flush()
os._exit(0)
"""


@contextmanager
def unflushed_program() -> Iterator[None]:
    subprocess.run([sys.executable, "-c", UNFLUSHED], check=True)
    yield
    subprocess.run([sys.executable, "-c", UNFLUSHED, "flush"], check=True)
    assert Path("quick.db").exists(), "what the page says helps"


BEFORE: dict[tuple[str, int], Any] = {
    ("No torch", 0): lambda: hidden("torch"),
    ("Missing extra", 0): lambda: hidden("uvicorn"),
    ("Missing extra", 1): lambda: hidden("pandas", "pyarrow"),
    ("Missing extra", 2): lambda: hidden("matplotlib"),
    ("transformers too old", 0): old_transformers,
    ("Not flushed", 0): unflushed_program,
    ("No permission", 0): locked_folder,
}


@pytest.fixture
def folder(cli: Cli, monkeypatch: pytest.MonkeyPatch, tiny_folder: str) -> Path:
    """Where the commands run: a model, a store with a run, and a file that is no store."""
    cli.store(make_spans())
    Path("model").symlink_to(tiny_folder)
    Path("notes.txt").write_text("These are notes, and no database. " * 9)
    monkeypatch.setenv("COLUMNS", "100")
    return Path.cwd()


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "number", "line", "message"),
    of_kind("$ ") and [each for each in of_kind("$ ") if "opentelemetry-instrument " not in each.values[2]],
)
def test_a_command_says_what_the_page_says(
    heading: str, number: int, line: str, message: str, cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *variables, program, command = re.split(r"(corevital) ", line.removeprefix("$ "))
    assert program == "corevital"
    for variable in shlex.split(variables[0]):
        monkeypatch.setenv(*variable.split("=", 1))
    with ExitStack() as stack, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        stack.enter_context(BEFORE.get((heading, number), ExitStack)())
        log = stack.enter_context(logged())
        _, out, err = cli(*shlex.split(command.replace("PORT", str(taken.getsockname()[1]))))
    compared(message, f"{out} {err} {log.getvalue()}")
    if heading == "No text":
        assert "prompt:" not in out


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Keep what is logged, as a program without logging of its own prints it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    try:
        yield text
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize(("heading", "number", "line", "message"), of_kind(">>> "))
def test_a_program_gets_the_message_that_the_page_has(
    heading: str, number: int, line: str, message: str, folder: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        names = stack.enter_context(program_names(heading))
        stack.enter_context(BEFORE.get((heading, number), ExitStack)())
        log = stack.enter_context(logged())
        stack.callback(lambda: CoreVitalInstrumentor().uninstrument())
        *steps, last = ast.parse(line.removeprefix(">>> ").replace("PORT", str(names["PORT"]))).body
        told = ""
        try:
            exec(compile(ast.Module(steps, []), str(PAGE), "exec"), names)
            told = str(eval(compile(ast.Expression(last.value), str(PAGE), "eval"), names))  # type: ignore[attr-defined]
        except Exception as error:
            told = str(error)
    compared(message, f"{told} {log.getvalue()}")


@contextmanager
def program_names(heading: str) -> Iterator[dict[str, Any]]:
    """Give the names that the page's programs use."""
    import torch
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    import opentelemetry_instrumentation_corevital as corevital
    from opentelemetry_instrumentation_corevital.instrumentation import uninstrumented
    from opentelemetry_instrumentation_corevital.policies import Stop
    from tests.support.made_runs import make_run
    from tests.support.tiny_models import prompt, tiny_model

    names: dict[str, Any] = {
        **{"corevital": corevital, "CoreVitalInstrumentor": CoreVitalInstrumentor, "Stop": Stop},
        # Without a compiler of C++: who compiles changes nothing for who watches.
        "torch": SimpleNamespace(compile=partial(torch.compile, backend="eager")),
        **{"OTLPSpanExporter": OTLPSpanExporter, "GrpcSpanExporter": GrpcSpanExporter, "run": make_run(9)},
        **{"model": tiny_model(), "assistant": tiny_model(), "inputs": {"input_ids": prompt()}, "PORT": free_port()},
        "spans": make_spans(),
    }
    with ExitStack() as stack:
        if heading in ("Compiled", "Not covered"):
            stack.enter_context(corevital.recording("others.db"))
        if heading == "gRPC message too large":
            names["PORT"] = stack.enter_context(grpc_receiver()).endpoint.rpartition(":")[2]
            names["large"] = make_spans(**{"corevital.narrative": "x" * (5 << 20)})
        if heading == "Not covered":
            from transformers import MusicgenForCausalLM
            from transformers.models.musicgen import MusicgenDecoderConfig

            uninstrumented._told.clear()
            sizes = {
                "vocab_size": 16,
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "ffn_dim": 16,
            }
            names["musicgen"] = MusicgenForCausalLM(MusicgenDecoderConfig(**sizes, num_codebooks=2)).eval()
            special = names["musicgen"].generation_config
            special.pad_token_id = special.bos_token_id = special.decoder_start_token_id = 16
        yield names


@pytest.mark.acceptance
@pytest.mark.parametrize(("heading", "number", "line", "message"), of_kind("$ opentelemetry-instrument "))
def test_zero_code_start_up_says_what_the_page_says(
    heading: str, number: int, line: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "serve.py").write_text("print('goes on')")
    command = [script("opentelemetry-instrument"), *shlex.split(line)[2:-2], sys.executable, "serve.py"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    compared(message, found.stdout + found.stderr)
    assert "goes on" in found.stdout


def test_an_old_python_is_refused() -> None:
    """The words are pip's; no Python that old is here to run it."""
    ((_, _, line),) = [block for block in BLOCKS if block[0] == "Old Python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"requires a different Python: 3.10… not in '{project['requires-python']}'" in line
    assert f"'{project['name']}'" in line


def test_every_mistake_has_a_message_that_a_test_sees() -> None:
    headings = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
    assert len(headings) >= 25
    assert {block[0] for block in BLOCKS} == set(headings)
    assert {heading for heading, _ in BEFORE} <= set(headings)
    unseen = {block[0] for block in BLOCKS if not block[2].startswith(("$ ", ">>> "))}
    assert unseen == {"Old Python"}
    assert len(anchors(PAGE)) > len(headings)
    assert "docs/troubleshooting.md" in (ROOT / "README.md").read_text(encoding="utf-8")
