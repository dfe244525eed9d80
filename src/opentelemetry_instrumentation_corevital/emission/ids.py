"""Trace and span ids of CoreVital's own spans, drawn from the operating system.

The SDK's default draws them from Python's process-wide generator. A run that draws from it, too, would go on
differently, and processes that seed it alike would give their runs the same ids.
"""

import random
from typing import Any

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

from .. import semconv

system_random = random.SystemRandom()
"""Neither seeded nor shared, and not repeated in the children of a fork."""


class SystemIds(RandomIdGenerator):
    """Ids as random as the SDK's default ones.

    Args:
        instead_of: the generator that it stands in for.
    """

    def __init__(self, instead_of: IdGenerator) -> None:
        self.instead_of = instead_of

    def generate_span_id(self) -> int:
        """Return a span id, 64 bits and not 0."""
        return system_random.randrange(1, 2**64)

    def generate_trace_id(self) -> int:
        """Return a trace id, 128 bits and not 0."""
        return system_random.randrange(1, 2**128)


def use_system_ids(tracer: Any) -> None:
    """Let CoreVital's own tracer draw ids from the system, where its provider has exactly the SDK's default generator.

    A tracer of another scope is left alone: a foreign provider may have one for everybody.
    """
    if type(getattr(tracer, "id_generator", None)) is RandomIdGenerator and _is_ours(tracer):
        tracer.id_generator = SystemIds(tracer.id_generator)


def restore_ids(tracer: Any) -> None:
    """Undo `use_system_ids`."""
    generator = getattr(tracer, "id_generator", None)
    if isinstance(generator, SystemIds):
        tracer.id_generator = generator.instead_of


def _is_ours(tracer: Any) -> bool:
    scope = getattr(tracer, "instrumentation_info", None)
    return getattr(scope, "name", None) == semconv.SCOPE_NAME
