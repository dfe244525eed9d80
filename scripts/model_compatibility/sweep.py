"""All models, one after the other, in a process that may hang or die."""

import gc
import json
import os
import queue
import resource
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

from common import AUTO_CLASSES, MEMORY, RESULTS, SECONDS, Result
from inspection import inspect_model
from shrink import PARTS


def architectures() -> list[tuple[str, str]]:
    """Return (kind, model type) of the text-generating architectures of the installed transformers.

    Of those that take images or sounds the ones whose text part is an encoder-decoder, or the decoder of one.
    """
    from transformers.models.auto import modeling_auto

    more = {
        "image": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        "speech": modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    }

    return [
        *(("causal", name) for name in sorted(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)),
        *(("seq2seq", name) for name in sorted(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)),
        *((kind, name) for kind, names in more.items() for name in sorted(names) if decodes_for_encoder(name)),
    ]


def decodes_for_encoder(model_type: str) -> bool:
    """Whether a model's text part is an encoder-decoder or the decoder of one, by its default config."""
    from transformers import CONFIG_MAPPING

    if model_type in PARTS:
        return True
    try:
        config = CONFIG_MAPPING[model_type]()
    except Exception:  # what cannot be made by default is no encoder-decoder that this sweep could make
        return False
    parts = [config, *(value for value in vars(config).values() if hasattr(value, "model_type"))]
    names = ("is_encoder_decoder", "is_decoder", "add_cross_attention")
    return any(getattr(part, name, False) for part in parts for name in names)


def work() -> None:
    """Run models named on standard input, one JSON list a line, and answer each with one JSON line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # models print
    quieten()
    for line in sys.stdin:
        kind, model_type = json.loads(line)
        start = time.monotonic()
        result = inspect_model(kind, model_type)
        gc.collect()
        answers.write(json.dumps({**result, "seconds": round(time.monotonic() - start, 1)}) + "\n")
        answers.flush()


def quieten() -> None:
    """Set limits, and keep transformers' warnings about small random models to itself."""
    import torch
    import transformers

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)


class Worker:
    """A process that runs models; one that hangs or dies is replaced."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def run(self, kind: str, model_type: str) -> Result:
        """Return what a model's process answers."""
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(json.dumps([kind, model_type]) + "\n")
        process.stdin.flush()
        failed: Result = {"kind": kind, "model_type": model_type}
        try:
            answer = self._answers.get(timeout=SECONDS)
        except queue.Empty:
            self.stop()
            return {**failed, "skipped": f"took longer than {SECONDS} s"}
        if not answer:
            self.stop()
            return {**failed, "skipped": "the process that ran it died"}
        return dict(json.loads(answer))

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._answers = answers = queue.Queue()
        self._process = process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                answers.put(line)
            answers.put("")

        threading.Thread(target=read, daemon=True).start()


def sweep(names: list[tuple[str, str]]) -> list[Result]:
    """Run all models, one after the other."""
    worker, results = Worker(), []
    try:
        for position, (kind, model_type) in enumerate(names, 1):
            result = worker.run(kind, model_type)
            results.append(result)
            print(f"{position}/{len(names)} {kind} {model_type}: {result.get('skipped', 'ok')}", file=sys.stderr)
    finally:
        worker.stop()
    return results


def save(results: list[Result], *, known: bool = False) -> None:
    """Write the results of the installed transformers to docs/results.

    Args:
        results: of all architectures, or of some.
        known: whether the file's other results stay.
    """
    import torch
    import transformers

    version = transformers.__version__
    path = RESULTS / f"model-compatibility-{version}.json"
    if known:
        swept = {_key(result) for result in results}
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        results = sorted([*results, *(model for model in models if _key(model) not in swept)], key=_key)
    content = {"transformers": version, "torch": torch.__version__.split("+")[0], "models": results}
    lines = json.dumps(content, indent=None, sort_keys=True).replace('{"attention_', '\n{"attention_')
    path.write_text(lines + "\n", encoding="utf-8")


def _key(result: Result) -> tuple[int, str]:
    return list(AUTO_CLASSES).index(result["kind"]), result["model_type"]
