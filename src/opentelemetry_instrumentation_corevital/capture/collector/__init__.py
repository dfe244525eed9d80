"""What the hooks of a thread saw of a step, and what of it is there."""
