"""Reports and databases as the first CoreVital wrote them, with made-up numbers."""

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, HEADS, PROMPT = 3, 4, 5
PROMPT_TEXT = "Who built the lighthouse of Eddystone?"
ANSWER = " John Smeaton rebuilt it."


def report(
    name: str = "aaaaaaaa-0000-4000-8000-000000000001", *, version: str = "0.4.0", steps: int = 7
) -> dict[str, Any]:
    """Return a report; numbers are those of a float32 tensor as JSON has them."""
    chance = np.random.default_rng(len(name) + steps)

    made: dict[str, Any] = {
        "schema_version": version,
        "trace_id": name,
        "created_at_utc": "2026-02-20T19:34:50Z",
        "model": {
            "hf_id": "org/first",
            "revision": None,
            "architecture": "LlamaForCausalLM",
            "num_layers": LAYERS,
            "num_attention_heads": HEADS,
            "dtype": "float16",
            "device": "cuda",
            "quantization": {"enabled": False, "method": None},
        },
        "run_config": {
            "seed": 42,
            "max_new_tokens": 20,
            "generation": {"do_sample": True, "temperature": 0.8, "top_k": 50, "top_p": 0.95},
            "sink": {"type": "sqlite", "target": "runs/x.json"},
        },
        "prompt": {"text": PROMPT_TEXT, "token_ids": [1, 2, 3, 4, 5], "num_tokens": PROMPT},
        "generated": {"output_text": ANSWER, "token_ids": list(range(100, 100 + steps)), "num_tokens": steps},
        "timeline": [_step(step, chance) for step in range(steps)],
        "summary": {
            "prompt_tokens": PROMPT,
            "generated_tokens": steps,
            "total_steps": PROMPT + steps,
            "elapsed_ms": 1500,
        },
        "warnings": [],
        "health_flags": {
            "nan_detected": True,
            "inf_detected": False,
            "attention_collapse_detected": False,
            "repetition_loop_detected": True,
            "mid_layer_anomaly_detected": False,
            "high_entropy_steps": 2,
        },
        "extensions": _extensions(version),
    }
    if version == "0.3.0":
        del made["extensions"]["rag"]
        for step in made["timeline"]:
            step["logits_summary"]["top1_top2_margin"] = step["logits_summary"].pop("top_k_margin")
    else:
        made["prompt_analysis"] = {"layers": [], "layer_transformations": [0.25], "prompt_surprisals": [11.5, 1.0]}
    return made


def _some(chance: np.random.Generator) -> float:
    return float(np.float32(chance.exponential()))


def _step(step: int, chance: np.random.Generator) -> dict[str, Any]:
    return {
        "step_index": PROMPT + step,
        "token": {"token_id": 100 + step, "token_text": f" Smeaton{step}", "is_prompt_token": False},
        "logits_summary": {
            "entropy": _some(chance),
            "surprisal": _some(chance) if step else None,
            "top_k_margin": _some(chance),
            "perplexity": _some(chance) + 1e-9,
            "topk": [{"token_id": 9, "token_text": " Smeaton", "prob": 0.5}],
        },
        "layers": [_layer(step, layer, chance) for layer in range(LAYERS)],
        "extensions": {},
    }


def _layer(step: int, layer: int, chance: np.random.Generator) -> dict[str, Any]:
    return {
        "layer_index": layer,
        "hidden_summary": {
            "mean": _some(chance),
            "std": _some(chance),
            "l2_norm_mean": _some(chance) + 10 * layer,
            "max_abs": _some(chance),
            "sketch": [],
            "clipped": False,
        },
        "attention_summary": {
            "entropy_mean": _some(chance),
            "concentration_max": _some(chance),
            "collapsed_head_count": int(chance.integers(0, HEADS)),
        },
        "anomalies": {"has_nan": step == 6 and layer == 2, "has_inf": False},
        "extensions": {},
    }


def _extensions(version: str) -> dict[str, Any]:
    return {
        "risk": {
            "risk_score": 0.93,
            "risk_factors": ["repetition_loop", "high_entropy_steps"],
            "blamed_layers": [0, 2] if version == "0.3.0" else [{"layer": 2, "reasons": ["NaN"], "severity": 1.0}],
        },
        "fingerprint": {"vector": [0.5] * 9, "prompt_hash": "00" * 32},
        "early_warning": {"failure_risk": 0.9, "warning_signals": ["repetition_loop"]},
        "narrative": {"summary": "This run had high risk. Entropy peaked at step 3 (' Smeaton3')."},
        "rag": {"context_token_count": 12, "retrieved_doc_ids": ["lighthouse.txt"]},
    }


def write_file(folder: Path, made: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"trace_{made['trace_id'][:8]}.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


def write_database(path: Path, *reports: dict[str, Any], compressed: bool = True, columns: bool = True) -> Path:
    """Write a database; `columns` false: one of the first, without hash and risk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    more = ", prompt_hash TEXT, risk_score REAL" if columns else ""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE reports (trace_id TEXT PRIMARY KEY, created_at_utc TEXT, model_id TEXT, schema_version TEXT, "
            f"report_json TEXT, report_blob BLOB{more})"
        )
        for made in reports:
            text = json.dumps(made)
            connection.execute(
                "INSERT INTO reports (trace_id, created_at_utc, model_id, schema_version, report_json, report_blob) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    made["trace_id"],
                    made["created_at_utc"],
                    made["model"]["hf_id"],
                    made["schema_version"],
                    None if compressed else text,
                    gzip.compress(text.encode()) if compressed else None,
                ),
            )
        connection.commit()
    return path
