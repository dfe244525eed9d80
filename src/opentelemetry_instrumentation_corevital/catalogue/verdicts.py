"""Every verdict: health flags, early warnings, compound signals, and what else a judgement puts on a span.

The other rooms derive their tables from here: names and meanings (`semconv`), weights (`assessment/risk.py`), flags of
`Health`, columns of `runs` and their filters (`store`), sentences, pages, the Collector's files. Tests call `check`.
"""

from typing import Final

from . import carried, flags, verdict, verdict_entries, warnings

FLAGS: Final = flags.FLAGS
EARLY_WARNINGS: Final = warnings.EARLY_WARNINGS
COMPOUND: Final = warnings.COMPOUND
CARRIED: Final = carried.CARRIED
ENTRIES: Final = verdict_entries.ENTRIES

FLAG: Final = {flag.name: flag for flag in FLAGS}
"""The flags by name."""

HIGH_ENTROPY_STEPS: Final = "high_entropy_steps"
"""Their count, and its place in the evidence of the health."""
HIGH_ENTROPY_SHARE: Final = "high_entropy_share"
"""A warning and a factor of the risk: the fraction of the steps above the entropy threshold."""


def check() -> None:
    """Raise if a declaration is wrong or stands twice.

    Raises:
        ValueError: with a line for each that is.
    """
    if found := verdict.problems(FLAGS, EARLY_WARNINGS, COMPOUND, CARRIED):
        raise ValueError("\n".join(found))
