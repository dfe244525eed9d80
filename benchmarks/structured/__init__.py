"""Structured texts with varying values: what a detector of loops must not take for one."""
