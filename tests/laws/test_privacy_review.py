"""docs/production-deployment.md says what leaves the process, and by which switch: each row of it is tried."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from opentelemetry_instrumentation_corevital import RAGContext, rag_context, semconv
from opentelemetry_instrumentation_corevital._internal.npz import from_npz
from opentelemetry_instrumentation_corevital.config import Settings, environment_variable
from tests.support.in_memory import Telemetry, instrumented
from tests.support.tiny_models import tiny_model

PAGE = Path(__file__).parents[2] / "docs" / "production-deployment.md"
SECTION = PAGE.read_text(encoding="utf-8").partition("## What leaves the process")[2].partition("\n## ")[0]
ROWS = {
    what: (default, dict(re.findall(r"`(\w+)=([^`]+)`", switch)))
    for what, default, switch in re.findall(r"^\| ([^|]+) \| (yes|no) \| ([^|]+) \|$", SECTION, re.M)
}
FOLDER = "zq-folder"


class Tokenizer:
    """Spells every token in a way that occurs nowhere else."""

    def decode(self, tokens: Any, skip_special_tokens: bool = False) -> str:
        return " ".join(f"zqword{int(token)}" for token in tokens)


class Fails:
    """A logits processor that quotes what it was given."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("zqquote")


class Left:
    """All that left, as one text, and the answer's tokens."""

    def __init__(self, telemetry: Telemetry, tokens: list[int]) -> None:
        spans = [span.to_json() for span in telemetry.span_exporter.get_finished_spans()]
        logs = [data.to_json() for data in telemetry.log_exporter.get_finished_logs()]
        self.text = "\n".join([*spans, *logs, str(telemetry.metrics())])
        self.attributes: dict[str, Any] = {}
        for span in telemetry.spans:
            self.attributes |= dict(span.attributes or {})
        self.events = {event.name for span in telemetry.spans for event in span.events}
        chunks: dict[int, bytes] = {}
        for record in telemetry.logs:
            if record.event_name == semconv.RUN_DATA_EVENT:
                chunks[record.span_id] = chunks.get(record.span_id, b"") + record.body
        self.columns = [from_npz(data) for data in chunks.values()]
        self.tokens = tokens


def plain_hash(left: Left) -> bool:
    """Whether the hash is the one that anybody would compute of the same text."""
    hashed = left.attributes.get(semconv.FINGERPRINT_PROMPT_HASH)
    return hashed is not None and hashed == BY_DEFAULT[0].attributes[semconv.FINGERPRINT_PROMPT_HASH]


DETECTORS: dict[str, Callable[[Left], bool]] = {
    "text of prompt and answer": lambda left: "zqword" in left.text,
    "token ids of the answer": lambda left: any(
        columns["tokens"].tolist() == left.tokens for columns in left.columns if "tokens" in columns
    ),
    "message and traceback of an exception": lambda left: "zqquote" in left.text,
    "stop strings": lambda left: "zqstop" in left.text,
    "ids and titles of retrieved documents": lambda left: "zqdocument" in left.text and "zqtitle" in left.text,
    "plain SHA-256 of the prompt, which a guess can confirm": plain_hash,
    "any hash of the prompt": lambda left: semconv.FINGERPRINT_PROMPT_HASH in left.attributes,
    "numbers of single steps, as events": lambda left: semconv.STEP_EVENT in left.events,
    "numbers of every step x layer, as run data": lambda left: bool(left.columns),
    "verdict, summaries, series of numbers": lambda left: semconv.RISK_SCORE in left.text,
    "name of the model: its hub id, or the last part of its path": lambda left: "zq-model" in left.text,
}
OTHERS = {
    *(
        "capture",
        "capture_ratio",
        "capture_unsampled",
        "max_step_events",
        "max_span_bytes",
        "attention_every",
        "layers",
        "prompt_analysis",
    ),
    *("risk_threshold", "status_on", "stop_on", "max_interventions", "high_entropy_bits", "baseline", "profile"),
    *("kernels", "flush_on_sigterm", "console", "banner", "sqlite_path", "sqlite_retention_days", "sqlite_max_bytes"),
    "openinference",  # under further names what content has switched on
}
"""Options that change how much of the same leaves, when, or where to; none lets something leave that did not."""
BY_DEFAULT: list[Left] = []


def left(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Left:
    """Return what leaves of a run and of one that fails, with these variables."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    telemetry = Telemetry()
    model = tiny_model()
    model.config._name_or_path = f"/home/{FOLDER}/zq-model"
    prompt = torch.arange(40, 60)[None]
    options = {"tokenizer": Tokenizer(), "max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    documents = RAGContext(context_token_count=5, retrieved_doc_ids=["zqdocument"], retrieved_doc_titles=["zqtitle"])
    with instrumented(telemetry):
        with rag_context(documents):
            output = model.generate(prompt, **options)
        with pytest.raises(RuntimeError):
            model.generate(prompt, logits_processor=[Fails()], **options)
        _with_stop_strings(model, prompt)
    return Left(telemetry, output[0, 20:].tolist())


def _with_stop_strings(model: Any, prompt: torch.Tensor) -> None:
    """Call as somebody does who asks for stop strings, where transformers wants a whole tokenizer for them."""
    with pytest.raises(Exception, match=r".*"):
        model.generate(prompt, stop_strings=["zqstop"], max_new_tokens=2)


@pytest.fixture(scope="module", autouse=True)
def _with_nothing_set() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        BY_DEFAULT[:] = [left(monkeypatch, {})]


def test_the_table_has_a_row_for_all_that_can_be_told_apart() -> None:
    assert set(ROWS) == set(DETECTORS)


@pytest.mark.parametrize("what", DETECTORS)
def test_it_leaves_by_default_or_not_and_the_switch_turns_it_round(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default, switch = ROWS[what]
    assert switch
    seen = DETECTORS[what]
    (by_default,) = BY_DEFAULT
    assert seen(by_default) is (default == "yes")
    assert FOLDER not in by_default.text
    switched = left(monkeypatch, switch)
    assert seen(switched) is (default == "no")
    assert FOLDER not in switched.text


def test_every_option_is_in_the_table_or_changes_nothing_that_leaves() -> None:
    switches = {variable for _, switch in ROWS.values() for variable in switch}
    by_variable = {environment_variable(option): option for option in Settings.model_fields}
    assert switches <= set(by_variable)
    assert {by_variable[each] for each in switches} | OTHERS == set(Settings.model_fields)


def test_nothing_that_is_marked_as_content_leaves_by_default() -> None:
    content = {name for (_, name), each in semconv.DEFINITIONS.items() if each.content}
    assert len(content) > 10
    text = BY_DEFAULT[0].text
    assert not {name for name in content if json.dumps(name) in text}
