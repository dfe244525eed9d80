"""What generates without passing through `GenerationMixin.generate`: it makes no run, and one line says so."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from .._internal import generate_state
from .._internal.safety import shielded

logger = logging.getLogger(__name__)

OWN_GENERATE: Final[Mapping[str, tuple[str, ...]]] = {
    "transformers.models.autoformer.modeling_autoformer": ("AutoformerForPrediction",),
    "transformers.models.bark.modeling_bark": ("BarkFineModel",),
    "transformers.models.dia.generation_dia": ("DiaGenerationMixin",),
    "transformers.models.granite_speech5.modeling_granite_speech5": ("GraniteSpeech5ForCTC",),
    "transformers.models.informer.modeling_informer": ("InformerForPrediction",),
    "transformers.models.lasr.modeling_lasr": ("LasrForCTC",),
    "transformers.models.musicgen.modeling_musicgen": ("MusicgenForCausalLM", "MusicgenForConditionalGeneration"),
    "transformers.models.musicgen_melody.modeling_musicgen_melody": (
        "MusicgenMelodyForCausalLM",
        "MusicgenMelodyForConditionalGeneration",
    ),
    "transformers.models.parakeet.modeling_parakeet": ("ParakeetForCTC",),
    "transformers.models.patchtsmixer.modeling_patchtsmixer": (
        "PatchTSMixerForPrediction",
        "PatchTSMixerForRegression",
    ),
    "transformers.models.patchtst.modeling_patchtst": ("PatchTSTForPrediction", "PatchTSTForRegression"),
    "transformers.models.rag.modeling_rag": ("RagTokenForGeneration",),
    "transformers.models.speecht5.modeling_speecht5": ("SpeechT5ForTextToSpeech",),
    "transformers.models.time_series_transformer.modeling_time_series_transformer": (
        "TimeSeriesTransformerForPrediction",
    ),
}
"""Module -> classes of transformers whose `generate` is a loop of their own; a test holds it against transformers."""

CONTINUOUS_BATCHING_MODULE: Final = "transformers.generation.continuous_batching.continuous_api"
CONTINUOUS_BATCHING: Final = "generate_batch (continuous batching)"

_told = set[str]()


def own_generate_called(wrapped: Any, model: Any, args: Any, kwargs: Any) -> Any:
    """Run a `generate` that is a loop of the model's own, and say once that it is not seen."""
    with shielded("unseen.generate"):
        _tell(f"{type(model).__name__}.generate, a loop of the model's own,")
    return wrapped(*args, **kwargs)


def continuous_batching_begun(wrapped: Any, _model: Any, args: Any, kwargs: Any) -> Any:
    """Begin continuous batching, and say once that it is not seen, unless a generate() that is seen begins it."""
    with shielded("unseen.continuous_batching"):
        if not generate_state.in_generate():
            _tell(CONTINUOUS_BATCHING)
    return wrapped(*args, **kwargs)


def loop_prepared(model: Any, generation_mixin: type) -> None:
    """Say once that a model's own `generate` is not seen; called where a loop outside any seen call is prepared.

    Models of other packages and of the hub's repositories are found here: their loops use the library's parts.
    """
    with shielded("unseen.loop"):
        owner = next((each for each in type(model).__mro__ if "generate" in vars(each)), generation_mixin)
        if owner is not generation_mixin:
            _tell(f"{type(model).__name__}.generate, a loop of the model's own,")


def _tell(what: str) -> None:
    if what not in _told:
        _told.add(what)
        logger.warning("CoreVital: %s makes no span and no metric: only transformers' own generate() is seen.", what)
