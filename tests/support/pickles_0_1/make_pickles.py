"""Makes the pickles and the store beside it, with the code of before the modules moved.

They are frozen. This is how they were made, in the repository's root at the last commit of before, a76ec85:

    PYTHONPATH=src:. python make_pickles.py FOLDER

Every pickle is of a kind that a user can have. `plain.json` has what was in it, which the test compares with.
"""

import copy
import io
import json
import lzma
import pickle
import runpy
import sqlite3
import sys
from pathlib import Path
from typing import Any

import torch
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteriaList

import opentelemetry_instrumentation_corevital as corevital
from opentelemetry_instrumentation_corevital import calibration, processors, store
from opentelemetry_instrumentation_corevital.assessment.thresholds import Thresholds
from tests.support.in_memory import Keep, Telemetry, instrumented
from tests.support.made_runs import add_layers, make_run
from tests.support.tiny_models import prompt, tiny_model

PROTOCOL = 4
plain = runpy.run_path(str(Path(__file__).with_name("plain_values.py")))["plain"]


class Kept(list[Any]):
    """Takes the lists that generate() makes for a call, as a processor or criterion of a user's can."""

    def of_call(self, wrapped: Any) -> Any:
        def made(*args: Any, **kwargs: Any) -> Any:
            self.append(wrapped(*args, **kwargs))
            return self[-1]

        return made


def write_pickles(folder: Path, made: dict[str, Any]) -> None:
    told = {}
    for name, value in made.items():
        data = pickle.dumps(value, PROTOCOL)
        (folder / f"{name}.pkl").write_bytes(data)
        told[name] = plain(pickle.Unpickler(io.BytesIO(data)).load())
        assert name == "generation-lists" or told[name] == plain(value), name
    (folder / "plain.json").write_text(
        json.dumps(told, separators=(",", ":")).replace('},"', '},\n"') + "\n", encoding="utf-8"
    )


def pack_store(folder: Path) -> None:
    with sqlite3.connect(folder / "store.db") as connection:  # takes what is beside the file into it
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (folder / "store.db.xz").write_bytes(lzma.compress((folder / "store.db").read_bytes()))
    for file in folder.glob("store.db*"):
        if file.suffix != ".xz":
            file.unlink()


def main(folder: Path) -> None:
    """Write everything into a folder."""
    made: dict[str, Any] = {}
    keep, telemetry, model = Keep(), Telemetry(), tiny_model(hidden_size=8, intermediate_size=8)
    exporters = store.SQLiteSpanExporter(folder / "store.db"), store.SQLiteLogExporter(folder / "store.db")
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(exporters[0]))
    lists = Kept()
    with instrumented(
        telemetry, judgements=[keep], capture="full", attention_every=1, capture_message_content="span_only"
    ):
        for name in ("_get_logits_processor", "_get_stopping_criteria"):
            setattr(model, name, lists.of_call(getattr(model, name)))
        with corevital.rag_context(retrieved := corevital.RAGContext(7, ("doc-1",), ("A title",), {"k": [1]})):
            model.generate(prompt(), max_new_tokens=6, do_sample=False, eos_token_id=None)
        for name in ("_get_logits_processor", "_get_stopping_criteria"):
            delattr(model, name)
        exporters[1].export(telemetry.log_exporter.get_finished_logs())
        (folder / "model.pkl").write_bytes(pickle.dumps(model.half(), PROTOCOL))
        torch.save(copy.deepcopy(model), folder / "model.pt")
        made["generation-lists"] = lists[:]
        assert {LogitsProcessorList, StoppingCriteriaList} <= {each for it in lists for each in type(it).__mro__}
    for exporter in exporters:
        exporter.shutdown()
    made |= {"run": keep.runs[0], "rag-context": retrieved, "settings": corevital.Settings(capture="full")}
    with store.open_store(folder / "store.db") as opened:
        opened.set_label(opened.runs()[0], "incorrect", "a note")
        page = opened.page()
        made |= {
            "run-list": opened.runs(),
            "run-summary": page.runs[0],
            "run-page": page,
            "model-overview": opened.overview(),
            "cursor": store.Cursor.behind(page.runs[0], 5),
            "stored-run": opened.run("last"),
        }
    made |= {
        "run-filter": store.RunFilter(model="org/model", risk_above=0.5),
        "retention": store.Retention(days=3),
        "profile": calibration.fit_profile(
            [add_layers(make_run(40), 2, heads=2, seed=seed) for seed in range(10)], prompts=["p"]
        ),
        "thresholds": Thresholds(high_entropy_bits=3.0),
        "risk-processor": processors.RiskProcessor(Thresholds(risk_high=0.5)),
        "errors": [store.StoreError("a"), calibration.ProfileError("b"), corevital.SettingsError("c")],
        "by-name": [
            *(getattr(corevital, name) for name in corevital.__all__ if name != "__version__"),
            *(getattr(store, name) for name in store.__all__),
            *(getattr(calibration, name) for name in calibration.__all__),
            *(getattr(processors, name) for name in vars(processors) if name.endswith("Processor")),
        ],
    }
    write_pickles(folder, made)
    pack_store(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
