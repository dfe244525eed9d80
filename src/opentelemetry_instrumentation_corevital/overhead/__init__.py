"""Measures what CoreVital costs: whole `generate()` calls, watched and not, in adjacent pairs in one process."""
