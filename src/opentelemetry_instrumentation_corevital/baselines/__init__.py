"""Reads what is usual for a model, its baseline profile, and finds the one that a run is judged with."""
