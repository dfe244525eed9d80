"""Finds out what a model is: its description, its layers and attentions, its caches, routers and adapters."""
