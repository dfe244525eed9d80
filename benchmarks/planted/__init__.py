"""Runs of SmolLM2-135M-Instruct with planted faults, and healthy ones beside them."""
