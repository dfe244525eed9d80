"""What the prefill of a call tells of its prompt."""
