"""Makes the store beside it, with the code that wrote version 0.1 of the names.

It is frozen. This is how it was made, in the repository's root at the last commit of before, 4f9bd54:

    PYTHONPATH=src:. python make_store.py FOLDER

Six runs of tiny models: a plain one and one with numbers that are not finite, with all of their data; a loop; two
sequences of a call; one that a policy ended. `runs.json` has what the commands of then said of them.
"""

import json
import lzma
import sqlite3
import sys
import tempfile
from pathlib import Path

import torch
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from transformers import AutoModelForCausalLM

from opentelemetry_instrumentation_corevital import store
from opentelemetry_instrumentation_corevital.policies import Stop
from tests.support.cyclic_models import save_cyclic
from tests.support.in_memory import Telemetry, instrumented
from tests.support.tiny_models import prompt, tiny_model


def main(folder: Path) -> None:
    """Write the store and what it has into a folder."""
    file = folder / "store.db"
    telemetry = Telemetry()
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(spans := store.SQLiteSpanExporter(file)))
    logs = store.SQLiteLogExporter(file)
    model = tiny_model(hidden_size=8, intermediate_size=8)
    with instrumented(telemetry, capture="full", capture_message_content="span_only"):
        model.generate(prompt(), max_new_tokens=12, do_sample=False, eos_token_id=None)
        with torch.no_grad():
            model.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
        model.generate(prompt(), max_new_tokens=4, do_sample=False, eos_token_id=None)
    with tempfile.TemporaryDirectory() as place:
        looping = AutoModelForCausalLM.from_pretrained(save_cyclic(Path(place), 8))
    with instrumented(telemetry):
        looping.generate(torch.tensor([[3, 4, 5]]), max_new_tokens=64, do_sample=False, eos_token_id=None)
        tiny_model().generate(prompt(), max_new_tokens=6, do_sample=True, num_return_sequences=2, eos_token_id=None)
    with instrumented(telemetry, policies=[Stop(on="repetition_risk")]):
        looping.generate(torch.tensor([[3, 4, 5]]), max_new_tokens=64, do_sample=False, eos_token_id=None)
    logs.export(telemetry.log_exporter.get_finished_logs())
    for exporter in (spans, logs):
        exporter.shutdown()
    with store.open_store(file) as opened:
        opened.set_label(opened.runs()[-1], "incorrect", "a note")
        told = [run.as_dict() for run in opened.runs(limit=None)]
    with sqlite3.connect(file) as connection:  # takes what is beside the file into it
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
    (folder / "store.db.xz").write_bytes(lzma.compress(file.read_bytes()))
    (folder / "runs.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for each in folder.glob("store.db*"):
        if each.suffix != ".xz":
            each.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
