"""Six small causal models that are trained from scratch, and SmolLM2: runs on which no threshold was chosen."""
