"""Everything of a run that its program could notice, to be compared with and without CoreVital."""

import gc
import logging
import random
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers.utils.logging as transformers_logging
from torch import nn
from transformers.cache_utils import Cache

import opentelemetry_instrumentation_corevital

OURS = opentelemetry_instrumentation_corevital.__name__
OUR_FOLDER = str(Path(opentelemetry_instrumentation_corevital.__file__).parent)


@dataclass
class Observed:
    """One run.

    Attributes:
        result: what it returned.
        error: what it raised.
        generators: states of the generators of Python, NumPy (legacy) and torch after it.
        warnings: category, text and place of each.
        records: logger, level and text of every log record that is not ours.
        garbage: what only the cyclic collector could free, by type.
        alive: tensors, modules and caches made by it that are still there, by type.
    """

    result: Any = None
    error: BaseException | None = None
    generators: list[Any] = field(default_factory=list)
    warnings: list[tuple[type, str, str, int]] = field(default_factory=list)
    records: list[tuple[str, int, str]] = field(default_factory=list)
    garbage: Counter[str] = field(default_factory=Counter)
    alive: Counter[str] = field(default_factory=Counter)


def observe(run: Callable[[], Any], *, seed: int = 11) -> Observed:
    """Run with every generator seeded and the cyclic collector off, and return all that can be noticed of it."""
    seen = Observed()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    with _records(seen.records), warnings.catch_warnings(record=True) as caught, _only_references(seen):
        warnings.simplefilter("always")
        try:
            seen.result = run()
        except Exception as error:
            seen.error = error
        seen.generators = [random.getstate(), np.random.get_state(legacy=True), torch.get_rng_state()]
        if torch.cuda.is_available():
            seen.generators += torch.cuda.get_rng_state_all()
    seen.warnings = [(each.category, str(each.message), each.filename, each.lineno) for each in caught]
    return seen


@contextmanager
def _records(kept: list[tuple[str, int, str]]) -> Iterator[None]:
    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not record.name.startswith(OURS):
                kept.append((record.name, record.levelno, record.getMessage()))

    for once in (transformers_logging.warning_once, transformers_logging.info_once):
        once.cache_clear()  # type: ignore[attr-defined]
    keep, loggers = Keep(), [logging.getLogger(name) for name in (None, "transformers", "torch")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(keep)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(keep)
            logger.setLevel(level)
            logger.propagate = propagate


@contextmanager
def _only_references(seen: Observed) -> Iterator[None]:
    """Let nothing but reference counts free anything in the block; note what they could not free."""
    gc.collect()
    gc.disable()
    gc.freeze()  # what was there before is neither counted nor looked at
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        seen.garbage = Counter(map(_kind, gc.garbage))
        seen.alive = Counter(_kind(each) for each in gc.get_objects() if _is_of_models(each))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _is_of_models(thing: Any) -> bool:
    kind = type(thing)  # isinstance() would ask proxies for their class
    return issubclass(kind, (torch.Tensor, nn.Module, Cache))


def _kind(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def assert_same(found: Observed, plain: Observed) -> None:
    """Fail where a run with CoreVital differs from the one without."""
    assert_same_error(found.error, plain.error)
    assert_same_result(found.result, plain.result)
    for mine, theirs in zip(found.generators, plain.generators, strict=True):
        assert _equal(mine, theirs)
    assert found.warnings == plain.warnings
    assert found.records == plain.records
    assert found.garbage <= plain.garbage, found.garbage - plain.garbage
    assert found.alive == plain.alive


def assert_same_result(found: Any, plain: Any) -> None:
    """Fail where what generate() returns differs."""
    assert type(found) is type(plain)
    if isinstance(plain, torch.Tensor):
        assert torch.equal(found, plain)
    elif plain is not None:
        assert found.keys() == plain.keys()
        assert torch.equal(found.sequences, plain.sequences)
        for name in ("scores", "logits"):
            for mine, theirs in zip(found[name], plain[name], strict=True):
                assert torch.equal(mine, theirs)
        for name in ("sequences_scores", "beam_indices"):
            assert (name in found) == (name in plain)
            assert name not in plain or torch.equal(found[name], plain[name])


def assert_same_error(found: BaseException | None, plain: BaseException | None) -> None:
    """Fail where exceptions differ, in themselves, in what they come from, or in the frames that are not ours."""
    assert type(found) is type(plain)
    if found is None or plain is None:
        return
    assert str(found) == str(plain)
    assert getattr(found, "__notes__", None) == getattr(plain, "__notes__", None)
    assert found.__suppress_context__ == plain.__suppress_context__
    frames = [
        [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        for error in (found, plain)
    ]
    assert [frame for frame in frames[0] if not frame[0].startswith(OUR_FOLDER)] == frames[1]
    assert_same_error(found.__cause__, plain.__cause__)
    assert_same_error(found.__context__, plain.__context__)


def _equal(mine: Any, theirs: Any) -> bool:
    if isinstance(theirs, torch.Tensor):
        return torch.equal(mine, theirs)
    if isinstance(theirs, tuple):
        return len(mine) == len(theirs) and all(map(_equal, mine, theirs))
    return bool(np.array_equal(mine, theirs))


def attributes(model: nn.Module) -> dict[str, Any]:
    """Return every attribute of every module of a model, hooks and configs included, so that they can be compared."""
    return {
        "config": model.config.to_dict(),
        "generation_config": model.generation_config.to_dict(),
        **{
            f"{name}.{key}": _comparable(value)
            for name, module in model.named_modules()
            for key, value in vars(module).items()
            if key not in ("config", "generation_config")
        },
    }


def _comparable(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return id(value), value._version, tuple(value.shape)
    if isinstance(value, Cache):  # that of the last call: transformers 4 keeps a static one on the model
        return _kind(value)
    if isinstance(value, dict):
        return [(key, _comparable(each)) for key, each in value.items()]
    return value if isinstance(value, str | int | float | None) else id(value)
