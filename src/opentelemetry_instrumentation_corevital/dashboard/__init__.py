"""Shows the runs of a store in a browser: pages made here, of what a `RunSource` gives.

Needs the extra `dashboard`; neither torch nor transformers.
"""
