"""Modules inside the layers whose output is measured: one entry for each family of signals that is made of it."""

from .target import Target

TARGETS: tuple[Target, ...] = ()
"""Their order does not matter."""
