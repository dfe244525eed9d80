"""The prompts of a call as its prefill gets them, and what was read of these onto the call's runs."""

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

from ...run import Run
from ..backends.prompt_backend import prompt_kernels
from ..collector.collector import StepCollector
from ..isolation.dispatch_modes import has_numbers
from ..model.structure import Anatomy
from ..prompt.call_prompts import CallPrompts
from ..prompt.parts import no_kernels
from ..prompt.reader import PromptReader
from .call_facts import Call


def prompts_of(call: Call) -> CallPrompts | str:
    """Return a call's prompts, or why they are not known. Reads no value of a tensor."""
    ids, embeds = call.prompt_ids(), call.arguments.get("inputs_embeds")
    if isinstance(embeds, Tensor) and embeds.ndim == 3 and has_numbers(embeds):
        shape, ids = tuple(embeds.shape[:2]), None
    elif ids is not None:
        shape = tuple(ids.shape)
    else:
        return "the prompt has no token ids"
    mask = call.prompt_mask()
    if mask is not None and tuple(mask.shape) != shape:
        return "the attention mask does not say which of the prompt's tokens are padding"
    cached = call.arguments.get("past_key_values") is not None
    encoded = bool(getattr(getattr(call.model, "config", None), "is_encoder_decoder", False))
    return CallPrompts(shape[0], shape[1], ids, mask, cached, encoded)


def reader_of(
    call: Call, anatomy: Anatomy, layers: Callable[[int], Iterable[int]], *, full: bool, kernels: bool
) -> PromptReader:
    """Return what reads the prefill of a call.

    Args:
        call: the call.
        anatomy: of its model.
        layers: number of layers -> indices of those that are looked at.
        full: whether the largest attention weights are kept.
        kernels: whether Triton's kernels may make the numbers.
    """
    selected, launches = layers(len(anatomy.layers)), prompt_kernels if kernels else no_kernels
    return PromptReader(call.model, anatomy, prompts_of(call), selected, full=full, launches=launches)


def add_analyses(runs: Sequence[Run], collector: StepCollector | None, why: str | None, *, failed: bool) -> None:
    """Give each run the analysis of its prompt, where prompts are analysed.

    Args:
        runs: of the call.
        collector: what has the reader of the prefill.
        why: the steps are absent, if they are.
        failed: whether the call raised.
    """
    if collector is None or collector.prompt is None:
        return
    analyses = collector.prompt.analyses(why or "no step was observed", failed=failed)
    for run in runs:
        run.prompt_analysis = analyses[run.prompt_index if run.prompt_index < len(analyses) else 0]
