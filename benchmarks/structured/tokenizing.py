"""Two ways to cut texts into tokens: SmolLM2's, and a byte-level BPE that is trained on Python's standard library."""

import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Final

VOCABULARY: Final = 16_000

Encode = Callable[[str], list[int]]


def trained() -> Encode:
    """Train a byte-level BPE on the standard library's modules; half a minute."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    files = sorted(map(str, Path(sysconfig.get_path("stdlib")).glob("*.py")))
    tokenizer.train(files, trainer)
    return lambda text: tokenizer.encode(text).ids


def smollm2() -> Encode:
    """Return SmolLM2's, of the demo model.

    Raises:
        UserError: where it is not installed; says how to get it.
    """
    from transformers import AutoTokenizer

    from opentelemetry_instrumentation_corevital.loading.models import demo_model_path

    tokenizer = AutoTokenizer.from_pretrained(demo_model_path())
    return lambda text: tokenizer(text)["input_ids"]


TOKENIZERS: Final[dict[str, Callable[[], Encode]]] = {"SmolLM2": smollm2, "BPE of 16,000": trained}
