"""The methods of transformers that are patched while somebody records calls, and who records one."""

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from .._internal import generate_state
from .._internal.error_text import describe
from .._internal.forks import held_by_forks
from .._internal.safety import shielded
from . import callers, uninstrumented
from .call_context import STREAMER_POSITION, calling_context, forget_contexts
from .live_consumer import CallRecorder, current_consumer
from .patches import ClassPatch, PatchTable
from .prompt_memory import recent_prompts

if TYPE_CHECKING:
    from .recorder import Recorder

logger = logging.getLogger(__name__)

_GENERATION_MODULE: Final = "transformers.generation.utils"

lock: Final = held_by_forks(threading.RLock())
_users = list[object]()
"""Who wants the methods patched: the instrumentor, and each monitor while it runs."""


class _Process:
    recorder: "Recorder | None" = None


_process = _Process()


def process_recorder() -> "Recorder | None":
    """Return what records all calls of the process; None where it is not instrumented."""
    return _process.recorder


def set_process_recorder(recorder: "Recorder | None") -> None:
    """Have all calls of the process recorded; None: by nobody."""
    _process.recorder = recorder


def recorder_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> CallRecorder | None:
    """Return what records a generate() call with these arguments: who watches it, else the instrumentor."""
    with shielded("patched.consumer"):
        streamer = args[STREAMER_POSITION] if len(args) > STREAMER_POSITION else kwargs.get("streamer")
        consumer = current_consumer(calling_context(streamer))
        if consumer is not None and consumer.recorder is not None:
            return consumer.recorder
    return _process.recorder


def patch(user: object) -> None:
    """Patch the methods for a user, until it calls `unpatch`."""
    with lock:
        _users.append(user)
        _patches.apply(_imported)
        _leave_to_python()


def unpatch(user: object) -> None:
    """Take everything back, if no other user wants it."""
    with lock:
        if user not in _users:
            return
        _users.remove(user)
        if _users:
            return
        _patches.remove()
        recent_prompts.clear()
        forget_contexts()
        if _GENERATION_MODULE in sys.modules:
            from ..capture.attach.attention_registry import unwrap_attention_functions
            from ..capture.attach.module_hooks import detach_all

            detach_all()
            unwrap_attention_functions()


def _generate(wrapped: Any, model: Any, args: Any, kwargs: Any) -> Any:
    recorder: CallRecorder | None = None
    with shielded("patched.recorder"):
        recorder = recorder_of(args, kwargs)
    if recorder is None:
        return wrapped(*args, **kwargs)
    return recorder.generate(wrapped, model, args, kwargs)


_GENERATION_METHODS = (
    "generate",
    "_get_logits_processor",
    "_get_stopping_criteria",
    "_update_model_kwargs_for_generation",
    "_get_running_beams_for_next_iteration",
    "_update_finished_beams",
)
"""Methods of `GenerationMixin` that are patched."""

_TOKENIZER_METHODS = ("__call__", "encode", "encode_plus", "batch_encode_plus")
"""Methods of tokenizers that make token ids of text; the last two are of transformers 4."""


def _generation_patches() -> Sequence[tuple[str, ClassPatch]]:
    from ..capture.attach.generation_loop import (
        hook_finished_beams,
        hook_logits_processor,
        hook_output,
        hook_running_beams,
        hook_stopping_criteria,
    )
    from ..capture.isolation.compiled_code import left_out

    def logits_processor(wrapped: Any, model: Any, args: Any, kwargs: Any) -> Any:
        with shielded("instrumentor.unseen"):
            if not generate_state.in_generate():
                uninstrumented.loop_prepared(model, sys.modules[_GENERATION_MODULE].GenerationMixin)
        return hook_logits_processor(wrapped, model, args, kwargs)

    wrappers = (
        _generate,
        logits_processor,
        hook_stopping_criteria,
        hook_output,
        hook_running_beams,
        hook_finished_beams,
    )
    return [
        ("GenerationMixin", ClassPatch(method, left_out(wrapper)))
        for method, wrapper in zip(_GENERATION_METHODS, wrappers, strict=True)
    ]


def _own_generates(classes: Sequence[str]) -> Callable[[], Sequence[tuple[str, ClassPatch]]]:
    return lambda: [(name, ClassPatch("generate", uninstrumented.own_generate_called)) for name in classes]


_patches = PatchTable(
    {
        _GENERATION_MODULE: _generation_patches,
        "transformers.generation.streamers": lambda: (("TextStreamer", ClassPatch("__init__", callers.streamer_made)),),
        "transformers.pipelines.base": lambda: (("Pipeline", ClassPatch("forward", callers.pipeline_forward)),),
        "transformers.tokenization_utils_base": lambda: (
            ("PreTrainedTokenizerBase", ClassPatch("apply_chat_template", callers.template_applied)),
            *(("PreTrainedTokenizerBase", ClassPatch(method, callers.tokenized)) for method in _TOKENIZER_METHODS),
        ),
        "transformers.processing_utils": lambda: (
            ("ProcessorMixin", ClassPatch("apply_chat_template", callers.template_applied)),
        ),
        "transformers.cli.serving.utils": lambda: (
            ("InferenceThread", ClassPatch("submit", callers.work_submitted)),
            ("InferenceThread", ClassPatch("async_submit", callers.work_submitted)),
        ),
        uninstrumented.CONTINUOUS_BATCHING_MODULE: lambda: (
            ("ContinuousMixin", ClassPatch("init_continuous_batching", uninstrumented.continuous_batching_begun)),
        ),
        **{module: _own_generates(classes) for module, classes in uninstrumented.OWN_GENERATE.items()},
    }
)


def _leave_to_python() -> None:
    """Keep `torch.compile` out of the functions that stand in the place of methods; what they call it compiles."""
    # Without the class where its module is only being imported: modules that it imports come here before it.
    if (owner := getattr(sys.modules.get(_GENERATION_MODULE), "GenerationMixin", None)) is not None:
        from ..capture.isolation.compiled_code import leave_out

        for method in _GENERATION_METHODS:
            leave_out(getattr(owner, method, None))


def _imported(module: ModuleType) -> None:
    with lock:
        if not _users:
            return
        try:
            _patches.patch(module)
            _leave_to_python()
        except Exception as error:
            logger.error(
                "CoreVital could not patch %s; what passes there is not seen: %s", module.__name__, describe(error)
            )
