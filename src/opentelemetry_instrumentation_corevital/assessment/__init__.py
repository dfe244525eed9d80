"""Judges a finished run by its numbers: health flags, warnings, risk, answer risk, blame, fingerprint, narrative.

Pure functions on NumPy columns. This room knows neither torch nor OpenTelemetry.
"""
