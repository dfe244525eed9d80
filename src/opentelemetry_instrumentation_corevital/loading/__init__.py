"""Loads a model by its name: a folder, a hub id, or the demo model; knows transformers."""
