"""The figures: the share of the texts that are called a loop, by format, tokenizer and limit."""

from collections.abc import Sequence
from typing import Final

from judged.figures import Figure, Section, share

from opentelemetry_instrumentation_corevital.assessment.repetition import RepetitionDetector

from .texts import FORMATS, Text, texts
from .tokenizing import TOKENIZERS, Encode

LIMITS: Final = (200, 400)
MOST: Final = 0.02
"""The goal."""


def sections(per_format: int = 120, half: str | None = None) -> list[Section]:
    """Return a section for each tokenizer.

    Args:
        per_format: texts of each format.
        half: `fit` or `report`: only the templates of this half; None: all.
    """
    chosen = [text for text in texts(per_format) if half in (None, text.half)]
    return [_section(name, make(), chosen) for name, make in TOKENIZERS.items()]


def _section(name: str, encode: Encode, chosen: Sequence[Text]) -> Section:
    found = {text: called(encode(text.text)) for text in chosen}
    rows: list[Figure] = []
    for form in (*FORMATS, None):
        own = [loops for text, loops in found.items() if form in (None, text.format)]
        rows += [
            share(f"{form or 'all'}, {limit} tokens", sum(limit in loops for loops in own), len(own), most=MOST)
            for limit in LIMITS
        ]
    return Section(name, rows)


def called(tokens: Sequence[int]) -> list[int]:
    """Return the limits at which a run of these tokens, cut off there, is called a loop.

    Raises:
        ValueError: if the tokens end before the largest limit.
    """
    if len(tokens) < max(LIMITS):
        raise ValueError(f"a text has {len(tokens)} tokens, fewer than the limit of {max(LIMITS)}")
    detector = RepetitionDetector()
    parts = zip((0, *LIMITS), LIMITS, strict=False)
    told = [(end, detector.last(tokens[begin:end])) for begin, end in parts]
    return [end for end, last in told if last is not None and last.loop]
