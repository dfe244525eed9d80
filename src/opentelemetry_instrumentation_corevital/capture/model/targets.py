"""Modules inside the layers whose output is measured: one entry for each family of signals that is made of it."""

from .routers import find_routers, router_numbers
from .target import Target

TARGETS: tuple[Target, ...] = (Target("router", "the routers' logits", find_routers, router_numbers),)
"""Their order does not matter."""
