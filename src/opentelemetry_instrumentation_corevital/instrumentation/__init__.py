"""Puts CoreVital around `generate()`: the instrumentor, its patches, and the recorder of each call."""
