"""Tensors to numbers. This room knows torch and transformers, and nothing of OpenTelemetry."""
