"""Turns the tensors of a `generate()` call into numbers, a row each step, and these into one `Run` per sequence.

This room knows torch and transformers, and nothing of OpenTelemetry.
"""
