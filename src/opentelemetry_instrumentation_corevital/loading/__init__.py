"""Loads a model by name: a folder, a hub id, or the demo model; knows transformers."""
