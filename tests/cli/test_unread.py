"""A run whose tokens could not be read is a run all the same: listed, shown and exported without a number of them."""

import json
from pathlib import Path
from typing import Any

import torch

from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.command_line import Cli
from tests.support.in_memory import Telemetry, instrumented
from tests.support.tiny_models import prompt, tiny_model


class Decodes:
    def decode(self, tokens: Any, skip_special_tokens: bool) -> str:
        return "text"


def test_a_run_without_known_tokens_is_told_by_every_command(cli: Cli, tmp_path: Path) -> None:
    def nothing(*_: Any, **__: Any) -> None: ...

    telemetry, model = Telemetry(), tiny_model()
    with instrumented(telemetry, capture="full", capture_message_content="span_only", run_data="off"):
        model.generate(prompt(5), max_new_tokens=3, custom_generate=nothing, tokenizer=Decodes())
        model.generate(prompt(5), max_new_tokens=3, do_sample=False, tokenizer=Decodes())
    unread = telemetry.spans[0]
    assert "gen_ai.output.messages" not in (unread.attributes or {}), "an answer that is not known is not an empty one"
    cli.store(telemetry.spans)
    trace = f"{unread.context.trace_id:032x}"

    code, out, _ = cli("runs", "--json")
    assert code == 0
    (listed,) = [run for run in json.loads(out) if run["trace_id"] == trace]
    assert (listed["input_tokens"], listed["output_tokens"], listed["finish_reason"]) == (5, None, None)
    assert listed["repetition_loop_detected"] is None
    assert cli("runs")[0] == 0
    code, out, _ = cli("show", trace)
    assert code == 0
    assert "5 in the prompt, an unknown number generated" in " ".join(out.replace("│", " ").split())
    code, out, _ = cli("export", trace, "--format", "report")
    assert code == 0
    report = json.loads(out)
    assert "num_tokens" not in report["generated"]
    assert "generated_tokens" not in report["summary"]
    assert cli("show", trace, "--html", str(tmp_path / "run.html"))[0] == 0
    with open_store(cli.db) as store:
        assert "unknown number generated" in store.run(trace)._repr_html_()


def test_an_answer_whose_end_is_not_known_has_no_made_up_finish_reason() -> None:
    def loop(_model: Any, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.cat([input_ids, input_ids[:, :2]], -1)

    telemetry = Telemetry()
    with instrumented(telemetry, capture_message_content="span_only"):
        tiny_model().generate(prompt(5), max_new_tokens=9, custom_generate=loop, tokenizer=Decodes())
    attributes = telemetry.span.attributes or {}
    assert "gen_ai.response.finish_reasons" not in attributes
    (answer,) = json.loads(str(attributes["gen_ai.output.messages"]))
    assert answer["finish_reason"] == "unknown"
